//! Relayed requests with access tokens that are bound to a key (RFC 9449).

use axum::extract::Request as AxumRequest;
use http::header::WWW_AUTHENTICATE;
use http_body::SizeHint;
use tower::ServiceExt as _;
use tower_oauth::BearerLayer;
use tower_oauth::token::{Dpop, DpopNonceKey};

use super::*;
use crate::support::logs::Logs;
use crate::support::proofs::{Proof, dpop_server, hash};
use crate::support::refresh::in_time;

const ORIGIN: &str = "https://api.example.com";

/// An upstream that records the header fields of its requests.
#[derive(Clone)]
struct Recording {
    app: Router,
    received: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Recording {
    fn new(app: Router) -> Self {
        let received = Arc::default();
        Self { app, received }
    }

    /// An API that accepts bound tokens only, and returns the size of the request body and one trailer of it.
    fn api(server: &TestServer, nonces: bool) -> Self {
        let dpop = Dpop::new(ORIGIN).unwrap().with_clock(server.clock());
        let dpop = match nonces {
            true => dpop.with_nonces(DpopNonceKey::generate().unwrap()),
            false => dpop,
        };
        let layer = BearerLayer::jwt(&server.authorization_server(), ORIGIN).unwrap();
        let sizes = async |request: AxumRequest| {
            let body = request.into_body().collect().await.unwrap();
            let trailer = body.trailers().map_or(0, HeaderMap::len);
            format!("{} bytes, {trailer} trailers", body.to_bytes().len())
        };
        let app = Router::new().fallback(sizes);
        Self::new(app.layer(layer.with_dpop(dpop.required())))
    }

    /// An upstream that always responds with this status and these fields.
    fn always(status: u16, fields: Fields) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        let respond = move || ready((status, header_map(fields)));
        Self::new(Router::new().fallback(respond))
    }

    fn received(&self) -> Vec<HeaderMap> {
        self.received.lock().unwrap().clone()
    }
}

impl Service<Request<RequestBody<Body>>> for Recording {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Self::Future {
        let headers = request.headers().clone();
        self.received.lock().unwrap().push(headers);
        Box::pin(self.app.clone().oneshot(request.map(Body::new)))
    }
}

fn server() -> TestServer {
    dpop_server(|client| client.with_audience(ORIGIN))
}

fn shop_at(server: &TestServer, upstream: &Recording) -> Shop {
    let relay = Relay::new(API).unwrap().with_transport(upstream.clone());
    let app = Router::new()
        .nest_service("/api", relay)
        .layer(login(server).with_dpop());
    Shop {
        server: server.clone(),
        app,
    }
}

/// Sends a request of a script with this body.
async fn send_body(shop: &Shop, jar: &Jar, body: Body) -> Answer {
    let mut request = Request::post("/api/orders").body(body).unwrap();
    *request.headers_mut() = header_map(&SCRIPT);
    let cookie = HeaderValue::try_from(jar.header()).unwrap();
    request.headers_mut().insert("cookie", cookie);
    Answer::read(shop.app.clone().oneshot(request).await.unwrap()).await
}

/// RFC 9449 §4.2: method and URL are those of the upstream, without the query.
#[tokio::test]
async fn the_upstream_receives_a_proof_for_its_own_url_and_none_of_the_browser() {
    let server = server();
    let upstream = Recording::api(&server, false);
    let shop = shop_at(&server, &upstream);
    let jar = shop.signed_in().await;
    for (method, path) in [("GET", "/orders?state=open"), ("DELETE", "/orders/a%20b")] {
        let planted = [
            ("authorization", "DPoP mine"),
            ("dpop", "mine"),
            ("DPoP", "b"),
        ];
        let ask = Ask::new(method, &format!("/api{path}")).with(&SCRIPT);
        let answer = shop.send(ask.with(&planted).jar(&jar)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = upstream.received().pop().unwrap();
        let proof = Proof::of(&received);
        assert_eq!(proof.claim("htm"), method);
        let path = path.split('?').next().unwrap();
        assert_eq!(proof.claim("htu"), format!("{API}{path}"));
        let fields: Vec<_> = received.get_all("authorization").iter().collect();
        let [field] = fields[..] else {
            panic!("{fields:?}")
        };
        let token = field.to_str().unwrap().strip_prefix("DPoP ").unwrap();
        assert_eq!(proof.claim("ath"), hash(token));
    }
}

/// A body of known size up to 64 KiB is kept for the retry. What cannot be sent again is for the browser to repeat.
#[tokio::test]
async fn a_nonce_is_answered_with_one_retry_if_the_body_can_be_sent_again() {
    let bytes = |size: usize| Body::from(vec![7_u8; size]);
    let chunked = || Body::new(Unsized(Full::new(Bytes::from_static(b"abc"))));
    let trailers = || {
        let body = Full::new(Bytes::from_static(b"abc"));
        let trailers = header_map(&[("x-checksum", "1"), ("x-forwarded-user", "mallory")]);
        Body::new(body.with_trailers(ready(Some(Ok::<_, Infallible>(trailers)))))
    };
    type MakeBody<'a> = &'a dyn Fn() -> Body;
    let cases: [(&str, MakeBody<'_>, Option<&str>); 7] = [
        ("empty", &|| Body::empty(), Some("0 bytes, 0 trailers")),
        ("short", &|| bytes(10), Some("10 bytes, 0 trailers")),
        ("64 KiB", &|| bytes(65_536), Some("65536 bytes, 0 trailers")),
        ("trailers", &trailers, Some("3 bytes, 1 trailers")),
        ("longer", &|| bytes(65_537), None),
        ("unknown size", &chunked, None),
        ("unknown size again", &chunked, None),
    ];
    for (name, body, expected) in cases {
        let server = server();
        let upstream = Recording::api(&server, true);
        let shop = shop_at(&server, &upstream);
        let jar = shop.signed_in().await;
        let answer = send_body(&shop, &jar, body()).await;
        let proofs =
            |received: Vec<HeaderMap>| -> Vec<Proof> { received.iter().map(Proof::of).collect() };
        match expected {
            Some(text) => {
                assert_eq!(answer.text(), text, "{name}");
                let proofs = proofs(upstream.received());
                assert_eq!(proofs.len(), 2, "{name}");
                assert_ne!(proofs[0].claim("jti"), proofs[1].claim("jti"), "{name}");
                assert_ne!(proofs[1].claim("nonce"), "", "{name}");
            }
            None => {
                assert_eq!(answer.status, 503, "{name}");
                assert_eq!(answer.header("retry-after"), "1", "{name}");
                assert_eq!(answer.json()["code"], "send_again", "{name}");
                assert_eq!(upstream.received().len(), 1, "{name}");
                // The nonce is known now.
                let again = send_body(&shop, &jar, body()).await;
                assert_eq!(again.status, 200, "{name}");
                assert_eq!(upstream.received().len(), 2, "{name}");
            }
        }
        assert!(!answer.headers.contains_key("dpop-nonce"), "{name}");
        // Later requests have the nonce from the start.
        let before = upstream.received().len();
        assert_eq!(send_body(&shop, &jar, body()).await.status, 200, "{name}");
        assert_eq!(upstream.received().len(), before + 1, "{name}");
    }
}

/// A body that does not know its size.
struct Unsized(Full<Bytes>);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// The browser cannot correct a proof, so it does not receive a 401 for it.
#[tokio::test]
async fn a_rejected_proof_is_a_502_and_a_rejected_token_a_401() {
    const NONCE: &str = r#"DPoP error="use_dpop_nonce""#;
    const INVALID: &str = r#"DPoP error="invalid_dpop_proof""#;
    const TOKEN: &str = r#"DPoP error="invalid_token""#;
    for (fields, status, requests, reason) in [
        (
            &[("www-authenticate", NONCE), ("dpop-nonce", "n")][..],
            502,
            2,
            "use_dpop_nonce twice",
        ),
        (
            &[("www-authenticate", NONCE)],
            502,
            1,
            "no valid `DPoP-Nonce`",
        ),
        (
            &[("www-authenticate", NONCE), ("dpop-nonce", "a b")],
            502,
            1,
            "no valid `DPoP-Nonce`",
        ),
        (
            &[
                ("www-authenticate", NONCE),
                ("dpop-nonce", "a"),
                ("dpop-nonce", "b"),
            ],
            502,
            1,
            "no valid `DPoP-Nonce`",
        ),
        (
            &[("www-authenticate", INVALID), ("dpop-nonce", "n")],
            502,
            1,
            "clock",
        ),
        (
            &[("www-authenticate", TOKEN), ("dpop-nonce", "n")],
            401,
            1,
            "",
        ),
    ] {
        let server = server();
        let upstream = Recording::always(401, fields);
        let shop = shop_at(&server, &upstream);
        let jar = shop.signed_in().await;
        let log = Logs::default();
        let recording = log.record_only("relay_upstream_failed");
        let answer = send_body(&shop, &jar, Body::from("abc")).await;
        drop(recording);
        assert_eq!(answer.status, status, "{fields:?}");
        assert_eq!(upstream.received().len(), requests, "{fields:?}");
        assert!(log.text().contains(reason), "{fields:?}: {}", log.text());
        assert_eq!(log.text().is_empty(), reason.is_empty());
        let challenge = answer.headers.get(WWW_AUTHENTICATE);
        assert!(challenge.is_none_or(|one| one.as_bytes().starts_with(b"Cookie")));
    }
}

/// Not even if the application asks for it, and not in trailers.
#[tokio::test]
async fn the_nonce_of_the_upstream_never_reaches_the_browser() {
    let server = server();
    let upstream = Recording::always(200, &[("dpop-nonce", "n1"), ("x-total", "7")]);
    let shop = shop_at(&server, &upstream);
    let jar = shop.signed_in().await;
    for nonce in ["", "n1"] {
        let answer = send_body(&shop, &jar, Body::empty()).await;
        assert_eq!(answer.header("x-total"), "7");
        assert!(!answer.headers.contains_key("dpop-nonce"));
        // RFC 9449 §8.2: a nonce of a 200 is used for the next request.
        let received = upstream.received().pop().unwrap();
        assert_eq!(Proof::of(&received).claim("nonce"), nonce);
    }
    let relay = Relay::new(API).unwrap();
    assert!(relay.add_passed_response_header("DPoP-Nonce").is_err());
}

#[tokio::test]
async fn a_body_that_is_kept_is_read_in_time_or_rejected() {
    /// Fails, sends nothing, or sends empty frames without end.
    struct Stuck(&'static str);
    impl http_body::Body for Stuck {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            match self.0 {
                "fails" => Poll::Ready(Some(Err(std::io::ErrorKind::BrokenPipe.into()))),
                "empty frames" => Poll::Ready(Some(Ok(Frame::data(Bytes::new())))),
                _ => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(10)
        }
    }
    let server = server();
    let upstream = Recording::api(&server, true);
    let shop = shop_at(&server, &upstream);
    let jar = shop.signed_in().await;
    for (body, status, code) in [
        ("nothing", 408, "body_too_late"),
        ("empty frames", 408, "body_too_late"),
        ("fails", 400, "unreadable_body"),
    ] {
        let sent = send_body(&shop, &jar, Body::new(Stuck(body)));
        let answer = in_time(&server.clock(), sent).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["code"], code);
    }
    assert!(upstream.received().is_empty());
}
