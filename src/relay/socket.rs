//! WebSockets: the two connections are joined once both ends have agreed (RFC 6455 §4, RFC 9110 §7.8).

use http::header::{CONNECTION, HeaderMap, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// The browser's end of a WebSocket to be.
#[derive(Debug)]
pub(super) struct Socket(OnUpgrade);

impl Socket {
    /// The handshake of a WebSocket, where the server here can hand over its connection. No other protocol
    /// goes through: h2c, say, would be a tunnel past everything that is checked.
    pub(super) fn take(parts: &mut Parts) -> Option<Self> {
        if parts.method != Method::GET || !names_websocket(&parts.headers) {
            return None;
        }
        parts.extensions.remove::<OnUpgrade>().map(Self)
    }

    /// Joins the two connections in a task of their own, which ends when both are closed or one breaks.
    /// `None` where the upstream switched to something else, or its connection cannot be had.
    pub(super) fn join<R>(self, response: &mut Response<R>) -> Option<()> {
        if !names_websocket(response.headers()) {
            return None;
        }
        let upstream = response.extensions_mut().remove::<OnUpgrade>()?;
        tokio::spawn(async move {
            // Ours comes when the browser has got the answer; the upstream's is there by then.
            let (Ok(browser), Ok(upstream)) = (self.0.await, upstream.await) else {
                return;
            };
            let (mut browser, mut upstream) = (TokioIo::new(browser), TokioIo::new(upstream));
            let _ = tokio::io::copy_bidirectional(&mut browser, &mut upstream).await;
        });
        Some(())
    }
}

/// What was agreed, said to the browser.
pub(super) fn agree(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn names_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter();
    let one = values.next().filter(|_| values.next().is_none());
    one.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
