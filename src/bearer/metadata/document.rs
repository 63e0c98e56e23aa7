//! [`ResourceMetadata`]: the identifier of a resource, and the address of its document.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;

use crate::ConfigError;
use crate::issuer::{AuthorizationServer, is_loopback};

/// What is inserted between host and path ([RFC 9728 §3]).
///
/// [RFC 9728 §3]: https://www.rfc-editor.org/rfc/rfc9728#section-3
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What a protected resource says of itself ([RFC 9728 §2]).
///
/// The identifier is the resource's own URL, the value that tokens for it have in `aud`. The document
/// has an address of its own for every identifier: `/.well-known/oauth-protected-resource` comes between
/// host and path.
///
/// ```
/// use tower_oauth::AuthorizationServer;
/// use tower_oauth::bearer::ResourceMetadata;
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let metadata = ResourceMetadata::new("https://api.example.com/orders")?
///     .add_authorization_server(&server)
///     .with_scopes("orders:read orders:write")?
///     .with_name("Orders");
/// assert_eq!(
///     metadata.url(),
///     "https://api.example.com/.well-known/oauth-protected-resource/orders",
/// );
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// Members with nothing in them are left out, so a document never holds `null`, `false` or an empty
/// list. Not offered: `signed_metadata`.
///
/// [RFC 9728 §2]: https://www.rfc-editor.org/rfc/rfc9728#section-2
#[derive(Clone)]
pub struct ResourceMetadata {
    resource: Arc<str>,
    url: Arc<str>,
    /// Where the path and query of the address begin in `url`.
    path_at: usize,
    pub(super) members: Map<String, Value>,
}

impl ResourceMetadata {
    /// The document of the resource with this identifier, compared byte for byte by everyone
    /// ([RFC 9728 §3.3](https://www.rfc-editor.org/rfc/rfc9728#section-3.3)). It says that tokens come in
    /// the header; the rest is added.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is an https URL (http on a loopback host) without fragment and
    /// user name, written as URL readers print it: a lower-case host, no default port, no `..`. The
    /// slash behind a bare host may be there or not.
    pub fn new(resource: &str) -> Result<Self, ConfigError> {
        let url = check_identifier(resource).map_err(|reason| ConfigError::Url {
            setting: "resource",
            value: resource.to_owned(),
            reason,
        })?;
        let origin = url.origin().ascii_serialization();
        // RFC 9728 §3.1: a lone slash behind the host goes away, any other path stays as it is.
        let rest = match &url[url::Position::BeforePath..] {
            "/" => "",
            rest => rest
                .strip_prefix('/')
                .filter(|rest| rest.starts_with('?'))
                .unwrap_or(rest),
        };
        let mut members = Map::new();
        members.insert("resource".to_owned(), resource.into());
        let metadata = Self {
            resource: resource.into(),
            path_at: origin.len(),
            url: format!("{origin}{WELL_KNOWN}{rest}").into(),
            members,
        };
        Ok(metadata.with_bearer_methods([super::BearerMethod::Header]))
    }

    /// Adds an authorization server whose tokens are accepted. Clients need one at least.
    #[must_use]
    pub fn add_authorization_server(mut self, server: &AuthorizationServer) -> Self {
        let issuer = Value::from(server.issuer());
        let list = self.members.entry("authorization_servers");
        match list.or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) if !list.contains(&issuer) => list.push(issuer),
            _ => {}
        }
        self
    }

    /// The identifier.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The absolute address of the document, as challenges name it. Made of the identifier alone, never
    /// of what a request says of its host (`C15`).
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The path of [`url`](Self::url), with the query where the identifier has one.
    pub fn path(&self) -> &str {
        self.url.get(self.path_at..).unwrap_or(WELL_KNOWN)
    }

    /// The document.
    pub fn to_json(&self) -> String {
        Value::Object(self.members.clone()).to_string()
    }

    pub(in crate::bearer) fn dpop_algorithms(&self) -> impl Iterator<Item = &str> {
        let list = self.members.get("dpop_signing_alg_values_supported");
        let items = list.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str)
    }

    pub(in crate::bearer) fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }
}

/// RFC 9728 §1.2: https and no fragment. What has two spellings would be two identifiers to those who
/// compare bytes, and one to those who fetch.
fn check_identifier(resource: &str) -> Result<Url, &'static str> {
    let url = Url::parse(resource).map_err(|_| "it is not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return Err("it must be https, or http on a loopback host"),
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("it must have no fragment and no user name");
    }
    // RFC 6750 §3 allows no quote and no backslash in a challenge, and the query may hold a quote.
    if resource.contains(['"', '\\', '\'']) {
        return Err("it must hold no quotes and no backslash");
    }
    let printed = url.as_str();
    if printed != resource && printed.strip_suffix('/') != Some(resource) {
        return Err(
            "it must be written in its normal form: lower-case host, no default port, no dots",
        );
    }
    Ok(url)
}

impl fmt::Debug for ResourceMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceMetadata")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}
