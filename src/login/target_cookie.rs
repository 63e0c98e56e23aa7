//! The cookie for a return target that is too long for `state`.
//!
//! There is one such cookie in a browser, of the login that started last. Without it, a login
//! returns to the default target. The target is not encrypted, which would make it a third longer,
//! but it is authenticated together with its login.

use super::cookies::Cookies;
use super::jar::Jar;
use super::slots::return_to_name;
use crate::crypto::seal::Purpose;
use crate::flow::StateDigest;
use crate::random::RandomError;

/// Returns the value of the cookie.
pub(super) fn seal(
    cookies: &Cookies,
    login: StateDigest,
    target: &str,
) -> Result<String, RandomError> {
    let tag = cookies.seal(Purpose::ReturnTarget, &context(login, target), &[])?;
    Ok(format!("{tag}.{}", escape(target)))
}

/// Returns the return target of this login.
pub(super) fn find(cookies: &Cookies, jar: &Jar<'_>, login: StateDigest) -> Option<String> {
    let values = jar.values(&return_to_name(cookies.login_tag()));
    values.into_iter().find_map(|value| {
        let (tag, target) = value.split_once('.')?;
        let target = unescape(target)?;
        cookies.open(Purpose::ReturnTarget, &context(login, &target), tag)?;
        Some(target)
    })
}

fn context(login: StateDigest, target: &str) -> String {
    format!("return-to {} {target}", login.to_text())
}

/// Escapes the visible ASCII characters that a cookie value cannot have (RFC 6265 §4.1.1).
fn escape(target: &str) -> String {
    let mut escaped = String::with_capacity(target.len());
    for character in target.chars() {
        match ESCAPES.iter().find(|(plain, _)| *plain == character) {
            Some((_, code)) => escaped.extend(['^', *code]),
            None => escaped.push(character),
        }
    }
    escaped
}

fn unescape(value: &str) -> Option<String> {
    let mut target = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        target.push(match character {
            '^' => {
                let code = characters.next()?;
                ESCAPES.iter().find(|(_, other)| *other == code)?.0
            }
            plain => plain,
        });
    }
    Some(target)
}

const ESCAPES: [(char, char); 4] = [('^', '0'), ('"', '1'), (',', '2'), (';', '3')];

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::protocol::State;

    #[test]
    fn a_target_is_found_by_its_own_login_only_and_unchanged() {
        let cookies = Cookies::of_test("shop", true);
        let [own, other] = ["own", "other"].map(|state| StateDigest::of(&State::new(state)));
        let visible: String = ('!'..='~').filter(|character| *character != '\\').collect();
        let target = format!("/{visible}^0^;");
        let value = seal(&cookies, own, &target).unwrap();
        assert!(!value.contains([',', ';', '"', '\\', ' ']), "{value}");
        let find_in = |value: &str, login| {
            let name = cookies.name(&return_to_name(cookies.login_tag()));
            let mut headers = HeaderMap::new();
            let field = format!("{name}=planted; {name}={value}");
            headers.insert("cookie", field.parse().unwrap());
            find(&cookies, &Jar::read(&headers, &cookies), login)
        };
        assert_eq!(find_in(&value, own), Some(target));
        assert_eq!(find_in(&value, other), None);
        for changed in [
            format!("{value}x"),
            value[1..].to_owned(),
            value.replace('^', ""),
        ] {
            assert_eq!(find_in(&changed, own), None, "{changed}");
        }
    }
}
