//! Access tokens bound to a client certificate, RFC 8705 §3: where the certificate comes from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Extensions, HeaderMap, HeaderName};
use subtle::ConstantTimeEq as _;

use super::certificate_format::{CertificateFormat, Malformed};
use crate::ConfigError;
use crate::crypto::digest;
use crate::protocol::field_name::{normalize_header_name, remove_spellings};

/// The certificate that a client showed when its connection was made.
///
/// Whatever accepts TLS connections puts it into the extensions of every request of the connection, as the
/// example `mtls` shows; with tonic the chain is in its `TlsConnectInfo`. The digest is computed once, here.
///
/// The chain is not looked at: a token is bound to this very certificate, so one that the client signed
/// itself is as good as any ([RFC 8705 §6.2]).
///
/// [RFC 8705 §6.2]: https://www.rfc-editor.org/rfc/rfc8705#section-6.2
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    der: Arc<[u8]>,
    thumbprint: [u8; 32],
}

impl ClientCertificate {
    /// The client's own certificate, the first of its chain, in DER.
    ///
    /// Only for what the TLS layer of this connection verified the possession of: this is taken as proof.
    pub fn from_der(der: impl AsRef<[u8]>) -> Self {
        let der = der.as_ref();
        Self {
            der: der.into(),
            thumbprint: thumbprint(der),
        }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SHA-256 of the DER, as `x5t#S256` has it.
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

/// Never the certificate, which names a person or a machine.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// Certificate-bound access tokens ([RFC 8705 §3]): where the client's certificate is found.
///
/// A bound token (`cnf` with `x5t#S256`) is accepted together with the very certificate it is bound to, and
/// refused with 401 without it or with another.
///
/// Behind a proxy that ends TLS, the certificate is in a header field, in one of several formats: see
/// [`from_header_in`](Self::from_header_in).
///
/// The TLS server has to ask for client certificates by its configuration: a token comes too late to do
/// that. It need not verify a chain.
///
/// ```
/// use tower_oauth::bearer::Mtls;
///
/// // The proxy's address, as the server put it into the extensions.
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
    source: Source,
    required: bool,
}

#[derive(Clone)]
enum Source {
    Tls,
    Header(Arc<Header>),
}

/// The field of a proxy.
struct Header {
    name: HeaderName,
    /// As [`normalize_header_name`] prints it.
    folded_name: String,
    format: CertificateFormat,
    trusted: Box<Trusted>,
    /// Whether a malformed field was logged.
    told: AtomicBool,
}

type Trusted = dyn Fn(&Extensions) -> bool + Send + Sync;

impl Mtls {
    /// The certificate of this very connection: a [`ClientCertificate`] in the request's extensions.
    #[must_use]
    pub fn from_tls() -> Self {
        Self {
            source: Source::Tls,
            required: false,
        }
    }

    /// The certificate in a header that a proxy sets, which ends TLS in front of this server; by
    /// [RFC 9440] that is `client-cert`, with the DER as a byte sequence (`:MIIB…:`).
    ///
    /// Short for [`from_header_in`](Self::from_header_in) with [`CertificateFormat::Rfc9440`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is no header's name.
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
    /// The [`BearerLayer`](crate::BearerLayer) removes the field, in any spelling, before it calls the inner service, whoever
    /// sent it. An inner layer with the same setting finds no certificate.
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
    /// [`ConfigError::Setting`] for a string that is not the name of a header field.
    pub fn from_header_in(
        format: CertificateFormat,
        name: &str,
        trusted: impl Fn(&Extensions) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let invalid = |_| ConfigError::Setting {
            setting: "certificate header",
            value: name.to_owned(),
            reason: "it must be the name of a header",
        };
        let name = HeaderName::try_from(name).map_err(invalid)?;
        Ok(Self {
            source: Source::Header(Arc::new(Header {
                folded_name: normalize_header_name(name.as_str()),
                name,
                format,
                trusted: Box::new(trusted),
                told: AtomicBool::new(false),
            })),
            required: false,
        })
    }

    /// Refuses tokens that are not bound to a certificate (`M5`).
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// Whether the request shows the certificate of this thumbprint (`M2`, `M3`, `M8`).
    pub(crate) fn shows(
        &self,
        thumbprint: &[u8; 32],
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> bool {
        let shown = self.shown(headers, extensions).ok().flatten();
        shown.is_some_and(|shown| bool::from(shown.ct_eq(thumbprint)))
    }

    /// Whether the request shows a certificate or none, and not a field that cannot be read.
    pub(crate) fn is_readable(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        self.shown(headers, extensions).is_ok()
    }

    /// Removes the field in every spelling, whoever set it.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if let Source::Header(header) = &self.source {
            remove_spellings(headers, &header.folded_name);
        }
    }

    pub(crate) fn strips(&self, folded_name: &str) -> bool {
        match &self.source {
            Source::Tls => false,
            Source::Header(header) => header.folded_name == folded_name,
        }
    }

    fn shown<'a>(
        &self,
        headers: &HeaderMap,
        extensions: &'a Extensions,
    ) -> Result<Option<Cow<'a, [u8; 32]>>, Malformed> {
        match &self.source {
            Source::Tls => Ok(extensions
                .get::<ClientCertificate>()
                .map(|certificate| Cow::Borrowed(&certificate.thumbprint))),
            Source::Header(header) => header
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
        // A second line could be one that the proxy did not set.
        if lines.next().is_some() {
            return Err("there is more than one field line");
        }
        self.format.read(line.as_bytes()).map(Some)
    }

    /// Callers behind a proxy that does not remove the field can cause this, so it is a warning once.
    fn log(&self, reason: &str) {
        let (header, format) = (self.name.as_str(), self.format);
        if self.told.swap(true, Ordering::Relaxed) {
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
            Source::Tls => None,
            Source::Header(header) => Some((&header.name, header.format)),
        };
        f.debug_struct("Mtls")
            .field("header", &header)
            .field("required", &self.required)
            .finish()
    }
}
