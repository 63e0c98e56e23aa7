//! Certificate-bound access tokens (RFC 8705 §3).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName};
use subtle::ConstantTimeEq as _;

use super::certificate_format::{CertificateFormat, Malformed};
use crate::ConfigError;
use crate::crypto::digest;
use crate::protocol::field_name::{normalize_header_name, remove_spellings};
use crate::telemetry::LogOnce;

/// The certificate that a client presented in the TLS handshake.
///
/// The code that accepts TLS connections must insert it into the extensions of every request of the connection, as
/// the example `mtls` shows; with tonic the chain is in its `TlsConnectInfo`. The thumbprint is computed once, in
/// [`from_der`](Self::from_der).
///
/// # Not checked
///
/// The chain: a token is bound to this very certificate, so a self-signed one is as secure ([RFC 8705 §6.2]).
///
/// [RFC 8705 §6.2]: https://www.rfc-editor.org/rfc/rfc8705#section-6.2
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Arc<[u8]>,
    thumbprint: [u8; 32],
}

impl ClientCertificate {
    /// Creates a client certificate from DER: the client's own, the first of its chain.
    ///
    /// Use it only for a certificate whose private key the client proved to possess in the TLS handshake of this
    /// connection: it is accepted as proof of possession.
    pub fn from_der(der: impl AsRef<[u8]>) -> Self {
        let der = der.as_ref();
        Self {
            der: der.into(),
            thumbprint: thumbprint(der),
        }
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the SHA-256 digest of the DER, the value of `x5t#S256`.
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

/// Omits the certificate, which identifies a user or a machine.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// Verifies certificate-bound access tokens ([RFC 8705 §3]); names the source of the client certificate.
///
/// A bound token (`cnf` with `x5t#S256`) is accepted only with the certificate that it is bound to. Without it, or with
/// another one, the request is rejected with 401.
///
/// Behind a TLS-terminating proxy, the certificate is in a header field, in one of several formats: see
/// [`from_header_in`](Self::from_header_in).
///
/// Configure the TLS server to request client certificates in the handshake; it need not verify the chain.
///
/// ```
/// use tower_oauth::bearer::Mtls;
///
/// // The peer address, inserted into the extensions by the server.
/// #[derive(Clone)]
/// struct Peer(std::net::IpAddr);
///
/// let direct = Mtls::from_tls();
/// let behind_a_proxy = Mtls::from_header("client-cert", |extensions| {
///     extensions.get::<Peer>().is_some_and(|peer| peer.0.is_loopback())
/// })?;
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// [RFC 8705 §3]: https://www.rfc-editor.org/rfc/rfc8705#section-3
#[derive(Clone)]
pub struct Mtls {
    source: CertificateSource,
    required: bool,
}

#[derive(Clone)]
enum CertificateSource {
    Tls,
    Header(Arc<Header>),
}

/// The header field of a proxy.
struct Header {
    name: HeaderName,
    /// The result of [`normalize_header_name`].
    folded_name: String,
    format: CertificateFormat,
    trusted: Box<Trusted>,
    /// Whether a malformed field was logged at `warn`.
    warning: LogOnce,
}

type Trusted = dyn Fn(&Extensions) -> bool + Send + Sync;

impl Mtls {
    /// Reads the certificate of the connection: the [`ClientCertificate`] in the request extensions.
    #[must_use]
    pub fn from_tls() -> Self {
        Self {
            source: CertificateSource::Tls,
            required: false,
        }
    }

    /// Reads the certificate from a header field that a TLS-terminating proxy sets. In [RFC 9440] this is
    /// `client-cert`, with the DER as a byte sequence (`:MIIB…:`).
    ///
    /// Short for [`from_header_in`](Self::from_header_in) with [`CertificateFormat::Rfc9440`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if `name` is not a valid header name.
    ///
    /// [RFC 9440]: https://www.rfc-editor.org/rfc/rfc9440#section-2.2
    pub fn from_header(
        name: &str,
        trusted: impl Fn(&Extensions) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        Self::from_header_in(CertificateFormat::Rfc9440, name, trusted)
    }

    /// Reads the certificate from a header field that a TLS-terminating proxy sets, in the format of that proxy.
    ///
    /// `trusted` decides, by the extensions of a request, whether it came from that proxy. From any other peer the
    /// field is ignored, because a caller that can set it can claim any certificate. **The proxy must remove the
    /// field from what its clients send**, also on connections without a certificate; [`CertificateFormat`] has the
    /// directives. A [`ClientCertificate`] in the extensions is ignored, since it would be the proxy's own.
    ///
    /// Without the field, the client has no certificate. If the proxy sends the field twice, or one that is malformed, the
    /// request is rejected: with 401 if its token is bound to a certificate, else with 400. The log says what is wrong.
    ///
    /// The [`BearerLayer`](crate::BearerLayer) removes the field, in any spelling, before it calls the inner service,
    /// also if the peer is not trusted. An inner layer with the same setting finds no certificate.
    ///
    /// # Not checked
    ///
    /// The chain and the validity of the certificate: the token names this very certificate. The proxy proves that the
    /// client has the key.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use tower_oauth::bearer::{CertificateFormat, Mtls};
    ///
    /// let mtls = Mtls::from_header_in(CertificateFormat::Nginx, "ssl-client-cert", |extensions| {
    ///     extensions.get::<SocketAddr>().is_some_and(|peer| peer.ip().is_loopback())
    /// })?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if `name` is not a valid header name.
    pub fn from_header_in(
        format: CertificateFormat,
        name: &str,
        trusted: impl Fn(&Extensions) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let invalid = |_| ConfigError::Setting {
            setting: "certificate header",
            value: name.to_owned(),
            reason: "it must be a valid header name",
        };
        let name = HeaderName::try_from(name).map_err(invalid)?;
        Ok(Self {
            source: CertificateSource::Header(Arc::new(Header {
                folded_name: normalize_header_name(name.as_str()),
                name,
                format,
                trusted: Box::new(trusted),
                warning: LogOnce::default(),
            })),
            required: false,
        })
    }

    /// Rejects tokens that are not bound to a certificate.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// Returns whether the request has the certificate with this thumbprint.
    pub(crate) fn has_certificate(
        &self,
        thumbprint: &[u8; 32],
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> bool {
        let presented = self.presented(headers, extensions).ok().flatten();
        presented.is_some_and(|presented| bool::from(presented.ct_eq(thumbprint)))
    }

    /// Returns `false` if the request has a malformed certificate header of a trusted proxy.
    pub(crate) fn is_readable(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        self.presented(headers, extensions).is_ok()
    }

    /// Removes the field in every spelling, trusted or not.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if let CertificateSource::Header(header) = &self.source {
            remove_spellings(headers, &header.folded_name);
        }
    }

    pub(crate) fn strips(&self, folded_name: &str) -> bool {
        match &self.source {
            CertificateSource::Tls => false,
            CertificateSource::Header(header) => header.folded_name == folded_name,
        }
    }

    /// Returns the thumbprint of the certificate of the request.
    fn presented<'a>(
        &self,
        headers: &HeaderMap,
        extensions: &'a Extensions,
    ) -> Result<Option<Cow<'a, [u8; 32]>>, Malformed> {
        match &self.source {
            CertificateSource::Tls => Ok(extensions
                .get::<ClientCertificate>()
                .map(|certificate| Cow::Borrowed(&certificate.thumbprint))),
            CertificateSource::Header(header) => header
                .read(headers, extensions)
                .map(|der| der.map(|der| Cow::Owned(thumbprint(&der))))
                .inspect_err(|reason| header.log(reason)),
        }
    }
}

impl Header {
    fn read(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Vec<u8>>, Malformed> {
        let mut lines = headers.get_all(&self.name).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        if !(self.trusted)(extensions) {
            return Ok(None);
        }
        // A second field line could come from the client.
        if lines.next().is_some() {
            return Err("there is more than one field line");
        }
        self.format.read(line.as_bytes()).map(Some)
    }

    /// Logs a warning once, then at `debug`: clients can cause this if the proxy does not remove the field.
    fn log(&self, reason: &str) {
        let (header, format) = (self.name.as_str(), self.format);
        if !self.warning.is_first() {
            tracing::debug!(
                name: "certificate_header_malformed_again",
                target: "tower_oauth::bearer",
                header, ?format, reason,
                "rejected a malformed certificate header of a trusted proxy"
            );
        } else {
            tracing::warn!(
                name: "certificate_header_malformed",
                target: "tower_oauth::bearer",
                header, ?format, reason,
                "rejected a malformed certificate header of a trusted proxy: compare its configuration with \
                 the documentation of `CertificateFormat`"
            );
        }
    }
}

fn thumbprint(der: &[u8]) -> [u8; 32] {
    let mut thumbprint = [0; 32];
    thumbprint.copy_from_slice(&digest::sha256(der));
    thumbprint
}

impl fmt::Debug for Mtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = match &self.source {
            CertificateSource::Tls => None,
            CertificateSource::Header(header) => Some((&header.name, header.format)),
        };
        f.debug_struct("Mtls")
            .field("header", &header)
            .field("required", &self.required)
            .finish()
    }
}
