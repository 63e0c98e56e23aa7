//! The settings that the FAPI 2.0 Security Profile permits a verifier of access tokens.

use super::audience::Audience;
use crate::ConfigError;
use crate::crypto::{Algorithm, keep_fapi2_algorithms};
use crate::issuer::AuthorizationServer;

/// In seconds: how far `iat` and `nbf` may be in the future (§5.3.2.1).
pub(super) const MAX_LEEWAY: i64 = 60;

/// Checks the settings of a verifier, and removes the algorithms that the profile does not permit.
pub(super) fn restrict(
    server: &AuthorizationServer,
    audience: &Audience,
    leeway: i64,
    algorithms: &mut Vec<Algorithm>,
) -> Result<(), ConfigError> {
    server.check_fapi2()?;
    let invalid = |setting, value: String, reason| {
        Err(ConfigError::Setting {
            setting,
            value,
            reason,
        })
    };
    if !matches!(audience, Audience::AnyOf(_)) {
        return invalid(
            "audience",
            format!("{audience:?}"),
            "the FAPI 2.0 Security Profile requires the audience of this API: `Audience::AnyOf`",
        );
    }
    check_leeway(leeway)?;
    let configured = format!("{algorithms:?}");
    if !keep_fapi2_algorithms(algorithms) {
        return invalid(
            "algorithms",
            configured,
            "the FAPI 2.0 Security Profile permits PS256, ES256 and EdDSA",
        );
    }
    Ok(())
}

/// Checks the leeway of a verifier, in seconds.
pub(super) fn check_leeway(leeway: i64) -> Result<(), ConfigError> {
    if leeway <= MAX_LEEWAY {
        return Ok(());
    }
    Err(ConfigError::Setting {
        setting: "leeway",
        value: format!("{leeway}s"),
        reason: "the FAPI 2.0 Security Profile permits at most 1 minute",
    })
}
