//! The inner service: executes every request, and records it.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use tower_oauth::{Session, VerifiedToken};

/// A request as the service received it.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether the service could take over the connection.
    pub(crate) upgrade: bool,
    /// The `:protocol` of an extended CONNECT.
    pub(crate) protocol: Option<String>,
    /// The subject of the verified token or of the session.
    pub(crate) subject: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Execution>>>);

impl Recorder {
    /// Records the request, reads its body and responds with 200.
    pub(crate) async fn execute<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let token = parts.extensions.get::<VerifiedToken>();
        let token = token.and_then(|token| token.subject().map(str::to_owned));
        let session = parts.extensions.get::<Session>();
        let session = session.map(|session| session.subject().to_owned());
        let protocol = parts.extensions.get::<hyper::ext::Protocol>();
        let at = {
            let mut all = self.0.lock().unwrap();
            all.push(Execution {
                method: parts.method,
                target: parts.uri.to_string(),
                headers: parts.headers,
                body: Vec::new(),
                trailers: HeaderMap::new(),
                upgrade: parts.extensions.get::<OnUpgrade>().is_some(),
                protocol: protocol.map(|protocol| protocol.as_str().to_owned()),
                subject: token.or(session),
            });
            all.len() - 1
        };
        let mut body = std::pin::pin!(body);
        while let Some(Ok(frame)) = body.frame().await {
            let mut all = self.0.lock().unwrap();
            let Some(execution) = all.get_mut(at) else {
                break;
            };
            match frame.into_data() {
                Ok(data) => execution.body.extend_from_slice(&data),
                Err(frame) => execution
                    .trailers
                    .extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Response::new(Body::from("executed"))
    }

    /// Returns what was executed since the last call.
    pub(crate) fn take(&self) -> Vec<Execution> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
