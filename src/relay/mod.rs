//! The relay: scripts call an API through this application, which adds the access token they never see (the
//! pattern "backend for frontend", [RFC 10017 §6.1]).
//!
//! A [`Relay`] is a service for some path inside of a [`LoginLayer`](crate::LoginLayer). A request passes when
//!
//! 1. somebody is signed in; else 401 with the address of the login route, in a problem document;
//! 2. it is of a script of this application: with the static header `X-CSRF: 1` and nothing that speaks
//!    against it, whatever its method (a WebSocket, which cannot have the header, by its origin); else 403
//!    ([RFC 10017 §6.1.3.3.2]);
//! 3. its method is relayed (else 405 with `Allow`): GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, or the
//!    [list of the application](Relay::with_methods);
//! 4. its path is below the prefix (else 404) and can be read in one way only (else 400): the table of
//!    [`RejectAmbiguousPathsLayer`](crate::bearer::RejectAmbiguousPathsLayer) applies, so no `%2F`, no `;`, no
//!    `//`, no dot segment in any spelling;
//! 5. if it has `Upgrade`, it is the handshake of a WebSocket (else 400, or 426 for another version);
//! 6. there is a fresh access token: [`Session::access_token`](crate::Session::access_token) renews it. 401
//!    where the person has to sign in again, 503 with `Retry-After` where the authorization server is down,
//!    502 where it refuses this application.
//!
//! It goes to the configured origin and nowhere else: neither `Host` nor an absolute request target is looked
//! at, and no redirect is followed. Bodies are handed on as they come, in both directions; nothing is
//! collected. So are trailers, but for the fields that are taken off below (by the body of
//! [`StripTrailersLayer`](crate::bearer::StripTrailersLayer)).
//!
//! WebSockets over HTTP/1.1 are joined once both ends sent a valid handshake ([RFC 6455 §4.2.1]): a GET without
//! a body, with `Upgrade: websocket` alone, `Connection: upgrade`, `Sec-WebSocket-Version: 13` and a key of 16
//! bytes; a 101 with the same two fields and the `Sec-WebSocket-Accept` of that key (else 502). A request with
//! any other `Upgrade`, such as `h2c`, is refused.
//!
//! # What is taken off
//!
//! | direction | header fields |
//! | --- | --- |
//! | to the upstream, always | `Authorization` (ours takes its place), `Cookie`, `DPoP`, `Host`, `Referer`, `Expect`, `Proxy-*`, the fields of a connection and whatever `Connection` names |
//! | to the upstream, unless [passed](Relay::add_passed_header) | `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Remote-*`, `X-Auth-*`, `X-User*`, `X-Original-*`, `X-HTTP-Method-Override` and others that services behind a gateway believe, also with `_` or another sign for `-`; [more](Relay::add_stripped_header) by name |
//! | to the browser, always | `Set-Cookie` (it could replace our session), `WWW-Authenticate` (it could ask for a password in our name), `Access-Control-*`, `Clear-Site-Data`, `Strict-Transport-Security`, `Alt-Svc`, `Service-Worker-Allowed`, `Set-Login` and the like, and the fields of a connection |
//! | to the browser, unless [passed](Relay::add_passed_response_header) | all fields but those that describe a response (`Content-*`, `ETag`, `Location`, `Cache-Control`, `Retry-After`, `RateLimit-*`, `Sunset`, `traceparent`, `Request-Id`, …) and an API's own `X-*`; and of these, what script libraries and proxies act upon (`X-Up-*`, `X-Inertia-*`, `X-Turbo-*`, `X-Accel-*`, `X-Sendfile`, `X-Envoy-*`, …); [more](Relay::add_stripped_response_header) by name |
//!
//! So `HX-*`, `Turbo-*`, `Refresh`, `Speculation-Rules`, `Link`, `SourceMap`, `Reporting-Endpoints` and whatever
//! browsers learn next are removed. The log names each field that a setting would pass
//! (`relay_removed_response_field`, debug).
//!
//! Every answer gets `X-Content-Type-Options: nosniff`, `Content-Security-Policy: sandbox` and
//! `Cross-Origin-Resource-Policy: same-origin`: what an API returns must not become a page or a script of
//! this origin. What a page loads to run it, which browsers say in `Sec-Fetch-Dest` (a script, a worker, a
//! style sheet), gets 403. Every answer gets `Cache-Control: no-store` too, unless the upstream says `private`.
//!
//! # What the upstream answers
//!
//! Its status goes through, also 401: the browser then gets a challenge of ours that opens no window. The
//! two kinds of 401 differ in their body: only ours has the code `login_required`. Nothing is asked twice,
//! and no token is renewed for a 401. A redirect goes to the script as it is. An upstream that cannot be reached
//! is 502 (as is one that answers 407), one that does not begin to answer [in time](Relay::with_timeout) 504.
//!
//! # Deployment notes
//!
//! * The access token must be for this API: ask for its audience or scopes at the login
//!   ([`with_scopes`](crate::LoginLayer::with_scopes)).
//! * [`Csrf::StaticHeader`](crate::login::Csrf::StaticHeader) on the layer asks the same of the routes beside the relay.
//! * No CORS layer is needed, since the page and the relay have one origin; see [`Csrf`](crate::login::Csrf).
//! * `Origin` goes through: an upstream that knows origins sees that of the page.
//!
//! # Not checked here
//!
//! What the upstream does with the token: one that prints it in an answer tells the browser. What a script in
//! a page of this application does. How long a WebSocket or a stream goes on: it outlives the session, so an
//! upstream should end it when the token that began it expires.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::Router;
//! use tower_oauth::login::Csrf;
//! use tower_oauth::relay::Relay;
//! use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};
//!
//! # let (secret, key) = ("a secret", CookieKey::generate()?);
//! let server = AuthorizationServer::new("https://id.example.com")?;
//! let client = Client::confidential("shop", secret);
//! let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?
//!     .with_scopes("openid orders:read")?
//!     .with_csrf(Csrf::StaticHeader);
//!
//! // fetch("/api/orders", { headers: { "X-CSRF": "1" } }) is GET https://api.example.com/v1/orders.
//! let app: Router = Router::new()
//!     .nest_service("/api", Relay::new("https://api.example.com/v1")?)
//!     .layer(login);
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 10017 §6.1]: https://www.rfc-editor.org/rfc/rfc10017#section-6.1
//! [RFC 6455 §4.2.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
//! [RFC 10017 §6.1.3.3.2]: https://www.rfc-editor.org/rfc/rfc10017#section-6.1.3.3.2

mod body;
mod refusal;
mod request_fields;
mod response_fields;
mod service;
mod settings;
mod target;
mod transport;
mod websocket;

pub use body::{Download, Upload};
pub use service::ResponseFuture;
pub use settings::Relay;
pub use transport::{HttpBody, HttpTransport};
