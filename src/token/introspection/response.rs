//! Parsing of the introspection response (RFC 7662 §2.2).

use crate::protocol::ScopeSet;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::json::{Json, Object, parse_object};
use crate::token::scope_mapping::ScopeMapping;
use crate::token::token_type::states_other_type;

/// A well-formed introspection response.
#[derive(Debug)]
pub(super) enum IntrospectionResponse {
    /// The other members of such a response are ignored.
    Inactive,
    Active(Box<ActiveToken>),
}

#[derive(Debug)]
pub(super) struct ActiveToken {
    /// The JSON text of the response.
    pub(super) text: String,
    pub(super) registered: RegisteredClaims,
    /// The scopes found by the scope mapping, if one is configured.
    pub(super) scopes: Option<ScopeSet>,
    pub(super) token_type: TokenType,
    /// `Err` if the confirmation method is not supported.
    pub(super) confirmation: Result<Option<Confirmation>, ()>,
}

/// The type of the token according to the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    /// `token_type` is `Bearer`, or absent.
    Bearer {
        is_explicit: bool,
    },
    Dpop,
    /// A refresh token, an ID token, or an unknown type.
    Other,
}

/// A malformed response. The fault is the authorization server's, never the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidResponse {
    #[error("the response is not a strict JSON object")]
    Json,
    #[error("active is missing or not a boolean")]
    NoActive,
    #[error("a member of the response has the wrong type")]
    Member,
}

pub(super) fn read(
    text: &[u8],
    scopes: Option<&ScopeMapping>,
) -> Result<IntrospectionResponse, InvalidResponse> {
    // RFC 8259 §4: parsers disagree on which of two members with the same name counts, so the
    // parser rejects duplicates.
    let members = parse_object(text).map_err(|_| InvalidResponse::Json)?;
    match members.member("active") {
        Some(Json::Bool(true)) => {}
        Some(Json::Bool(false)) => return Ok(IntrospectionResponse::Inactive),
        // RFC 7662 §2.2: `active` is required and a boolean. A string "true" is not accepted.
        _ => return Err(InvalidResponse::NoActive),
    }
    let registered = RegisteredClaims::read(&members).map_err(|_| InvalidResponse::Member)?;
    let token_type = read_token_type(&members)?;
    let confirmation = members
        .member("cnf")
        .map(Confirmation::read)
        .transpose()
        .map_err(|_| ());
    Ok(IntrospectionResponse::Active(Box::new(ActiveToken {
        // The JSON parser has checked that it is UTF-8.
        text: String::from_utf8_lossy(text).into_owned(),
        registered,
        scopes: scopes.map(|mapping| mapping.read(&members)),
        token_type,
        confirmation,
    })))
}

/// Reads the type of the token. `token_type` is case-insensitive (RFC 6749 §5.1). Some servers also report refresh
/// tokens and ID tokens as active, and mark them with a proprietary member.
fn read_token_type(members: &Object<'_>) -> Result<TokenType, InvalidResponse> {
    Ok(
        match members
            .string("token_type")
            .map_err(|_| InvalidResponse::Member)?
        {
            _ if states_other_type(members) => TokenType::Other,
            None => TokenType::Bearer { is_explicit: false },
            Some(name) if name.eq_ignore_ascii_case("Bearer") => {
                TokenType::Bearer { is_explicit: true }
            }
            Some(name) if name.eq_ignore_ascii_case("DPoP") => TokenType::Dpop,
            Some(_) => TokenType::Other,
        },
    )
}
