//! The trait of applications and presets, and its object.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::api::UserApi;
use super::error::IdentityError;
use super::user::Identity;

/// Finds out who the user of an access token is, at an authorization server without OpenID Connect.
///
/// For [`Provider::without_id_token`](crate::Provider::without_id_token). It is called once for each login, with the
/// access token that was just issued to this application for the code of the login, and once for each
/// [`Session::userinfo`](crate::Session::userinfo). An error, a panic and more than 5 seconds fail the login, each with a
/// log event.
///
/// ```
/// use serde_json::Value;
/// use tower_oauth::login::{Identity, IdentityError, IdentitySource, UserApi};
///
/// struct Forge;
///
/// impl IdentitySource for Forge {
///     async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
///         let user = api.get("https://api.forge.example/user").await?;
///         // The number: a name can be given to another user.
///         let id = user["id"].as_u64();
///         let id = id.ok_or_else(|| IdentityError::invalid_response("id is not a number"))?;
///         Ok(Identity::new(id.to_string()).with_claim("name", user["name"].clone()))
///     }
/// }
/// ```
pub trait IdentitySource: Send + Sync + 'static {
    /// Returns the user of the access token that `api` sends.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], whose constructor says which response the browser gets.
    fn identify(
        &self,
        api: &UserApi,
    ) -> impl Future<Output = Result<Identity, IdentityError>> + Send;
}

type IdentifyFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Identity, IdentityError>> + Send + 'a>>;

/// [`IdentitySource`] as a trait object.
trait DynSource: Send + Sync {
    fn identify<'a>(&'a self, api: &'a UserApi) -> IdentifyFuture<'a>;
}

impl<S: IdentitySource> DynSource for S {
    fn identify<'a>(&'a self, api: &'a UserApi) -> IdentifyFuture<'a> {
        Box::pin(IdentitySource::identify(self, api))
    }
}

#[derive(Clone)]
pub(in crate::flow) struct SharedIdentitySource(Arc<dyn DynSource>);

impl SharedIdentitySource {
    pub(in crate::flow) fn new(source: impl IdentitySource) -> Self {
        Self(Arc::new(source))
    }

    pub(in crate::flow) async fn identify(&self, api: &UserApi) -> Result<Identity, IdentityError> {
        self.0.identify(api).await
    }
}

impl fmt::Debug for SharedIdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentitySource")
    }
}
