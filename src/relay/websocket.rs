//! WebSockets: the two connections are joined once both ends have agreed (RFC 6455 §4, RFC 9110 §7.8).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1_smol::Sha1;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};

use super::request_fields::listed_in;
use crate::clock::{SharedClock, within};

/// The browser's end of a WebSocket whose handshake is being relayed.
#[derive(Debug)]
pub(super) struct WebSocketHandshake {
    browser: OnUpgrade,
    /// What the upstream has to answer in `Sec-WebSocket-Accept`.
    accept: String,
}

/// Why a request with `Upgrade` is not the handshake of a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("an upgrade in a request that is not HTTP/1.1")]
    HttpVersion,
    #[error("an upgrade in a request that is not a GET")]
    Method,
    #[error("an upgrade to something else than `websocket` alone")]
    Protocol,
    #[error("`Upgrade` that `Connection` does not name")]
    Connection,
    #[error("an upgrade in a request with a body")]
    Body,
    #[error("a `Sec-WebSocket-Version` that is not 13")]
    Version,
    #[error("a `Sec-WebSocket-Key` that is not 16 bytes in base64")]
    Key,
    #[error("no `OnUpgrade` in the extensions: the server here does not hand over connections")]
    NoConnection,
}

impl WebSocketHandshake {
    /// The handshake of a WebSocket (RFC 6455 §4.2.1), `None` where no upgrade is asked for. What is not
    /// quite one is refused: whatever the upstream made of it would be a tunnel past all that is checked.
    pub(super) fn take(parts: &mut Parts) -> Result<Option<Self>, HandshakeError> {
        let headers = &parts.headers;
        if !headers.contains_key(UPGRADE) {
            return Ok(None);
        }
        // RFC 9110 §7.8: there is no upgrade in HTTP/1.0, and RFC 9113 §8.2.2: nor in HTTP/2.
        if parts.version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        if parts.method != Method::GET {
            return Err(HandshakeError::Method);
        }
        if !names_websocket(headers) {
            return Err(HandshakeError::Protocol);
        }
        if !names_upgrade(headers) {
            return Err(HandshakeError::Connection);
        }
        let is_empty = |length: &HeaderValue| length.as_bytes() == b"0";
        if headers.contains_key(TRANSFER_ENCODING)
            || !headers.get_all(CONTENT_LENGTH).iter().all(is_empty)
        {
            return Err(HandshakeError::Body);
        }
        if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|one| one.as_bytes() != b"13") {
            return Err(HandshakeError::Version);
        }
        let key = only(headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        let accept = accept_for(key).ok_or(HandshakeError::Key)?;
        let browser = parts.extensions.remove::<OnUpgrade>();
        let browser = browser.ok_or(HandshakeError::NoConnection)?;
        Ok(Some(Self { browser, accept }))
    }

    /// Joins the two connections in a task of their own, which ends when both are closed, one breaks, or one
    /// has been closed for a while.
    ///
    /// # Errors
    ///
    /// What is wrong with the upstream's response (RFC 6455 §4.1), for the log.
    pub(super) fn join<R>(
        self,
        response: &mut Response<R>,
        clock: SharedClock,
    ) -> Result<(), &'static str> {
        let headers = response.headers();
        if !names_websocket(headers) || !names_upgrade(headers) {
            return Err("it switched to another protocol than `websocket`");
        }
        let accept = only(headers, &SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|one| one.as_bytes() != self.accept.as_bytes()) {
            return Err("its `Sec-WebSocket-Accept` does not answer the key of the handshake");
        }
        let upstream = response.extensions_mut().remove::<OnUpgrade>();
        let upstream = upstream.ok_or("the transport leaves no `OnUpgrade` in the response")?;
        tokio::spawn(async move {
            // Ours comes when the browser has got the answer; the upstream's is there by then.
            let (Ok(browser), Ok(upstream)) = (self.browser.await, upstream.await) else {
                return;
            };
            exchange(TokioIo::new(browser), TokioIo::new(upstream), &clock).await;
        });
        Ok(())
    }
}

/// Carries bytes in both directions. Where one end has closed, the other one has a while for its last text:
/// its silence must not hold the connections of both.
async fn exchange<A, B>(browser: A, upstream: B, clock: &SharedClock)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (from_browser, to_browser) = split(browser);
    let (from_upstream, to_upstream) = split(upstream);
    let mut out = pin!(carry(from_browser, to_upstream));
    let mut back = pin!(carry(from_upstream, to_browser));
    let first = poll_fn(|cx| match out.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready((ended, true)),
        Poll::Pending => back.as_mut().poll(cx).map(|ended| (ended, false)),
    });
    let _ = match first.await {
        (Ok(()), true) => within(&**clock, HALF_CLOSED_TIMEOUT, back).await,
        (Ok(()), false) => within(&**clock, HALF_CLOSED_TIMEOUT, out).await,
        (Err(_), _) => None,
    };
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// What was agreed, said to the browser.
pub(super) fn agree(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn names_websocket(headers: &HeaderMap) -> bool {
    only(headers, &UPGRADE).is_some_and(|one| one.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    listed_in(headers, &CONNECTION)
        .iter()
        .any(|one| one == UPGRADE.as_str())
}

/// The value of a field that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// RFC 6455 §4.2.2 (5.4): shows that the upstream read this handshake. The key has 16 bytes, in base64. SHA-1
/// protects nothing here.
fn accept_for(key: &HeaderValue) -> Option<String> {
    let bytes = STANDARD.decode(key.as_bytes()).ok()?;
    if bytes.len() != 16 {
        return None;
    }
    let mut digest = Sha1::from(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Some(STANDARD.encode(digest.digest().bytes()))
}

const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(10);
