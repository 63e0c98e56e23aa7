//! Field lines of `Authorization`, compared with an independent parser of the grammar.
#![no_main]

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Lines are separated by a byte that a field value cannot contain.
    let lines: Vec<HeaderValue> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .take(3)
        .collect();
    let mut headers = HeaderMap::new();
    for line in &lines {
        headers.append(AUTHORIZATION, line.clone());
    }
    for accepts_dpop in [false, true] {
        let read = tower_oauth::fuzzing::credentials(&headers, accepts_dpop);
        let expected = expected(&lines, accepts_dpop);
        // RFC 9110 §5.3: an intermediary may have joined an access token to other credentials.
        let may_be_joined = lines.iter().any(|line| line.as_bytes().contains(&b','));
        let is_rejected = may_be_joined && expected == Ok(None) && read == Err(());
        assert!(read == expected || is_rejected, "{lines:?}: {read:?}");
        if let Ok(Some((scheme, token))) = read {
            let mut again = HeaderMap::new();
            again.insert(AUTHORIZATION, format!("{scheme}  {token}").parse().unwrap());
            let read = tower_oauth::fuzzing::credentials(&again, accepts_dpop);
            assert_eq!(read, Ok(Some((scheme, token))));
        }
    }
});

type Parsed = Result<Option<(&'static str, String)>, ()>;

/// Parses RFC 9110 §11.4: a scheme, then nothing, or spaces and one token68.
fn expected(lines: &[HeaderValue], accepts_dpop: bool) -> Parsed {
    let line = match lines {
        [] => return Ok(None),
        [line] => line.as_bytes(),
        _ => return Err(()),
    };
    let (scheme, rest) = match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], Some(&line[space..])),
        None => (line, None),
    };
    let is_tchar = |byte: &u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => true,
        other => "!#$%&'*+-.^_`|~".contains(char::from(*other)),
    };
    if scheme.is_empty() || !scheme.iter().all(is_tchar) {
        return Err(());
    }
    let scheme = match scheme.to_ascii_lowercase().as_slice() {
        b"bearer" => "Bearer",
        b"dpop" if accepts_dpop => "DPoP",
        _ => return Ok(None),
    };
    let token = std::str::from_utf8(rest.ok_or(())?).map_err(|_| ())?;
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_body = |one: char| one.is_ascii_alphanumeric() || "-._~+/".contains(one);
    if body.is_empty() || !body.chars().all(is_body) {
        return Err(());
    }
    Ok(Some((scheme, token.to_owned())))
}
