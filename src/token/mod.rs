//! Is this token good? The judgement, without the request it came in.

mod audience;
mod error;
mod hint;
pub(crate) mod id_token;
pub(crate) mod jws;
mod jwt;
mod mtls;
mod profile;
pub(crate) mod signed_userinfo;
mod verified;

pub use audience::Audience;
pub use error::{VerifyError, VerifyErrorKind};
pub(crate) use jwt::JwtVerifier;
pub use mtls::{ClientCertificate, Mtls};
pub use profile::TokenProfile;
pub(crate) use verified::Verdict;
pub use verified::VerifiedToken;
