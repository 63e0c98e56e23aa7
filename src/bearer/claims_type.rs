//! The type that a `BearerLayer` deserializes the claims into, without a type parameter of the layer's services.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use http::Extensions;
use serde::de::DeserializeOwned;

use crate::protocol::Claims;
use crate::protocol::credentials::PresentedToken;
use crate::token::{TokenInfo, VerifiedToken, VerifyErrorKind};

/// What depends on the type of the claims in the `VerifiedToken` of a layer.
pub(super) struct ClaimsType {
    /// Inserts the token into the request extensions.
    pub(super) insert: InsertTokenFn,
    /// Returns the claims of the inserted token.
    pub(super) claims: fn(&Extensions) -> Option<&dyn Any>,
    pub(super) remove: fn(&mut Extensions),
}

type InsertTokenFn =
    fn(&mut Extensions, Arc<TokenInfo>, PresentedToken, i64) -> Result<(), VerifyErrorKind>;

impl ClaimsType {
    /// The claims as they were verified.
    pub(super) const PLAIN: &'static Self = &Self {
        insert: |extensions, token_info, presented, now| {
            let claims = Arc::clone(&token_info.claims);
            extensions.insert(VerifiedToken::new(token_info, claims, presented, now));
            Ok(())
        },
        claims: claims_of::<Claims>,
        remove: remove::<Claims>,
    };

    /// The claims as a type of the application.
    pub(super) fn of<T: DeserializeOwned + Send + Sync + 'static>() -> &'static Self {
        const {
            &Self {
                insert: |extensions, token_info, presented, now| {
                    let claims = token_info
                        .cache
                        .converted(|| deserialize::<T>(&token_info.claims))?;
                    extensions.insert(VerifiedToken::new(token_info, claims, presented, now));
                    Ok(())
                },
                claims: claims_of::<T>,
                remove: remove::<T>,
            }
        }
    }
}

fn claims_of<C: Send + Sync + 'static>(extensions: &Extensions) -> Option<&dyn Any> {
    let token = extensions.get::<VerifiedToken<C>>()?;
    Some(token.claims())
}

fn remove<C: Send + Sync + 'static>(extensions: &mut Extensions) {
    extensions.remove::<VerifiedToken<C>>();
}

fn deserialize<T: DeserializeOwned>(claims: &Claims) -> Result<T, VerifyErrorKind> {
    claims.deserialize().map_err(|error| {
        // The text of the error would contain personal data from the claim.
        let column = error.column();
        tracing::debug!(
            name: "claims_not_deserialized",
            target: "tower_oauth::bearer",
            column,
            "the claims cannot be deserialized as the application's type"
        );
        VerifyErrorKind::CustomClaims
    })
}

impl fmt::Debug for ClaimsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimsType")
    }
}
