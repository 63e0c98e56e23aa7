//! Detection of ID, refresh and logout tokens, which must not be accepted as access tokens (RFC 8725 §2.8, §3.12).

use crate::protocol::json::{Json, Object};

/// The members in which authorization servers state the type of a token.
const TYPE_MEMBERS: [&str; 4] = ["typ", "token_use", "token_type", "tokenName"];

/// The values for other tokens than access tokens, compared without case.
const OTHER_TYPES: [&str; 8] = [
    "id",
    "id_token",
    "refresh",
    "refresh_token",
    "refresh-token",
    "offline",
    "logout",
    "logout_token",
];

/// Hashes of values issued together with the token: only ID tokens have them (OpenID Connect Core §3.1.3.6, FAPI 1.0
/// Advanced §5.1.1).
const HASH_MEMBERS: [&str; 3] = ["at_hash", "c_hash", "s_hash"];

/// Returns whether the members of a token or of an introspection response state that it is an ID, refresh or logout
/// token. `false` does not prove that it is an access token.
pub(super) fn states_other_type(members: &Object<'_>) -> bool {
    let has_other_type = |name: &&str| {
        let stated = members.member(name).and_then(Json::as_str);
        stated.is_some_and(|stated| {
            OTHER_TYPES
                .iter()
                .any(|one| stated.eq_ignore_ascii_case(one))
        })
    };
    let has_hash = HASH_MEMBERS
        .iter()
        .any(|name| members.member(name).is_some());
    has_hash || TYPE_MEMBERS.iter().any(has_other_type)
}
