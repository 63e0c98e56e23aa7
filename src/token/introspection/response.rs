//! What an introspection endpoint says of a token (RFC 7662 §2.2), read strictly and not yet judged.

use crate::protocol::ScopeSet;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::json::{Json, Object, parse_object};
use crate::token::scope_mapping::ScopeMapping;
use crate::token::token_type::states_other_type;

/// An answer by the rules.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing else of such an answer is read.
    Inactive,
    Active(Box<Active>),
}

#[derive(Debug)]
pub(super) struct Active {
    /// The JSON text of the answer.
    pub(super) text: String,
    pub(super) registered: RegisteredClaims,
    /// Those of a mapping, where one was set.
    pub(super) scopes: Option<ScopeSet>,
    pub(super) kind: Kind,
    /// `Err` where the token is bound by something that nobody here understands.
    pub(super) confirmation: Result<Option<Confirmation>, ()>,
}

/// What the answer says that the token is, as far as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An access token, or nothing said.
    Bearer {
        said: bool,
    },
    Dpop,
    /// A refresh token, an ID token, or a type that is unknown here.
    Other,
}

/// An answer that breaks the rules: the authorization server's fault, never the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrokenAnswer {
    #[error("the answer is no strict JSON object")]
    Json,
    #[error("active is missing or no boolean")]
    NoActive,
    #[error("a member of the answer has the wrong type")]
    Member,
}

pub(super) fn read(text: &[u8], scopes: Option<&ScopeMapping>) -> Result<Answer, BrokenAnswer> {
    // Two members of one name leave open which of them counts (`I15`).
    let members = parse_object(text).map_err(|_| BrokenAnswer::Json)?;
    match members.member("active") {
        Some(Json::Bool(true)) => {}
        Some(Json::Bool(false)) => return Ok(Answer::Inactive),
        // RFC 7662 §2.2: required, and a boolean; a server that says anything else says nothing (`I3`).
        _ => return Err(BrokenAnswer::NoActive),
    }
    let registered = RegisteredClaims::read(&members).map_err(|_| BrokenAnswer::Member)?;
    let kind = read_kind(&members)?;
    let confirmation = members
        .member("cnf")
        .map(Confirmation::read)
        .transpose()
        .map_err(|_| ());
    Ok(Answer::Active(Box::new(Active {
        // It was read as JSON, so it is UTF-8.
        text: String::from_utf8_lossy(text).into_owned(),
        registered,
        scopes: scopes.map(|mapping| mapping.read(&members)),
        kind,
        confirmation,
    })))
}

/// `token_type` is that of RFC 6749 §5.1, whose case does not matter (`I4`). Some servers also find
/// refresh tokens and ID tokens active, and say in a member of their own that they are that.
fn read_kind(members: &Object<'_>) -> Result<Kind, BrokenAnswer> {
    Ok(
        match members
            .string("token_type")
            .map_err(|_| BrokenAnswer::Member)?
        {
            _ if states_other_type(members) => Kind::Other,
            None => Kind::Bearer { said: false },
            Some(name) if name.eq_ignore_ascii_case("Bearer") => Kind::Bearer { said: true },
            Some(name) if name.eq_ignore_ascii_case("DPoP") => Kind::Dpop,
            Some(_) => Kind::Other,
        },
    )
}
