//! An e-mail address in a claim, and what it is worth.

use serde_json::Value;

/// An e-mail address that an authorization server gave.
///
/// It is for writing to people, not for knowing them: addresses change hands, and more than one
/// server lets its users claim any address they like. An application that finds accounts by address
/// hands them to whoever claims it. See [`Session::user_key`](crate::Session::user_key).
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
        let verified = claim("email_verified").as_ref().and_then(Value::as_bool);
        // What several readers would read as several addresses was verified as which of them?
        let verified = verified.filter(|verified| !verified || is_plain(&address));
        Some(Self { address, verified })
    }

    /// `email`, as it was sent. It may be anything.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `email_verified`: what the server says, or `None` where it says nothing, says it as anything
    /// but a boolean, or says it of what is not one plain ASCII address.
    pub fn verified(&self) -> Option<bool> {
        self.verified
    }
}

/// One local part and one host name, in ASCII, without quotes, comments, lists or a final dot.
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
    fn only_a_plain_address_with_a_boolean_is_verified() {
        for (address, verified, expected) in [
            ("alice@example.com", json!(true), Some(true)),
            ("a.l+i_ce@mail.example.com", json!(true), Some(true)),
            ("alice@example.com", json!(false), Some(false)),
            ("alice@example.com", Value::Null, None),
            ("alice@example.com", json!("true"), None),
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
    fn what_is_no_text_is_no_address() {
        assert_eq!(Email::read(|_| Some(json!(["a@b"]))), None);
        assert_eq!(Email::read(|_| None), None);
    }
}
