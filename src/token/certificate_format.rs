//! The header fields in which TLS-terminating proxies forward a client certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::crypto::is_one_sequence;

/// How a proxy writes the client certificate into a header field; see
/// [`Mtls::from_header_in`](crate::bearer::Mtls::from_header_in).
///
/// The field must be present exactly once if the client presented a certificate, and absent otherwise. An empty field is
/// malformed, as is everything else that differs from the format. In formats with a chain, the first
/// certificate is the client's own.
///
/// Each example removes the field that the client sent and sets it only for connections with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFormat {
    /// DER as a byte sequence, `:MIIB…:` ([RFC 9440 §2.1]).
    ///
    /// Google Cloud load balancers send it, and HAProxy can:
    ///
    /// ```text
    /// http-request del-header client-cert
    /// http-request set-header client-cert :%[ssl_c_der,base64]: if { ssl_c_used }
    /// ```
    ///
    /// [RFC 9440 §2.1]: https://www.rfc-editor.org/rfc/rfc9440#section-2.1
    Rfc9440,
    /// One certificate in PEM, percent-encoded: nginx's `$ssl_client_escaped_cert`. A `+` is a `+`, not a space.
    ///
    /// ```text
    /// ssl_verify_client optional_no_ca;
    /// proxy_set_header ssl-client-cert $ssl_client_escaped_cert;
    /// ```
    ///
    /// nginx does not send a header with an empty value, and `proxy_set_header` replaces the field that the client sent.
    /// The variable `$ssl_client_cert` has another format (lines continued by tabs) and is rejected.
    Nginx,
    /// Envoy's `x-forwarded-client-cert` (XFCC), also of Istio and other meshes. Only the *last* element counts: the proxy next
    /// to this server appends it, and those before it come from its client.
    ///
    /// ```yaml
    /// forward_client_cert_details: SANITIZE_SET
    /// set_current_client_cert_details: { cert: true }
    /// ```
    ///
    /// `Cert` is read, or the first certificate of `Chain`; if both are there, they must agree. An element without either
    /// is malformed: `Hash` and `Subject` alone are not enough. With `ALWAYS_FORWARD_ONLY`, Envoy forwards the
    /// field of its client even if the connection has no certificate: do not use it here.
    Envoy,
    /// Base64 of DER, certificates separated by commas: Traefik's `X-Forwarded-Tls-Client-Cert` and that of skipper. Some versions
    /// percent-encode it; both are read.
    ///
    /// ```yaml
    /// http:
    ///   middlewares:
    ///     client-certificate:
    ///       passTLSClientCert: { pem: true }
    /// ```
    ///
    /// Traefik removes the field that a client sent, unless `forwardedHeaders.insecure` is on for the entry point or the client
    /// is in `forwardedHeaders.trustedIPs`.
    Traefik,
    /// Certificates in PEM, percent-encoded with `+`, `=` and `/` as they are: `X-Amzn-Mtls-Clientcert` (passthrough mode,
    /// with the chain) and `X-Amzn-Mtls-Clientcert-Leaf` (verify mode) of an AWS Application Load Balancer.
    ///
    /// ```text
    /// aws elbv2 modify-listener --listener-arn … --mutual-authentication Mode=passthrough
    /// ```
    AwsAlb,
    /// Base64 of one certificate in DER: HAProxy's `ssl_c_der,base64`.
    ///
    /// ```text
    /// bind :443 ssl crt site.pem ca-file ca.pem verify optional
    /// http-request del-header x-ssl-client-cert
    /// http-request set-header x-ssl-client-cert %[ssl_c_der,base64] if { ssl_c_used }
    /// ```
    ///
    /// Without the condition HAProxy sends an empty field, which is malformed.
    HaProxy,
}

/// Why a field is malformed, for the log.
pub(super) type Malformed = &'static str;

impl CertificateFormat {
    /// Returns the client's own certificate in DER.
    pub(super) fn read(self, field: &[u8]) -> Result<Vec<u8>, Malformed> {
        let field = field.trim_ascii();
        if field.is_empty() {
            return Err("it is empty");
        }
        if field.len() > MAX_FIELD {
            return Err("it is longer than 64 KiB");
        }
        match self {
            Self::Rfc9440 => byte_sequence(field),
            Self::Nginx => only(pem(&percent_decoded(field)?)?),
            Self::Envoy => last_element(field),
            Self::Traefik => first(base64_list(&percent_decoded(field)?)?),
            Self::AwsAlb => first(pem(&percent_decoded(field)?)?),
            Self::HaProxy => der(field),
        }
    }
}

/// Parses a byte sequence (RFC 8941 §3.3.5): base64 between colons, without parameters.
fn byte_sequence(field: &[u8]) -> Result<Vec<u8>, Malformed> {
    let inner = field
        .strip_prefix(b":")
        .and_then(|rest| rest.strip_suffix(b":"));
    let inner = inner.ok_or("it is not a byte sequence between colons")?;
    let der = STANDARD.decode(inner).map_err(|_| NOT_BASE64)?;
    if der.is_empty() {
        return Err("it is empty");
    }
    Ok(der)
}

/// Decodes base64 of exactly one DER sequence, so that a truncated certificate is rejected.
fn der(base64: &[u8]) -> Result<Vec<u8>, Malformed> {
    let der = STANDARD.decode(base64).map_err(|_| NOT_BASE64)?;
    match is_one_sequence(&der) {
        true => Ok(der),
        false => Err("it is not a complete certificate in DER"),
    }
}

fn base64_list(text: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let parts = text.split(|byte| *byte == b',');
    parts.map(der).collect()
}

/// Parses certificates in PEM (RFC 7468 §5), with only line ends between them.
fn pem(text: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut certificates = Vec::new();
    let mut rest = without_line_ends(text);
    while !rest.is_empty() {
        let block = rest.strip_prefix(BEGIN).ok_or("it is not PEM")?;
        let end = memmem::find(block, END).ok_or("its PEM is truncated")?;
        let base64: Vec<u8> = block[..end]
            .iter()
            .copied()
            .filter(|byte| !is_line_end(*byte))
            .collect();
        certificates.push(der(&base64)?);
        rest = without_line_ends(&block[end + END.len()..]);
    }
    Ok(certificates)
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn without_line_ends(text: &[u8]) -> &[u8] {
    let line_ends = text.iter().take_while(|byte| is_line_end(**byte));
    &text[line_ends.count()..]
}

/// Decodes percent-encoding (RFC 3986 §2.1). Other characters are literal, including `+`.
fn percent_decoded(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    const MALFORMED: Malformed = "it is not percent-encoded";
    let hexadecimal = |byte: u8| {
        let value = char::from(byte).to_digit(16);
        value.and_then(|value| u8::try_from(value).ok())
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        decoded.push(match (*byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                rest = tail;
                let (high, low) = hexadecimal(*high).zip(hexadecimal(*low)).ok_or(MALFORMED)?;
                high << 4 | low
            }
            (b'%', _) => return Err(MALFORMED),
            (byte, _) if byte.is_ascii_graphic() => byte,
            _ => return Err(MALFORMED),
        });
    }
    Ok(decoded)
}

/// Parses the last element of an XFCC field. The whole field must be well-formed: an open quote in an earlier element
/// would move the boundary between the elements.
fn last_element(field: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (mut certificate, mut chain) = (None, None);
    let mut rest = field;
    loop {
        let equals = rest.iter().position(|byte| b"=;,\"".contains(byte));
        let (key, value) = equals
            .and_then(|at| Some((&rest[..at], rest[at..].strip_prefix(b"=")?)))
            .ok_or(NOT_XFCC)?;
        let key = key.trim_ascii();
        if key.is_empty() {
            return Err(NOT_XFCC);
        }
        let (value, tail) = element_value(value)?;
        let target = match () {
            () if key.eq_ignore_ascii_case(b"cert") => Some(&mut certificate),
            () if key.eq_ignore_ascii_case(b"chain") => Some(&mut chain),
            () => None,
        };
        if target.is_some_and(|target: &mut Option<Vec<u8>>| target.replace(value).is_some()) {
            return Err("its last element has two certificates");
        }
        match tail {
            [] => break,
            [b',', tail @ ..] => {
                (certificate, chain) = (None, None);
                rest = tail;
            }
            [_, tail @ ..] => rest = tail,
        }
    }
    let certificate = certificate.map(|text| only(pem(&percent_decoded(&text)?)?));
    let leaf = chain.map(|text| first(pem(&percent_decoded(&text)?)?));
    match (certificate.transpose()?, leaf.transpose()?) {
        (Some(certificate), Some(leaf)) if certificate != leaf => {
            Err("`Cert` is not the first certificate of `Chain`")
        }
        (Some(certificate), _) | (None, Some(certificate)) => Ok(certificate),
        (None, None) => Err("its last element has no `Cert`"),
    }
}

/// Parses a value of an XFCC element. Returns it and the rest, which is empty or starts with a separator.
fn element_value(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Malformed> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| b";,\"".contains(byte));
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        return match rest {
            [b'"', ..] => Err(NOT_XFCC),
            _ => Ok((value.to_vec(), rest)),
        };
    };
    let mut value = Vec::new();
    loop {
        match rest {
            [b'\\', byte, tail @ ..] => {
                value.push(*byte);
                rest = tail;
            }
            [b'"', tail @ ..] if matches!(tail, [] | [b';' | b',', ..]) => {
                return Ok((value, tail));
            }
            [] | [b'\\' | b'"', ..] => return Err(NOT_XFCC),
            [byte, tail @ ..] => {
                value.push(*byte);
                rest = tail;
            }
        }
    }
}

fn only(certificates: Vec<Vec<u8>>) -> Result<Vec<u8>, Malformed> {
    match certificates.len() {
        0 | 1 => first(certificates),
        _ => Err("it has more than one certificate"),
    }
}

fn first(certificates: Vec<Vec<u8>>) -> Result<Vec<u8>, Malformed> {
    if certificates.len() > MAX_CHAIN {
        return Err("it has more than 16 certificates");
    }
    let mut certificates = certificates.into_iter();
    certificates.next().ok_or("it has no certificate")
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

const NOT_BASE64: Malformed = "its content is not base64";
const NOT_XFCC: Malformed = "it is not a list of elements";

/// In bytes: twice the size of a chain of ten certificates with large keys.
const MAX_FIELD: usize = 64 * 1024;
const MAX_CHAIN: usize = 16;
