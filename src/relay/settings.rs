//! What a relay is set up with.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};

use super::request_fields::RequestFields;
use super::response_fields::ResponseFields;
use super::target::UpstreamTarget;
use super::transport::HttpTransport;
use crate::config_error::ConfigError;

/// A service that calls one upstream API with the access token of whoever is signed in.
///
/// The [module documentation](super) says what goes through and what does not. Cheap to clone.
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
    pub(super) requires_csrf_header: bool,
    pub(super) downloads: bool,
}

impl Relay {
    /// A relay to `upstream`, such as `https://api.example.com/v1`: one origin, and the path that every
    /// path there begins with. Nothing that a request says changes either. There is no I/O here.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is https, or http on loopback, without user name, query and fragment.
    pub fn new(upstream: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            settings: Arc::new(Settings {
                target: UpstreamTarget::new(upstream)?,
                fields: RequestFields::default(),
                response_fields: ResponseFields::default(),
                methods: AllowedMethods::default(),
                timeout: DEFAULT_TIMEOUT,
                requires_csrf_header: true,
                downloads: false,
            }),
            transport: HttpTransport::default(),
        })
    }
}

impl<T> Relay<T> {
    /// The path below which requests come, such as `/api`; it is taken off. What is not below it gets 404.
    ///
    /// Not needed inside of `Router::nest_service`, which takes the prefix off itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a path of at least one segment, none of them `.` or `..`.
    pub fn with_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let target = self.settings.target.clone().with_prefix(prefix)?;
        Ok(self.with(|settings| settings.target = target))
    }

    /// Sets the methods that are relayed: GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS unless this is
    /// called. Other methods get 405 with `Allow`.
    ///
    /// The list replaces the default one. Add what the API defines, such as `PROPFIND` or `QUERY`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for CONNECT, which asks for a tunnel, for TRACE and TRACK, whose responses
    /// show the token, and for an empty list.
    pub fn with_methods(
        self,
        methods: impl IntoIterator<Item = Method>,
    ) -> Result<Self, ConfigError> {
        let methods = AllowedMethods::only(methods.into_iter().collect())?;
        Ok(self.with(|settings| settings.methods = methods))
    }

    /// How long the upstream may take to begin its answer; 30 seconds when this is not called. Then the
    /// browser gets 504.
    ///
    /// While the body of the request is on its way the time begins anew with every part of it. Answers
    /// and WebSockets have no limit once they have begun.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for no time at all, and for more than an hour.
    pub fn with_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return Err(ConfigError::Setting {
                setting: "relay timeout",
                value: format!("{timeout:?}"),
                reason: "it must be more than nothing and at most an hour",
            });
        }
        Ok(self.with(|settings| settings.timeout = timeout))
    }

    /// One more header that the upstream believes and browsers must not send, such as `x-tenant`, or all
    /// that begin with one, such as `x-tenant-`. Case does not matter, nor does `_` for `-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is no name of a header.
    pub fn add_stripped_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.fields.clone();
        fields.strip(name)?;
        Ok(self.with(|settings| settings.fields = fields))
    }

    /// A header that goes through although it is on the list of those that are stripped, such as
    /// `x-forwarded-for`: only where something in front of this application sets it at every request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is no name of a header, and for `Authorization`, `Cookie`, `DPoP`,
    /// `Host`, `Referer`, `Expect`, `Proxy-*` and the fields of a connection.
    pub fn add_passed_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.fields.clone();
        fields.pass(name)?;
        Ok(self.with(|settings| settings.fields = fields))
    }

    /// Removes one more field from responses, or all that begin with a prefix such as `x-shop-`. Case does
    /// not matter, nor does `_` for `-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is not the name of a field.
    pub fn add_stripped_response_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.response_fields.clone();
        fields.strip(name)?;
        Ok(self.with(|settings| settings.response_fields = fields))
    }

    /// Passes a field of responses that is removed otherwise, such as `link`; the
    /// [module documentation](super#what-is-taken-off) says which pass by default.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is not the whole name of a field, and for fields that change
    /// cookies, credentials, CORS, TLS or stored data of this origin, such as `Set-Cookie`.
    pub fn add_passed_response_header(self, name: &str) -> Result<Self, ConfigError> {
        let mut fields = self.settings.response_fields.clone();
        fields.pass(name)?;
        Ok(self.with(|settings| settings.response_fields = fields))
    }

    /// Also relays a GET without the static header where a person follows a link in a page of this
    /// application, which the browser has to show (`Sec-Fetch-Site: same-origin`): for downloads.
    ///
    /// The upstream should send them as attachments: as pages they are shown in a sandbox.
    #[must_use]
    pub fn with_downloads(self) -> Self {
        self.with(|settings| settings.downloads = true)
    }

    /// Leaves it to [`Csrf`](crate::login::Csrf) alone which requests are relayed: GETs then need no static
    /// header, and other sites can cause them. For upstreams that only read at a GET.
    #[must_use]
    pub fn without_csrf_header(self) -> Self {
        self.with(|settings| settings.requires_csrf_header = false)
    }

    /// Another way to the upstream: any service that takes a request with an absolute URI. It must not
    /// follow redirects. For WebSockets it has to leave hyper's `OnUpgrade` in the response's extensions.
    #[must_use]
    pub fn with_transport<U>(self, transport: U) -> Relay<U> {
        Relay {
            settings: self.settings,
            transport,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

/// Which methods go through.
#[derive(Clone, Debug)]
pub(super) struct AllowedMethods(Vec<Method>);

/// The methods of RFC 9110 §9.3 and RFC 5789 that concern a resource and nothing else.
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
        let refused = |value: String, reason| ConfigError::Setting {
            setting: "relayed methods",
            value,
            reason,
        };
        if methods.is_empty() {
            return Err(refused(String::new(), "the list is empty"));
        }
        if let Some(method) = methods.iter().find(|method| is_never_relayed(method)) {
            return Err(refused(method.to_string(), "it is never relayed"));
        }
        Ok(Self(methods))
    }

    pub(super) fn allow(&self, method: &Method) -> bool {
        self.0.contains(method)
    }

    /// For `Allow`.
    pub(super) fn list(&self) -> HeaderValue {
        let names: Vec<_> = self.0.iter().map(Method::as_str).collect();
        // The names are tokens, so they fit.
        HeaderValue::try_from(names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// RFC 9110 §9.3.8: the response to TRACE, and to TRACK of older servers, repeats the request with the
/// token. In any case: methods that differ in case alone are different methods, but not to every server.
fn is_never_relayed(method: &Method) -> bool {
    let mut never = ["CONNECT", "TRACE", "TRACK"].into_iter();
    never.any(|one| one.eq_ignore_ascii_case(method.as_str()))
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);
