//! Token responses: a user is signed in only by an ID token that an independent parser also accepts, and the access token
//! of the session is that of the response.
//!
//! The input has three lines: the response, and header and payload of an ID token. `$ID` is replaced by that token with a
//! signature, `$NONCE` by the nonce of the login and `$HASH` by the hash of the access token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use fixed_clock::NOW;
use shop::{ISSUER, PLAIN, SESSION, half_digest, set_cookies, user_of};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;
#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;

fuzz_target!(|data: &str| {
    let login = PLAIN.start();
    let mut lines = data.splitn(3, '\n');
    let response = lines.next().unwrap_or_default();
    let header = lines.next().unwrap_or(r#"{"alg":"EdDSA"}"#);
    let payload = lines.next().unwrap_or_default();
    let read: Value = serde_json::from_str(response).unwrap_or_default();
    let access_token = read["access_token"].as_str().unwrap_or_default();
    let payload = payload
        .replace("$NONCE", &login.nonce)
        .replace("$HASH", &half_digest(access_token));
    let id_token = PLAIN.sign(header, &payload);
    {
        let mut server = PLAIN.server();
        server.status = 200;
        server.response = response.replace("$ID", &id_token).into();
    }
    let state = &login.state;
    let uri = format!("/auth/callback?code=c&state={state}&iss={ISSUER}");
    let response = PLAIN.get(&uri, &[login.cookie.parse().unwrap()]).unwrap();
    let session: Vec<String> = set_cookies(response.headers())
        .iter()
        .filter(|(name, value)| name.starts_with(SESSION) && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if session.is_empty() {
        let status = response.status().as_u16();
        assert!([400, 403, 500, 502, 503].contains(&status), "{status}");
        let valid = [
            include_str!("../seeds/token_response/small"),
            include_str!("../seeds/token_response/full"),
        ];
        assert!(!valid.contains(&data), "{:?}", response.body());
        return;
    }
    assert_eq!(response.status(), 303);
    let payload: Value = serde_json::from_str(&payload).unwrap();
    check_response(&read);
    check_id_token(&payload, &login.nonce);

    let page = PLAIN
        .get("/", &[session.join("; ").parse().unwrap()])
        .unwrap();
    let user = user_of(&page).expect("a user is signed in");
    assert_eq!(user["subject"], payload["sub"]);
    assert_eq!(user["issuer"], ISSUER);
    if user["access_token"] != Value::Null {
        assert_eq!(user["access_token"], read["access_token"]);
    }
});

fn check_response(response: &Value) {
    let access_token = response["access_token"].as_str().unwrap();
    assert!(!access_token.is_empty() && access_token.bytes().all(|byte| byte.is_ascii_graphic()));
    let token_type = response["token_type"].as_str().unwrap();
    assert!(token_type.eq_ignore_ascii_case("Bearer"));
    assert!(response["error"].is_null());
    // If the fuzzer has inserted several ID tokens, the one in `id_token` counts.
    assert!(response["id_token"].is_string());
}

fn check_id_token(claims: &Value, nonce: &str) {
    assert_eq!(claims["iss"], ISSUER);
    let has_audience = match &claims["aud"] {
        Value::Array(all) => all.iter().all(|one| one == "shop") && !all.is_empty(),
        one => one == "shop",
    };
    assert!(has_audience, "{}", claims["aud"]);
    assert!(claims.get("azp").is_none_or(|azp| azp == "shop"));
    assert_eq!(claims["nonce"], nonce);
    let subject = claims["sub"].as_str().unwrap();
    assert!((1..=255).contains(&subject.len()) && subject.is_ascii());
    let time = |name: &str| claims[name].as_f64().unwrap();
    assert!(time("exp").floor() + 30.0 > NOW as f64);
    assert!(time("iat") <= NOW as f64 + 31.0 && time("iat") >= NOW as f64 - 631.0);
}
