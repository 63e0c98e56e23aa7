//! What a token, or an answer about one, says of itself where it is no access token.

use crate::protocol::json::{Json, Object};

/// Members of their own in which servers name the kind of a token.
const NAMES: [&str; 4] = ["typ", "token_use", "token_type", "tokenName"];

/// What they name those that are good for something else; case does not matter.
const OTHERS: [&str; 8] = [
    "id",
    "id_token",
    "refresh",
    "refresh_token",
    "refresh-token",
    "offline",
    "logout",
    "logout_token",
];

/// Hashes of what was issued beside it: only ID tokens have them (OpenID Connect Core §3.1.3.6, FAPI 1.0
/// Advanced §5.1.1).
const HASHES: [&str; 3] = ["at_hash", "c_hash", "s_hash"];

/// Whether it is an ID token, a refresh token or a logout token by its own word. That it says nothing of
/// the kind proves nothing.
pub(super) fn is_of_another_kind(members: &Object<'_>) -> bool {
    let names_another = |name: &&str| {
        let kind = members.member(name).and_then(Json::as_str);
        kind.is_some_and(|kind| OTHERS.iter().any(|one| kind.eq_ignore_ascii_case(one)))
    };
    NAMES.iter().any(names_another) || HASHES.iter().any(|name| members.member(name).is_some())
}
