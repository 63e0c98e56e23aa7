//! Requests of the application to an API, with the access token of a session.

use http::{HeaderMap, Method, Request, StatusCode, Uri};
use url::Url;

use super::error::SessionError;
use super::handle::{Session, ValidToken};
use crate::flow::{ApiCredentials, RejectedProof};
use crate::issuer::is_loopback;
use crate::protocol::request_target::find_ambiguity_of_url;

impl Session {
    /// Adds the access token to a request to an API, for an HTTP client of the application: `Authorization: Bearer`, or
    /// with [DPoP](crate::LoginLayer::with_dpop) `Authorization: DPoP` and a proof for this method and URL in `DPoP`
    /// ([RFC 9449 §7.1]).
    ///
    /// Refreshes the token if it has expired, as [`access_token`](Self::access_token) does. Replaces `Authorization` and
    /// `DPoP` fields that the request has. Call it for each attempt, since a proof is for one request: also before a
    /// retry, and not with a client that follows redirects.
    ///
    /// An API may require a nonce of its own in the proof. Pass each response to
    /// [`note_response`](Self::note_response), which says whether to repeat the request:
    ///
    /// ```
    /// use http::Request;
    /// use tower_oauth::Session;
    ///
    /// # type Error = Box<dyn std::error::Error>;
    /// async fn orders(session: &Session, client: &reqwest::Client) -> Result<String, Error> {
    ///     let uri: http::Uri = "https://api.example.com/orders".parse()?;
    ///     let send = async || {
    ///         let mut request = Request::get(&uri).body(String::new())?;
    ///         session.authorize(&mut request).await?;
    ///         let response = client.execute(request.try_into()?).await?;
    ///         Ok::<_, Error>(response)
    ///     };
    ///     let mut response = send().await?;
    ///     if session.note_response(&uri, response.status(), response.headers()) {
    ///         response = send().await?;
    ///         session.note_response(&uri, response.status(), response.headers());
    ///     }
    ///     Ok(response.error_for_status()?.text().await?)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError`] as for [`access_token`](Self::access_token), and
    /// [`UnusableUri`](SessionError::UnusableUri) unless the URI of the request is absolute, and https or on a loopback
    /// host, without user information, dot segments and backslashes. The request is not changed then.
    ///
    /// # Not checked
    ///
    /// Whether the access token is meant for this API. A third-party API that receives a token for another API can use it
    /// there.
    ///
    /// [RFC 9449 §7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
    pub async fn authorize<B>(&self, request: &mut Request<B>) -> Result<(), SessionError> {
        self.authorize_with(None, request).await
    }

    /// Like [`authorize`](Self::authorize), with the access token for this
    /// [resource](crate::LoginLayer::add_resource).
    ///
    /// # Errors
    ///
    /// As [`authorize`](Self::authorize) and [`access_token_for`](Self::access_token_for).
    pub async fn authorize_for<B>(
        &self,
        resource: &str,
        request: &mut Request<B>,
    ) -> Result<(), SessionError> {
        self.authorize_with(Some(resource), request).await
    }

    async fn authorize_with<B>(
        &self,
        resource: Option<&str>,
        request: &mut Request<B>,
    ) -> Result<(), SessionError> {
        // Not across the `await`: the body need not be `Sync`.
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let uri = url_for_token(&uri).ok_or(SessionError::UnusableUri)?;
        let token = self.valid_token(resource).await?;
        let credentials = self.credentials(&token, &method, &uri)?;
        credentials.apply(request.headers_mut());
        Ok(())
    }

    /// Keeps the DPoP nonce of an API's response (`DPoP-Nonce`) for the next requests to its origin, and returns whether
    /// the request should be repeated, once: the API required a nonce (401 `use_dpop_nonce`, [RFC 9449 §9]) and sent one.
    ///
    /// `uri` is that of the request. Call [`authorize`](Self::authorize) again for the repeated request. Servers send new
    /// nonces with any response, so pass all of them; without DPoP, this does nothing and returns `false`. A proof that
    /// the API rejected otherwise (`invalid_dpop_proof`) is logged.
    ///
    /// [RFC 9449 §9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
    pub fn note_response(&self, uri: &Uri, status: StatusCode, headers: &HeaderMap) -> bool {
        let is_bound = self.current().record().tokens().proof_key.is_some();
        is_bound && self.rejected_proof(uri, status, headers) == Some(RejectedProof::NewNonce)
    }

    /// Keeps the nonce of a response to a request with a proof, and returns why the proof was rejected, if it was.
    pub(crate) fn rejected_proof(
        &self,
        uri: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<RejectedProof> {
        let flow = self.flow().ok()?;
        flow.note_resource_response(uri, status, headers)
    }

    /// Returns the credentials for a request with this access token.
    pub(crate) fn credentials(
        &self,
        token: &ValidToken,
        method: &Method,
        uri: &Uri,
    ) -> Result<ApiCredentials, SessionError> {
        let (token, key) = (token.access_token(), token.proof_key());
        let credentials = self.flow()?.credentials(token, key, method, uri);
        credentials.map_err(|error| SessionError::credentials(&error))
    }
}

/// Returns the URL that a client sends if a token may be sent to this URI: over TLS, or on this machine.
///
/// Clients that use the URL Standard, such as reqwest, remove dot segments and turn backslashes into slashes, others do
/// not: a proof cannot be for both.
fn url_for_token(uri: &Uri) -> Option<Uri> {
    let url = Url::parse(&uri.to_string()).ok()?;
    let has_user = uri.authority()?.as_str().contains('@');
    let is_secure = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    };
    let is_usable = is_secure && !has_user && find_ambiguity_of_url(uri.path()).is_none();
    is_usable.then(|| url.as_str().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_over_tls_or_on_this_machine_only() {
        for (uri, expected) in [
            ("https://api.example.com/a", true),
            ("http://127.0.0.1:8080/a", true),
            ("http://localhost/a", true),
            ("http://[::1]/a", true),
            ("http://api.example.com/a", false),
            ("ws://127.0.0.1/a", false),
            ("/a", false),
            ("api.example.com:443", false),
            ("*", false),
            ("https://user:password@api.example.com/a", false),
            ("https://@api.example.com/a", false),
            ("https://api.example.com/a/../b", false),
            ("https://api.example.com/a/%2e%2E/b", false),
        ] {
            let url = url_for_token(&uri.parse().unwrap());
            assert_eq!(url.is_some(), expected, "{uri}");
        }
    }
}
