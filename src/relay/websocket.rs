//! WebSockets: connects browser and upstream after both have sent a valid handshake (RFC 6455 §4,
//! RFC 9110 §7.8).

use std::io;
use std::pin::pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{Either, select};
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

/// A WebSocket handshake that is being relayed.
#[derive(Debug)]
pub(super) struct WebSocketHandshake {
    browser: OnUpgrade,
    /// The `Sec-WebSocket-Accept` that the upstream has to send.
    accept: String,
}

/// Why a request with `Upgrade` is not a WebSocket handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("an upgrade requires HTTP/1.1")]
    HttpVersion,
    #[error("an upgrade requires GET")]
    Method,
    #[error("the upgrade is not to `websocket` only")]
    Protocol,
    #[error("`Connection` does not name `Upgrade`")]
    Connection,
    #[error("an upgrade request must not have a body")]
    Body,
    #[error("the `Sec-WebSocket-Version` is not 13")]
    Version,
    #[error("the `Sec-WebSocket-Key` is not 16 bytes in base64")]
    Key,
    #[error("the server does not support upgrades: the request has no `OnUpgrade` extension")]
    NoConnection,
}

impl WebSocketHandshake {
    /// Takes the WebSocket handshake (RFC 6455 §4.2.1) from the request; `None` if it has no
    /// `Upgrade`. An invalid handshake is rejected: an upstream that accepts it would create a
    /// tunnel past all checks.
    pub(super) fn take(parts: &mut Parts) -> Result<Option<Self>, HandshakeError> {
        let headers = &parts.headers;
        if !headers.contains_key(UPGRADE) {
            return Ok(None);
        }
        // HTTP/1.0 has no upgrade (RFC 9110 §7.8), nor has HTTP/2 (RFC 9113 §8.2.2).
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
        if single(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|one| one.as_bytes() != b"13") {
            return Err(HandshakeError::Version);
        }
        let key = single(headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        let accept = accept_for(key).ok_or(HandshakeError::Key)?;
        let browser = parts.extensions.remove::<OnUpgrade>();
        let browser = browser.ok_or(HandshakeError::NoConnection)?;
        Ok(Some(Self { browser, accept }))
    }

    /// Connects both sides in a separate task, which ends when both sides have closed, one fails,
    /// or one has been closed for a while.
    ///
    /// # Errors
    ///
    /// What is wrong with the upstream's response (RFC 6455 §4.1), for the log.
    pub(super) fn connect<R>(
        self,
        response: &mut Response<R>,
        clock: SharedClock,
    ) -> Result<(), &'static str> {
        let headers = response.headers();
        if !names_websocket(headers) || !names_upgrade(headers) {
            return Err("the upstream switched to another protocol than `websocket`");
        }
        let accept = single(headers, &SEC_WEBSOCKET_ACCEPT);
        if accept.is_none_or(|one| one.as_bytes() != self.accept.as_bytes()) {
            return Err(
                "the upstream's `Sec-WebSocket-Accept` does not match the key of the handshake",
            );
        }
        let upstream = response.extensions_mut().remove::<OnUpgrade>();
        let upstream = upstream.ok_or(
            "the transport does not support upgrades: the response has no `OnUpgrade` extension",
        )?;
        tokio::spawn(async move {
            // The browser's side is ready when it has the response; by then the upstream's side is
            // ready too.
            let (Ok(browser), Ok(upstream)) = (self.browser.await, upstream.await) else {
                return;
            };
            exchange(TokioIo::new(browser), TokioIo::new(upstream), &clock).await;
        });
        Ok(())
    }
}

/// Copies bytes in both directions. After one side has closed, the other has a limited time to
/// finish: an idle peer must not keep both connections open.
async fn exchange<A, B>(browser: A, upstream: B, clock: &SharedClock)
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (from_browser, to_browser) = split(browser);
    let (from_upstream, to_upstream) = split(upstream);
    let out = pin!(copy_until_closed(from_browser, to_upstream));
    let back = pin!(copy_until_closed(from_upstream, to_browser));
    let (first, other) = match select(out, back).await {
        Either::Left((first, back)) => (first, Either::Left(back)),
        Either::Right((first, out)) => (first, Either::Right(out)),
    };
    if first.is_ok() {
        let _ = within(&**clock, HALF_CLOSED_TIMEOUT, other).await;
    }
}

async fn copy_until_closed(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Adds the upgrade to the response for the browser.
pub(super) fn add_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn names_websocket(headers: &HeaderMap) -> bool {
    single(headers, &UPGRADE).is_some_and(|one| one.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    listed_in(headers, &CONNECTION)
        .iter()
        .any(|one| one == UPGRADE.as_str())
}

/// Returns the value of a field that is present once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Returns the `Sec-WebSocket-Accept` of a key (RFC 6455 §4.2.2), which shows that the upstream
/// read this handshake; `None` unless the key is 16 bytes in base64. SHA-1 protects nothing here.
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
