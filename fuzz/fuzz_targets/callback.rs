//! Queries of the callback: a code is redeemed where any reader of the query finds one code, the state of
//! this browser's login and the issuer that was asked, and then once; and nobody is signed in by a query.
#![no_main]

use libfuzzer_sys::fuzz_target;

use shop::{ISSUER, PLAIN, SESSION, set_cookies};

#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;
#[path = "support/still.rs"]
mod still;

fuzz_target!(|data: &str| {
    let login = PLAIN.start();
    let query = data.replace("$STATE", &login.state);
    let cookie = [login.cookie.parse().unwrap()];
    PLAIN.server().asked.clear();
    let uri = format!("/auth/callback?{query}");
    let Some(answer) = PLAIN.go(&uri, &cookie) else {
        return;
    };
    let status = answer.status().as_u16();
    assert!([303, 400, 403, 502, 503].contains(&status), "{status}");
    let session = |(name, value): &(String, String)| name.starts_with(SESSION) && !value.is_empty();
    assert!(!set_cookies(answer.headers()).iter().any(session));
    let body = std::str::from_utf8(answer.body()).unwrap();
    // The page says what the server is said to have said, and has no such element of its own.
    assert!(!body.contains("<script") && !body.contains("<b>"));

    let asked = PLAIN.server().asked.clone();
    if let [request] = &asked[..] {
        // What stands behind the `#` of a URL is no part of its query.
        let query = query.split('#').next().unwrap();
        check(query, &login.state, &request["code"]);
        assert!(PLAIN.go(&uri, &cookie).is_some());
        assert_eq!(PLAIN.server().asked.len(), 1, "a code is sent once");
    } else {
        assert!(asked.is_empty());
        let good = [
            include_str!("../seeds/callback/code"),
            include_str!("../seeds/callback/more"),
        ];
        assert!(!good.contains(&data));
    }
});

fn check(query: &str, state: &str, code: &str) {
    let values = |name: &str| -> Vec<String> {
        url::form_urlencoded::parse(query.as_bytes())
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    };
    assert_eq!(values("state"), [state]);
    assert_eq!(values("code"), [code]);
    assert_eq!(values("iss"), [ISSUER]);
    assert!((1..=4096).contains(&code.len()));
    assert!(code.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    for name in ["error", "access_token", "id_token", "refresh_token"] {
        assert!(values(name).iter().all(String::is_empty), "{name}");
    }
}
