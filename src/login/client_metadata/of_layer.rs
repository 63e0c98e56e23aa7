//! The setting of the layer that serves the metadata of its client.

use super::options::ClientMetadata;
use crate::config_error::ConfigError;
use crate::login::layer::LoginLayer;

impl LoginLayer {
    /// Serves the metadata document of the client and its key set, for authorization servers that identify clients by the
    /// URL of such a document ([`ClientMetadata`]).
    ///
    /// The routes are `client-metadata.json` and `jwks.json` beside the others; see
    /// [`RouteNames`](crate::login::RouteNames). A client whose id is not a URL can publish them too, for example to register
    /// `jwks_uri`: the document has no `client_id` then.
    ///
    /// Settings apply in any order.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the client id is a URL, but not that of the document, or if the client authenticates
    /// with a secret: there is no way to agree on one. [`ConfigError::Secret`] if a key is missing, invalid, or cannot be
    /// told from another one by its `kid`. A later setting that has such an effect is an error of
    /// [`ready`](Self::ready), and the document is 500.
    pub fn with_client_metadata(self, metadata: ClientMetadata) -> Result<Self, ConfigError> {
        let login = self.with(|settings| settings.client_metadata = Some(metadata));
        login.settings.check_client_metadata()?;
        Ok(login)
    }

    /// Returns the path of the metadata document of the client, if the layer serves it.
    pub fn client_metadata_path(&self) -> Option<&str> {
        let metadata = self.settings.client_metadata.as_ref();
        metadata.map(|_| self.settings.paths.client_metadata.as_str())
    }

    /// Returns the path of the key set of the client, if the layer serves it.
    pub fn jwks_path(&self) -> Option<&str> {
        let metadata = self.settings.client_metadata.as_ref();
        metadata.map(|_| self.settings.paths.jwks.as_str())
    }
}
