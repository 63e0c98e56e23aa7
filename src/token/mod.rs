//! Validates tokens, independent of HTTP.

mod audience;
mod binding;
mod cache;
mod certificate_format;
mod dpop;
mod error;
mod error_kind;
mod explanation;
mod fapi2;
pub(crate) mod id_token;
mod introspection;
mod issuers;
pub(crate) mod jws;
mod jwt;
pub(crate) mod logout_token;
mod lookup;
mod mtls;
mod original_uri;
mod profile;
pub(crate) mod response_jwt;
mod scope_mapping;
mod token_info;
mod token_mark;
mod verified;
mod verifier;

pub use audience::Audience;
pub(crate) use binding::Bindings;
pub(crate) use cache::CacheLookup;
pub use certificate_format::CertificateFormat;
#[cfg(feature = "testing")]
pub(crate) use dpop::CheckedProof;
pub(crate) use dpop::PendingReplayCheck;
pub use dpop::{Dpop, DpopNonceKey, ProofError};
pub use error::{VerifyError, VerifyErrorKind};
pub(crate) use explanation::Explanation;
pub use introspection::{IntrospectionHealth, IntrospectionVerifier};
pub use jwt::JwtVerifier;
pub use lookup::IssuerLookup;
pub use mtls::{ClientCertificate, Mtls};
pub(crate) use original_uri::original_uri;
pub use profile::TokenProfile;
pub use scope_mapping::ScopeClaim;
pub(crate) use token_info::{ConditionId, TokenInfo};
pub use token_mark::TokenMark;
pub use verified::VerifiedToken;
pub use verifier::Verifier;
