//! Queries of the callback. A code is redeemed only if an independent parser also finds exactly one code, the state of
//! this browser's login and its issuer, and it is redeemed once. No query alone signs a user in.
#![no_main]

use libfuzzer_sys::fuzz_target;

use shop::{ISSUER, PLAIN, SESSION, set_cookies};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;
#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;

fuzz_target!(|data: &str| {
    let login = PLAIN.start();
    let query = data.replace("$STATE", &login.state);
    let cookie = [login.cookie.parse().unwrap()];
    PLAIN.server().requests.clear();
    let uri = format!("/auth/callback?{query}");
    let Some(response) = PLAIN.get(&uri, &cookie) else {
        return;
    };
    let status = response.status().as_u16();
    assert!([303, 400, 403, 502, 503].contains(&status), "{status}");
    let session = |(name, value): &(String, String)| name.starts_with(SESSION) && !value.is_empty();
    assert!(!set_cookies(response.headers()).iter().any(session));
    let body = std::str::from_utf8(response.body()).unwrap();
    // The page contains text of the query, and its template has neither of these elements.
    assert!(!body.contains("<script") && !body.contains("<b>"));

    let requests = PLAIN.server().requests.clone();
    if let [request] = &requests[..] {
        // The fragment is not part of the query.
        let query = query.split('#').next().unwrap();
        check(query, &login.state, &request["code"]);
        assert!(PLAIN.get(&uri, &cookie).is_some());
        assert_eq!(PLAIN.server().requests.len(), 1, "a code is sent once");
    } else {
        assert!(requests.is_empty());
        let valid = [
            include_str!("../seeds/callback/code"),
            include_str!("../seeds/callback/more"),
        ];
        assert!(!valid.contains(&data));
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
