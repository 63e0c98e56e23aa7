//! Session cookies: any `Cookie` field gives a session or none, and never fails. An invalid cookie is cleared, and a
//! session has the same user after its cookie was written again.
//!
//! The first byte selects the kind of input. `c`: `Cookie` fields, one per line, with `$SESSION` for a valid session.
//! Anything else: the plaintext of a session, encrypted with the right key and split into as many cookies as it states.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_oauth::fuzzing::sealed;

use shop::{ISSUER, PLAIN, PREFIX, SESSION, set_cookies, user_of};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;
#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;

const VALID: &[u8] = include_bytes!("../seeds/cookies/session");

/// The seeds that are sessions.
const SIGNED_IN: [&[u8]; 3] = [
    VALID,
    include_bytes!("../seeds/cookies/cut"),
    include_bytes!("../seeds/cookies/field"),
];

static VALID_TEXT: LazyLock<String> = LazyLock::new(|| seal(&VALID[1..]));

fuzz_target!(|data: &[u8]| {
    let (fields, is_sealed) = match data.split_first() {
        Some((b'c', text)) => (fields(text), false),
        Some((_, plain)) => (split(plain), true),
        None => return,
    };
    let response = PLAIN.get("/", &fields).unwrap();
    let user = user_of(&response);
    if SIGNED_IN.contains(&data) {
        assert!(user.is_some());
    }
    match user {
        Some(user) => check_session(&fields, &response, &user, is_sealed),
        None => check_no_session(&fields, &response),
    }
});

fn check_session(
    fields: &[HeaderValue],
    response: &Response<Bytes>,
    user: &Value,
    is_sealed: bool,
) {
    assert!(user["issuer"].is_string() && user["subject"].is_string());
    if !is_sealed {
        // There is only one encrypted session.
        assert_eq!(user["subject"], "alice");
        let all: Vec<u8> = fields
            .iter()
            .flat_map(|one| one.as_bytes().to_vec())
            .collect();
        let text = VALID_TEXT.as_bytes();
        assert!(all.windows(text.len()).any(|part| part == text));
    }
    let set = set_cookies(response.headers());
    let written: Vec<_> = set.iter().filter(|(_, value)| !value.is_empty()).collect();
    if written.is_empty() {
        return;
    }
    let jar: Vec<String> = written
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let jar = HeaderValue::try_from(jar.join("; ")).unwrap();
    assert!(jar.len() < 5 * 1024);
    let again = PLAIN.get("/", &[jar]).unwrap();
    assert_eq!(user_of(&again).as_ref(), Some(user));
}

fn check_no_session(fields: &[HeaderValue], response: &Response<Bytes>) {
    let set = set_cookies(response.headers());
    let names: HashSet<_> = set.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), set.len(), "one name, one time");
    assert!(set.len() <= 64, "{}", set.len());
    let mut is_cleared = false;
    for (name, value) in &set {
        assert!(name.starts_with(PREFIX) && value.is_empty(), "{name}");
        is_cleared = true;
    }
    // A single invalid cookie with the name of the session cookie is cleared.
    if let [field] = fields
        && let Some(value) = field.as_bytes().strip_prefix(SESSION.as_bytes())
        && value.starts_with(b"=")
        && !value.contains(&b';')
    {
        assert!(is_cleared, "{ISSUER}");
    }
}

fn fields(text: &[u8]) -> Vec<HeaderValue> {
    let text: Vec<u8> = match std::str::from_utf8(text) {
        Ok(text) => text.replace("$SESSION", &VALID_TEXT).into_bytes(),
        Err(_) => text.to_vec(),
    };
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

fn split(plain: &[u8]) -> Vec<HeaderValue> {
    let text = seal(plain);
    let count = usize::from(plain.first().copied().unwrap_or(1)).clamp(1, 9);
    let name = |number: usize| match count {
        1 => SESSION.to_owned(),
        _ => format!("{SESSION}.{number}"),
    };
    let length = text.len().div_ceil(count);
    text.as_bytes()
        .chunks(length)
        .enumerate()
        .map(|(number, part)| {
            let part = std::str::from_utf8(part).unwrap();
            HeaderValue::try_from(format!("{}={part}", name(number))).unwrap()
        })
        .collect()
}

fn seal(plain: &[u8]) -> String {
    sealed(&PLAIN.key, SESSION, PLAIN.layer(), plain)
}
