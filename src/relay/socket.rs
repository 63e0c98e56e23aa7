//! WebSockets: the two connections are joined once both ends have agreed (RFC 6455 §4, RFC 9110 §7.8).

use std::future::{Future, poll_fn};
use std::io::Result;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, HeaderMap, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};

use crate::clock::{SharedClock, within};

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

    /// Joins the two connections in a task of their own, which ends when both are closed, one breaks, or one
    /// has been closed for a while. `None` where the upstream switched to something else, or its connection
    /// cannot be had.
    pub(super) fn join<R>(self, response: &mut Response<R>, clock: SharedClock) -> Option<()> {
        if !names_websocket(response.headers()) {
            return None;
        }
        let upstream = response.extensions_mut().remove::<OnUpgrade>()?;
        tokio::spawn(async move {
            // Ours comes when the browser has got the answer; the upstream's is there by then.
            let (Ok(browser), Ok(upstream)) = (self.0.await, upstream.await) else {
                return;
            };
            exchange(TokioIo::new(browser), TokioIo::new(upstream), &clock).await;
        });
        Some(())
    }
}

/// Carries bytes in both directions. Where one end has closed, the other one has a while for its last words:
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
        (Ok(()), true) => within(&**clock, LAST_WORDS, back).await,
        (Ok(()), false) => within(&**clock, LAST_WORDS, out).await,
        (Err(_), _) => None,
    };
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<()> {
    copy(&mut from, &mut to).await?;
    to.shutdown().await
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

const LAST_WORDS: Duration = Duration::from_secs(10);
