//! Access tokens bound to a client certificate, RFC 8705 §3: where the certificate comes from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Extensions, HeaderMap, HeaderName};
use subtle::ConstantTimeEq as _;

use crate::ConfigError;
use crate::crypto::digest;

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
    Header {
        name: HeaderName,
        trusted: Arc<Trusted>,
    },
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
    /// `trusted` says, by the extensions of a request, whether it came from that proxy. From anybody else the
    /// header is ignored (`M1`): whoever can set it can claim any certificate. **The proxy must remove the
    /// header from what its clients send**, also on connections without a certificate. A
    /// [`ClientCertificate`] in the extensions is not looked at, since it would be the proxy's own.
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
        let invalid = |_| ConfigError::Setting {
            setting: "certificate header",
            value: name.to_owned(),
            reason: "it must be the name of a header",
        };
        Ok(Self {
            source: Source::Header {
                name: HeaderName::try_from(name).map_err(invalid)?,
                trusted: Arc::new(trusted),
            },
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
        self.shown(headers, extensions)
            .is_some_and(|shown| bool::from(shown.ct_eq(thumbprint)))
    }

    fn shown<'a>(
        &self,
        headers: &HeaderMap,
        extensions: &'a Extensions,
    ) -> Option<Cow<'a, [u8; 32]>> {
        match &self.source {
            Source::Tls => {
                let certificate = extensions.get::<ClientCertificate>()?;
                Some(Cow::Borrowed(&certificate.thumbprint))
            }
            Source::Header { name, trusted } => {
                let mut lines = headers.get_all(name).iter();
                // A second line could be one that the proxy did not set.
                let (Some(line), None) = (lines.next(), lines.next()) else {
                    return None;
                };
                if !trusted(extensions) {
                    return None;
                }
                let der = byte_sequence(line.as_bytes())?;
                Some(Cow::Owned(thumbprint(&der)))
            }
        }
    }
}

/// RFC 9440 §2.1, by RFC 8941 §3.3.5: base64 between colons; no parameters, nothing else.
fn byte_sequence(line: &[u8]) -> Option<Vec<u8>> {
    let inner = line.trim_ascii().strip_prefix(b":")?.strip_suffix(b":")?;
    STANDARD.decode(inner).ok().filter(|der| !der.is_empty())
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
            Source::Header { name, .. } => Some(name),
        };
        f.debug_struct("Mtls")
            .field("header", &header)
            .field("required", &self.required)
            .finish()
    }
}
