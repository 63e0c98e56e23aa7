//! Answers of the token endpoint: who is signed in by one is named in an ID token that any reader finds
//! good, and the access token is the one that the answer names.
//!
//! Three lines: the answer, and the header and the payload of an ID token. `$ID` is that token, signed;
//! `$NONCE` and `$HASH` what the login and the access token want in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use shop::{ISSUER, PLAIN, SESSION, half_digest, seen, set_cookies};
use still::NOW;

#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;
#[path = "support/still.rs"]
mod still;

fuzz_target!(|data: &str| {
    let login = PLAIN.start();
    let mut lines = data.splitn(3, '\n');
    let answer = lines.next().unwrap_or_default();
    let header = lines.next().unwrap_or(r#"{"alg":"EdDSA"}"#);
    let payload = lines.next().unwrap_or_default();
    let read: Value = serde_json::from_str(answer).unwrap_or_default();
    let access_token = read["access_token"].as_str().unwrap_or_default();
    let payload = payload
        .replace("$NONCE", &login.nonce)
        .replace("$HASH", &half_digest(access_token));
    let id_token = PLAIN.sign(header, &payload);
    {
        let mut server = PLAIN.server();
        server.status = 200;
        server.answer = answer.replace("$ID", &id_token).into();
    }
    let state = &login.state;
    let uri = format!("/auth/callback?code=c&state={state}&iss={ISSUER}");
    let answer = PLAIN.go(&uri, &[login.cookie.parse().unwrap()]).unwrap();
    let session: Vec<String> = set_cookies(answer.headers())
        .iter()
        .filter(|(name, value)| name.starts_with(SESSION) && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if session.is_empty() {
        let status = answer.status().as_u16();
        assert!([400, 403, 500, 502, 503].contains(&status), "{status}");
        let good = [
            include_str!("../seeds/token_answer/small"),
            include_str!("../seeds/token_answer/full"),
        ];
        assert!(!good.contains(&data), "{:?}", answer.body());
        return;
    }
    assert_eq!(answer.status(), 303);
    let payload: Value = serde_json::from_str(&payload).unwrap();
    check_answer(&read);
    check_id_token(&payload, &login.nonce);

    let page = PLAIN
        .go("/", &[session.join("; ").parse().unwrap()])
        .unwrap();
    let who = seen(&page).expect("somebody is signed in");
    assert_eq!(who["subject"], payload["sub"]);
    assert_eq!(who["issuer"], ISSUER);
    if who["access_token"] != Value::Null {
        assert_eq!(who["access_token"], read["access_token"]);
    }
});

fn check_answer(answer: &Value) {
    let access_token = answer["access_token"].as_str().unwrap();
    assert!(!access_token.is_empty() && access_token.bytes().all(|byte| byte.is_ascii_graphic()));
    let kind = answer["token_type"].as_str().unwrap();
    assert!(kind.eq_ignore_ascii_case("Bearer"));
    assert!(answer["error"].is_null());
    // With one in each place the fuzzer put it, the one in `id_token` counts.
    assert!(answer["id_token"].is_string());
}

fn check_id_token(claims: &Value, nonce: &str) {
    assert_eq!(claims["iss"], ISSUER);
    let named = match &claims["aud"] {
        Value::Array(all) => all.iter().all(|one| one == "shop") && !all.is_empty(),
        one => one == "shop",
    };
    assert!(named, "{}", claims["aud"]);
    assert!(claims.get("azp").is_none_or(|azp| azp == "shop"));
    assert_eq!(claims["nonce"], nonce);
    let subject = claims["sub"].as_str().unwrap();
    assert!((1..=255).contains(&subject.len()) && subject.is_ascii());
    let time = |name: &str| claims[name].as_f64().unwrap();
    assert!(time("exp").floor() + 30.0 > NOW as f64);
    assert!(time("iat") <= NOW as f64 + 31.0 && time("iat") >= NOW as f64 - 631.0);
}
