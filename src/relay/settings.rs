//! The relay service and its settings.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::request_fields::RequestFields;
use super::response_fields::ResponseFields;
use super::target::UpstreamTarget;
use super::transport::HttpTransport;
use crate::config_error::ConfigError;

/// A service that forwards requests to one upstream API with the access token of the session.
///
/// The [module documentation](super) lists what is forwarded. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Relay<T = HttpTransport> {
    pub(super) settings: Arc<Settings>,
    pub(super) transport: T,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: UpstreamTarget,
    pub(super) fields: RequestFields,
    pub(super) response_fields: ResponseFields,
    pub(super) methods: AllowedMethods,
    pub(super) timeout: Duration,
    /// The resource whose access token the upstream receives; `None` for the access token of the session.
    pub(super) resource: Option<String>,
    pub(super) requires_csrf_header: bool,
    pub(super) downloads: bool,
    /// Whether a challenge of the upstream can become a login.
    pub(super) steps_up: bool,
}

impl Relay {
    /// Creates a relay to `upstream`, such as `https://api.example.com/v1`: one origin, and the
    /// prefix of all upstream paths. Requests can change neither. This performs no I/O.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is https, or http on loopback, without user name, query and
    /// fragment.
    pub fn new(upstream: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            settings: Arc::new(Settings {
                target: UpstreamTarget::new(upstream)?,
                fields: RequestFields::default(),
                response_fields: ResponseFields::default(),
                methods: AllowedMethods::default(),
                timeout: DEFAULT_TIMEOUT,
                resource: None,
                requires_csrf_header: true,
                downloads: false,
                steps_up: true,
            }),
            transport: HttpTransport::default(),
        })
    }
}

impl<T> Relay<T> {
    /// Sets the path prefix of requests, such as `/api`, which is removed. Requests outside of it
    /// get 404.
    ///
    /// Not needed inside `Router::nest_service`, which removes the prefix itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a path of at least one segment, none of them `.` or
    /// `..`.
    pub fn with_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let target = self.settings.target.clone().with_prefix(prefix)?;
        Ok(self.with(|settings| settings.target = target))
    }

    /// Sets the methods that are relayed. Default: GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
    /// Other methods get 405 with `Allow`.
    ///
    /// The list replaces the default. Add methods that the API defines, such as `PROPFIND` or
    /// `QUERY`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for CONNECT, which requests a tunnel, for TRACE and TRACK, whose
    /// responses contain the token, and for an empty list.
    pub fn with_methods(
        self,
        methods: impl IntoIterator<Item = Method>,
    ) -> Result<Self, ConfigError> {
        let methods = AllowedMethods::only(methods.into_iter().collect())?;
        Ok(self.with(|settings| settings.methods = methods))
    }

    /// Sets the timeout for the response head of the upstream. Default: 30 seconds. The browser
    /// then gets 504.
    ///
    /// While the request body is being sent, each frame restarts the timeout. Response bodies and
    /// WebSockets have no time limit.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for zero and for more than an hour.
    pub fn with_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ConfigError::Setting {
                setting: "relay timeout",
                value: format!("{timeout:?}"),
                reason: "it must be greater than zero and at most an hour",
            });
        }
        Ok(self.with(|settings| settings.timeout = timeout))
    }

    /// Sends the access token for a [resource](crate::LoginLayer::add_resource) of the login layer
    /// ([RFC 8707]). Default: that of the session, which is for the first resource.
    ///
    /// So each upstream can receive a token that no other API accepts. The URI must equal that of
    /// `add_resource`, otherwise requests get 500.
    ///
    /// [RFC 8707]: https://www.rfc-editor.org/rfc/rfc8707
    #[must_use]
    pub fn with_resource(self, uri: &str) -> Self {
        self.with(|settings| settings.resource = Some(uri.to_owned()))
    }

    /// Removes one more request header, such as `x-tenant`, or all with a prefix, such as
    /// `x-tenant-`. Add those that the upstream trusts and browsers must not send. Names ignore
    /// case, and `_` equals `-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a header name.
    pub fn add_stripped_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.fields.clone();
        fields.strip(name)?;
        Ok(self.with(|settings| settings.fields = fields))
    }

    /// Forwards a request header that is removed by default, such as `x-forwarded-for`. Add it only
    /// if a proxy in front of this application sets it on every request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a header name, and for `Authorization`, `Cookie`,
    /// `DPoP`, `Host`, `Referer`, `Expect`, `Proxy-*` and hop-by-hop fields.
    pub fn add_passed_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.fields.clone();
        fields.pass(name)?;
        Ok(self.with(|settings| settings.fields = fields))
    }

    /// Removes one more response header, or all with a prefix such as `x-shop-`. Names ignore case,
    /// and `_` equals `-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a header name.
    pub fn add_stripped_response_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.response_fields.clone();
        fields.strip(name)?;
        Ok(self.with(|settings| settings.response_fields = fields))
    }

    /// Forwards a response header that is removed by default, such as `link`; the [module
    /// documentation](super#removed-header-fields) lists the defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a complete header name, and for fields that change
    /// cookies, credentials, CORS, TLS or stored data of this origin, such as `Set-Cookie`.
    pub fn add_passed_response_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.response_fields.clone();
        fields.pass(name)?;
        Ok(self.with(|settings| settings.response_fields = fields))
    }

    /// Also relays a GET without the static header if the user followed a link on a page of this
    /// application (`Sec-Fetch-Site: same-origin` and `Sec-Fetch-User: ?1`): for download links. A
    /// redirect or a refresh is no such navigation. After a login, or a step-up that the upstream
    /// requires, the user returns to the page with the link (`Referer`), or to the default return
    /// target.
    ///
    /// The upstream should send downloads as attachments; pages are shown in a sandbox.
    #[must_use]
    pub fn with_downloads(self) -> Self {
        self.with(|settings| settings.downloads = true)
    }

    /// Requires no static header: only [`Csrf`](crate::login::Csrf) decides which requests are
    /// relayed. Other sites can then cause GETs, so use it only if a GET changes nothing at the
    /// upstream.
    #[must_use]
    pub fn without_csrf_header(self) -> Self {
        self.with(|settings| settings.requires_csrf_header = false)
    }

    /// Sets the transport: a service that sends requests with an absolute URI. It must not follow
    /// redirects. For WebSockets, it has to leave hyper's `OnUpgrade` in the extensions of the
    /// response.
    #[must_use]
    pub fn with_transport<U>(self, transport: U) -> Relay<U> {
        Relay {
            settings: self.settings,
            transport,
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

/// The methods that are relayed.
#[derive(Clone, Debug)]
pub(super) struct AllowedMethods(Vec<Method>);

/// The methods of RFC 9110 §9.3 and RFC 5789 that act on a resource only.
impl Default for AllowedMethods {
    fn default() -> Self {
        Self(vec![
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ])
    }
}

impl AllowedMethods {
    fn only(methods: Vec<Method>) -> Result<Self, ConfigError> {
        let invalid = |value: String, reason| ConfigError::Setting {
            setting: "relayed methods",
            value,
            reason,
        };
        if methods.is_empty() {
            return Err(invalid(String::new(), "the list must not be empty"));
        }
        if let Some(method) = methods.iter().find(|method| is_never_relayed(method)) {
            return Err(invalid(
                method.to_string(),
                "CONNECT, TRACE and TRACK cannot be relayed",
            ));
        }
        Ok(Self(methods))
    }

    pub(super) fn allow(&self, method: &Method) -> bool {
        self.0.contains(method)
    }

    /// Returns the value of `Allow`.
    pub(super) fn list(&self) -> HeaderValue {
        let names: Vec<_> = self.0.iter().map(Method::as_str).collect();
        // Method names are tokens, so the value is valid.
        HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// RFC 9110 §9.3.8: the response to TRACE, and to TRACK of older servers, repeats the request with
/// the token. Methods are case-sensitive, but not on every server, so any case is rejected.
fn is_never_relayed(method: &Method) -> bool {
    let mut never = ["CONNECT", "TRACE", "TRACK"].into_iter();
    never.any(|one| one.eq_ignore_ascii_case(method.as_str()))
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);
