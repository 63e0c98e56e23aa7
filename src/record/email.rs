//! E-mail addresses in claims (OpenID Connect Core §5.1).

use serde_json::Value;

/// The e-mail address of a user, from the claims `email` and `email_verified` (OpenID Connect Core §5.1).
///
/// Use it to send mail, not to identify users: addresses are reassigned, and some authorization servers let users
/// enter any address. An application that looks up accounts by address lets an attacker take over an account by
/// entering its address. Identify users by [`Session::user_key`](crate::Session::user_key) instead (OpenID
/// Connect Core §5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    address: String,
    verified: Option<bool>,
}

impl Email {
    pub(crate) fn read(claim: impl Fn(&str) -> Option<Value>) -> Option<Self> {
        let Some(Value::String(address)) = claim("email") else {
            return None;
        };
        let verified = match claim("email_verified") {
            Some(Value::Bool(verified)) => Some(verified),
            // Apple and Cognito send texts.
            Some(Value::String(text)) => match &*text {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        };
        // If parsers disagree on which address a text contains, it is unknown which one was verified.
        let verified = verified.filter(|verified| !verified || is_plain(&address));
        Some(Self { address, verified })
    }

    /// Returns `email` as it was sent. The syntax of the address is not checked.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns `email_verified`, or `None` if it is absent, or neither a boolean nor
    /// `"true"` or `"false"`, or if it is true for a text that is
    /// not a single plain ASCII address.
    pub fn verified(&self) -> Option<bool> {
        self.verified
    }
}

/// Returns whether a text is a single ASCII address without quotes, comments and a trailing dot.
fn is_plain(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else {
        return false;
    };
    let plain = |part: &str, others: &[u8]| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.contains("..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    plain(local, b".!#$%&'*+-/=?^_`{|}~") && plain(domain, b".-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_plain_address_with_a_claim_that_says_true_is_verified() {
        for (address, verified, expected) in [
            ("alice@example.com", json!(true), Some(true)),
            ("a.l+i_ce@mail.example.com", json!(true), Some(true)),
            ("alice@example.com", json!(false), Some(false)),
            ("alice@example.com", Value::Null, None),
            ("alice@example.com", json!("true"), Some(true)),
            ("alice@example.com", json!("false"), Some(false)),
            ("alice@example.com", json!("True"), None),
            ("alice@example.com", json!("1"), None),
            ("alice@example.com", json!(""), None),
            ("a@evil.example@example.com", json!("true"), None),
            ("alice@example.com", json!(1), None),
            ("a@evil.example@example.com", json!(true), None),
            ("alice＠example.com", json!(true), None),
            ("alice@ex\u{430}mple.com", json!(true), None),
            ("alice@example.com.", json!(true), None),
            ("alice@example.com,bob@example.com", json!(true), None),
            ("\"alice\"@example.com", json!(true), None),
            ("alice@example.com\n", json!(true), None),
            ("alice", json!(true), None),
            ("", json!(true), None),
        ] {
            let claims = json!({ "email": address, "email_verified": verified });
            let email = Email::read(|name| claims.get(name).cloned()).unwrap();
            assert_eq!(
                (email.address(), email.verified()),
                (address, expected),
                "{address}"
            );
        }
    }

    #[test]
    fn a_claim_that_is_not_a_string_is_not_an_address() {
        assert_eq!(Email::read(|_| Some(json!(["a@b"]))), None);
        assert_eq!(Email::read(|_| None), None);
    }
}
