//! Is this token good? The judgement, without the request it came in.

mod audience;
mod binding;
mod dpop;
mod error;
mod grants;
mod hint;
pub(crate) mod id_token;
mod introspection;
mod issuers;
pub(crate) mod jws;
mod jwt;
mod kind;
pub(crate) mod logout_token;
mod lookup;
mod mtls;
mod profile;
mod remembered;
pub(crate) mod signed_userinfo;
mod verified;
mod verifier;

pub use audience::Audience;
pub(crate) use binding::{Bindings, Shown, original_uri};
pub(crate) use dpop::Unspent;
pub use dpop::{Dpop, DpopNonceKey, ProofError};
pub use error::{VerifyError, VerifyErrorKind};
pub use grants::ScopeClaim;
pub use introspection::{IntrospectionHealth, IntrospectionVerifier};
pub use jwt::JwtVerifier;
pub use lookup::IssuerLookup;
pub use mtls::{ClientCertificate, Mtls};
pub use profile::TokenProfile;
pub(crate) use verified::Verdict;
pub use verified::VerifiedToken;
pub(crate) use verifier::Recalled;
pub use verifier::Verifier;
