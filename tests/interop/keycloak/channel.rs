//! Requests to Keycloak: through a proxy that gives it the name `https://id.example.test`, or directly.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::BoxError;

/// The origin of Keycloak as browsers and applications see it.
pub const ID: &str = "https://id.example.test";

/// A client of Keycloak; as the back channel it is cloned.
#[derive(Clone)]
pub struct Channel {
    http: reqwest::Client,
    target: String,
    /// Whether requests are forwarded for [`ID`].
    is_proxy: bool,
    rewrite: Arc<Mutex<Option<Rewrite>>>,
}

/// Changes a token request or response. The first argument is the form of the request.
pub struct Rewrite {
    pub request: Box<dyn FnMut(String) -> String + Send>,
    pub response: Box<dyn FnMut(&mut Value) + Send>,
}

/// Returns the settings of HTTP clients: like a browser's, redirects are followed elsewhere.
pub fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
}

impl Channel {
    /// Creates a proxy for [`ID`] in front of `target`.
    pub fn proxy(target: String) -> Self {
        Self {
            http: http().build().unwrap(),
            target,
            is_proxy: true,
            rewrite: Arc::default(),
        }
    }

    /// Creates a client without a proxy.
    pub fn direct(target: String, http: reqwest::Client) -> Self {
        Self {
            http,
            target,
            is_proxy: false,
            rewrite: Arc::default(),
        }
    }

    /// Changes all further token requests and responses.
    pub fn rewrite_tokens(&self, rewrite: Rewrite) {
        *self.rewrite.lock().unwrap() = Some(rewrite);
    }

    pub async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        let (parts, mut body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let is_token = path.ends_with("/protocol/openid-connect/token");
        if is_token && let Some(rewrite) = &mut *self.rewrite.lock().unwrap() {
            body = (rewrite.request)(String::from_utf8(body.to_vec())?).into();
        }
        let mut headers = parts.headers;
        for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
            headers.remove(name);
        }
        if self.is_proxy {
            let host = HeaderValue::from_static("id.example.test");
            headers.insert(header::HOST, host.clone());
            headers.insert("x-forwarded-host", host);
            headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
            headers.insert("x-forwarded-port", HeaderValue::from_static("443"));
        }
        let url = format!("{}{path}", self.target);
        let request = self.http.request(parts.method, url).headers(headers);
        let received = request.body(body).send().await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = received.status();
        *response.headers_mut() = received.headers().clone();
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = received.bytes().await?;
        if is_token && let Some(rewrite) = &mut *self.rewrite.lock().unwrap() {
            let mut content: Value = serde_json::from_slice(response.body())?;
            (rewrite.response)(&mut content);
            *response.body_mut() = content.to_string().into();
        }
        Ok(response)
    }

    /// Serves a request of a browser.
    pub async fn serve(
        self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let response = self.send(Request::from_parts(parts, body)).await.unwrap();
        Ok(response.map(Full::new))
    }
}
