//! Relay: scripts call an API through this application, which adds the access token (the pattern
//! "backend for frontend", [RFC 10017 §6.1]). The scripts never see the token.
//!
//! A [`Relay`] is a service for a path inside a [`LoginLayer`](crate::LoginLayer). It forwards a
//! request if
//!
//! 1. the request has a session; otherwise it gets 401 with the URL of the login route in a problem
//!    document ([RFC 9457]);
//! 2. it comes from a script of this application: it has the static header `X-CSRF: 1` and no sign of
//!    another origin, whatever its method; a WebSocket, which cannot have the header, is checked by
//!    its origin; otherwise 403 ([RFC 10017 §6.1.3.3.2]);
//! 3. its method is relayed: GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, or the
//!    [list of the application](Relay::with_methods); otherwise 405 with `Allow`;
//! 4. its path is below the prefix (otherwise 404) and unambiguous (otherwise 400): the table of
//!    [`RejectAmbiguousPathsLayer`](crate::bearer::RejectAmbiguousPathsLayer) applies, so `%2F`, `;`,
//!    `//` and dot segments in any encoding are rejected;
//! 5. it has no `Upgrade`, or is a WebSocket handshake; otherwise 400, or 426 for another version;
//! 6. an access token is available; [`Session::access_token`](crate::Session::access_token) refreshes
//!    it if necessary. The response is 401 if the user has to sign in again, 503 with `Retry-After`
//!    if the authorization server is unavailable, and 502 if it rejects this client.
//!
//! Requests go to the configured origin only: `Host` and an absolute request target are not read, and
//! redirects are not followed. Bodies are streamed in both directions, with their trailers except for
//! the fields that are removed (by the body of
//! [`StripTrailersLayer`](crate::bearer::StripTrailersLayer)).
//!
//! WebSockets over HTTP/1.1 are connected once both sides have sent a valid handshake
//! ([RFC 6455 §4.2.1]): a GET without a body, with `Upgrade: websocket` only, `Connection: upgrade`,
//! `Sec-WebSocket-Version: 13` and a key of 16 bytes; and a 101 response with the same two fields and
//! the `Sec-WebSocket-Accept` of that key (otherwise 502). A request with any other `Upgrade`, such as
//! `h2c`, is rejected.
//!
//! # Removed header fields
//!
//! | direction | header fields |
//! | --- | --- |
//! | to the upstream, always | `Authorization` (replaced by the access token), `Cookie`, `DPoP` (replaced by a proof if there is one), `Host`, `Referer`, `Expect`, `Proxy-*`, hop-by-hop fields ([RFC 9110 §7.6.1]) and all fields that `Connection` names |
//! | to the upstream, unless [passed](Relay::add_passed_header) | `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `Remote-*`, `X-Auth-*`, `X-User*`, `X-Original-*`, `X-HTTP-Method-Override` and others that services behind a gateway trust, also with `_` or another character for `-`; [more](Relay::add_stripped_header) by name |
//! | to the browser, always | `Set-Cookie` (it could replace the session), `WWW-Authenticate` (it could prompt for a password under the name of this application), `DPoP-Nonce`, `Access-Control-*`, `Clear-Site-Data`, `Strict-Transport-Security`, `Alt-Svc`, `Service-Worker-Allowed`, `Set-Login` and similar fields, and hop-by-hop fields |
//! | to the browser, unless [passed](Relay::add_passed_response_header) | all fields except those that describe a response (`Content-*`, `ETag`, `Location`, `Cache-Control`, `Retry-After`, `RateLimit-*`, `Sunset`, `traceparent`, `Request-Id`, …) and an API's own `X-*`; of these, those that script libraries and proxies act on are removed too (`X-Up-*`, `X-Inertia-*`, `X-Turbo-*`, `X-Accel-*`, `X-Sendfile`, `X-Envoy-*`, …); [more](Relay::add_stripped_response_header) by name |
//!
//! So `HX-*`, `Turbo-*`, `Refresh`, `Speculation-Rules`, `Link`, `SourceMap`, `Reporting-Endpoints` and
//! any field that browsers learn in the future are removed. The log names each removed field that a
//! setting would pass (`relay_response_field_removed`, debug).
//!
//! Every response gets `X-Content-Type-Options: nosniff`, `Content-Security-Policy: sandbox` and
//! `Cross-Origin-Resource-Policy: same-origin`, so that a response of the API cannot become a page or a
//! script of this origin. A request for a script, a worker or a style sheet, as browsers report in
//! `Sec-Fetch-Dest`, gets 403. Every response gets `Cache-Control: no-store` too, unless the upstream
//! sent `private`.
//!
//! # Responses of the upstream
//!
//! The status is forwarded, also 401; the browser then gets a challenge that opens no password prompt.
//! Only a 401 of the relay itself has the code `login_required`. A 401 with the challenge
//! `insufficient_user_authentication` ([RFC 9470 §3]) becomes a login that meets it: scripts get 401
//! with `login_url` and the code `authentication_too_weak`, unless
//! [switched off](Relay::without_step_up). Requests are not repeated, except for a
//! [DPoP nonce](#dpop), and a 401 causes no refresh. Redirects are not followed: a `Location` below the
//! upstream URL becomes the path of the relay that leads there, and any other is 502, since a script
//! that follows it would leave the relay. `Content-Location`, `Operation-Location` and
//! `OData-EntityId` are mapped likewise, or removed. If the upstream cannot be reached, or responds
//! with 407, the response is 502. If it sends no response head [in time](Relay::with_timeout), the
//! response is 504.
//!
//! # DPoP
//!
//! With [`with_dpop`](crate::LoginLayer::with_dpop), requests have `Authorization: DPoP` and a proof for
//! the method and the URL of the upstream ([RFC 9449 §7.1]). If the upstream requires a nonce, the
//! request is repeated once with it: for that, a body whose size is known and at most 64 KiB is read
//! before it is sent (408 if it stops for longer than the [timeout](Relay::with_timeout)). Other bodies
//! are streamed and cannot be repeated; the response is then 503 with `Retry-After: 1` and the code
//! `send_again`, and the nonce is known by then. If the upstream rejects the proof otherwise, the response is 502.
//! `DPoP-Nonce` is not forwarded.
//!
//! # Deployment notes
//!
//! * The access token must be meant for this API: request its audience or scopes at the login
//!   ([`with_scopes`](crate::LoginLayer::with_scopes)). With several APIs, each relay can send a token
//!   of its own ([`with_resource`](Relay::with_resource)).
//! * [`Csrf::StaticHeader`](crate::login::Csrf::StaticHeader) on the layer requires the static header
//!   on the other routes too.
//! * No CORS layer is needed, because the page and the relay have the same origin; see
//!   [`Csrf`](crate::login::Csrf).
//! * `Origin` is forwarded: the upstream sees the origin of the page.
//!
//! # Not checked
//!
//! * What the upstream does with the token: if a response contains it, the browser sees it.
//! * What scripts in pages of this application do.
//! * How long a WebSocket or a stream lasts: it outlives the session, so the upstream should end it
//!   when its token expires.
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
//! [RFC 9449 §7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
//! [RFC 9110 §7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
//! [RFC 9470 §3]: https://www.rfc-editor.org/rfc/rfc9470#section-3
//! [RFC 10017 §6.1.3.3.2]: https://www.rfc-editor.org/rfc/rfc10017#section-6.1.3.3.2

mod body;
mod kept_body;
mod location;
mod refusal;
mod request_fields;
mod response_fields;
mod service;
mod settings;
mod step_up;
mod target;
mod transport;
mod websocket;

pub use body::{RequestBody, ResponseBody};
pub use service::RelayFuture;
pub use settings::Relay;
pub use transport::{HttpBody, HttpTransport};
