//! Session cookies: any `Cookie` field is somebody or nobody, never a failure; what is nobody is cleared,
//! and what is somebody is still the same person after it was written anew.
//!
//! The first byte says what the rest is. `c`: `Cookie` fields, one a line, with `$SESSION` for a good
//! session. Anything else: the plain text of a session, sealed with the right key and cut into as many
//! cookies as it says to be.
#![no_main]

use std::collections::HashSet;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_oauth::fuzzing::sealed;

use shop::{ISSUER, PLAIN, PREFIX, SESSION, seen, set_cookies};

#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;
#[path = "support/still.rs"]
mod still;

const GOOD: &[u8] = include_bytes!("../seeds/cookies/session");

static GOOD_TEXT: LazyLock<String> = LazyLock::new(|| seal(&GOOD[1..]));

fuzz_target!(|data: &[u8]| {
    let (fields, is_sealed) = match data.split_first() {
        Some((b'c', text)) => (fields(text), false),
        Some((_, plain)) => (cut(plain), true),
        None => return,
    };
    let answer = PLAIN.go("/", &fields).unwrap();
    let who = seen(&answer);
    if data == GOOD || data == include_bytes!("../seeds/cookies/field") {
        assert!(who.is_some());
    }
    match who {
        Some(who) => is_somebody(&fields, &answer, &who, is_sealed),
        None => is_nobody(&fields, &answer),
    }
});

fn is_somebody(fields: &[HeaderValue], answer: &Response<Bytes>, who: &Value, is_sealed: bool) {
    assert!(who["issuer"].is_string() && who["subject"].is_string());
    if !is_sealed {
        // Nothing else that was sealed is at hand.
        assert_eq!(who["subject"], "alice");
        let all: Vec<u8> = fields
            .iter()
            .flat_map(|one| one.as_bytes().to_vec())
            .collect();
        let text = GOOD_TEXT.as_bytes();
        assert!(all.windows(text.len()).any(|part| part == text));
    }
    let set = set_cookies(answer.headers());
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
    let again = PLAIN.go("/", &[jar]).unwrap();
    assert_eq!(seen(&again).as_ref(), Some(who));
}

fn is_nobody(fields: &[HeaderValue], answer: &Response<Bytes>) {
    let set = set_cookies(answer.headers());
    let names: HashSet<_> = set.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), set.len(), "one name, one time");
    assert!(set.len() <= 64, "{}", set.len());
    let mut spoiled = false;
    for (name, value) in &set {
        assert!(name.starts_with(PREFIX) && value.is_empty(), "{name}");
        spoiled = true;
    }
    // A lone cookie under the very name that opens as nobody is taken back.
    if let [field] = fields
        && let Some(value) = field.as_bytes().strip_prefix(SESSION.as_bytes())
        && value.starts_with(b"=")
        && !value.contains(&b';')
    {
        assert!(spoiled, "{ISSUER}");
    }
}

fn fields(text: &[u8]) -> Vec<HeaderValue> {
    let text: Vec<u8> = match std::str::from_utf8(text) {
        Ok(text) => text.replace("$SESSION", &GOOD_TEXT).into_bytes(),
        Err(_) => text.to_vec(),
    };
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect()
}

fn cut(plain: &[u8]) -> Vec<HeaderValue> {
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
