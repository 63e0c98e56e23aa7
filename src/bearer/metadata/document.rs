//! [`ResourceMetadata`]: the metadata document of a protected resource, and its URL.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;

use crate::ConfigError;
use crate::issuer::{AuthorizationServer, is_loopback};

/// The path component that is inserted between host and path ([RFC 9728 §3]).
///
/// [RFC 9728 §3]: https://www.rfc-editor.org/rfc/rfc9728#section-3
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata of a protected resource ([RFC 9728 §2]).
///
/// The resource identifier is the URL of the API, and the `aud` of its tokens. The URL of the document is the identifier
/// with `/.well-known/oauth-protected-resource` inserted between host and path.
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
/// Empty members are omitted, so a document never contains `null`, `false` or an empty list. `signed_metadata` is not
/// supported.
///
/// [RFC 9728 §2]: https://www.rfc-editor.org/rfc/rfc9728#section-2
#[derive(Clone)]
pub struct ResourceMetadata {
    resource: Arc<str>,
    url: Arc<str>,
    /// The offset of path and query in `url`.
    path_at: usize,
    pub(super) members: Map<String, Value>,
}

impl ResourceMetadata {
    /// Creates the metadata for a resource identifier, which clients compare byte for byte
    /// ([RFC 9728 §3.3](https://www.rfc-editor.org/rfc/rfc9728#section-3.3)). The document states that tokens are
    /// accepted in the header; add other members with the methods below.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is an https URL (http on a loopback host) without fragment and user name, in
    /// normalized form: a lower-case host, no default port, no `..`. A trailing slash after a bare host is optional.
    pub fn new(resource: &str) -> Result<Self, ConfigError> {
        let url = check_identifier(resource).map_err(|reason| ConfigError::Url {
            setting: "resource",
            value: resource.to_owned(),
            reason,
        })?;
        let origin = url.origin().ascii_serialization();
        // RFC 9728 §3.1: a slash after the host is removed if nothing follows it; any other path is kept.
        let rest = match &url[url::Position::BeforePath..] {
            "/" => "",
            rest => rest
                .strip_prefix('/')
                .filter(|rest| rest.starts_with('?'))
                .unwrap_or(rest),
        };
        let mut members = Map::new();
        members.insert("resource".to_owned(), resource.into());
        let header = Value::from(vec!["header"]);
        members.insert("bearer_methods_supported".to_owned(), header);
        Ok(Self {
            resource: resource.into(),
            path_at: origin.len(),
            url: format!("{origin}{WELL_KNOWN}{rest}").into(),
            members,
        })
    }

    /// Adds an authorization server whose tokens are accepted. Clients need at least one.
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

    /// Returns the resource identifier.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the absolute URL of the document, for challenges. It is derived from the identifier alone and never from
    /// the `Host` of a request, which the caller chooses.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the path of [`url`](Self::url), with the query if the identifier has one.
    pub fn path(&self) -> &str {
        self.url.get(self.path_at..).unwrap_or(WELL_KNOWN)
    }

    /// Returns the document as JSON.
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

/// RFC 9728 §1.2: https and no fragment. A URL with two spellings would be two identifiers in a byte comparison, but one
/// document.
fn check_identifier(resource: &str) -> Result<Url, &'static str> {
    let url = Url::parse(resource).map_err(|_| "it is not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => return Err("it must be https, or http on a loopback host"),
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("it must not have a fragment or a user name");
    }
    // RFC 6750 §3 does not allow quotes and backslashes in a challenge, and a query may contain a quote.
    if resource.contains(['"', '\\', '\'']) {
        return Err("it must not contain quotes or backslashes");
    }
    let normalized = url.as_str();
    if normalized != resource && normalized.strip_suffix('/') != Some(resource) {
        return Err(
            "it must be normalized: lower-case host, no default port, no dot segments in the path",
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
