//! Access to private parsers for the fuzz targets in `fuzz/`. It exists only with `--cfg fuzzing`, which cargo-fuzz sets,
//! and is not part of the API.
#![allow(missing_docs, clippy::exhaustive_structs)]

use std::sync::Arc;

use http::HeaderMap;

use crate::crypto::binding::Binding;
use crate::crypto::seal::{Purpose, SealContext};
use crate::crypto::{Jws, JwsError};
use crate::flow::Flow;
use crate::issuer::KeySet;
use crate::protocol::Claims;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::credentials::{self, Credentials};
use crate::protocol::json::parse_object;
use crate::random::Random;
use crate::{Algorithm, AuthorizationServer, Client, CookieKey};

/// Returns the scheme and token of a request, `None` without an accepted scheme. An error corresponds to a 400.
#[allow(clippy::result_unit_err)]
pub fn credentials(
    headers: &HeaderMap,
    accepts_dpop: bool,
) -> Result<Option<(&'static str, String)>, ()> {
    match credentials::read(headers, accepts_dpop) {
        Ok(Credentials::Absent | Credentials::Unsupported(_)) => Ok(None),
        Ok(Credentials::Token(found)) => {
            let presented = (found.scheme.as_str(), found.token().to_owned());
            found.is_token68().then_some(Some(presented)).ok_or(())
        }
        Err(_) => Err(()),
    }
}

/// A parsed JWS, and whether its signature verifies with a key of the set.
#[derive(Debug)]
pub struct ParsedJws {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    pub media_type: Option<String>,
    pub payload: Vec<u8>,
    pub is_signed: bool,
}

pub fn jws(token: &str, keys: &Keys) -> Option<ParsedJws> {
    let jws: Result<Jws<'_>, JwsError> = Jws::read(token);
    let jws = jws.ok()?;
    let key = keys.0.key(jws.key_id(), jws.algorithm());
    let key = key.and_then(Result::ok);
    Some(ParsedJws {
        algorithm: jws.algorithm(),
        key_id: jws.key_id().map(str::to_owned),
        media_type: jws.media_type().map(str::to_owned),
        payload: jws.payload().to_vec(),
        is_signed: key
            .and_then(|keys| keys.iter().next()?.public_key().map(|key| jws.verify(key)))
            .unwrap_or_default(),
    })
}

/// Returns the claims of a payload as if it had been signed.
pub fn claims(payload: &[u8]) -> Option<Claims> {
    let text: Arc<str> = std::str::from_utf8(payload).ok()?.into();
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = RegisteredClaims::read_within(&text, &object).ok()?;
    Some(Claims::new(Arc::clone(&text), registered))
}

/// The identity of a login layer.
#[derive(Clone, Copy, Debug)]
pub struct Layer(Binding);

impl Layer {
    pub fn new(issuer: &str, client_id: &str, redirect_uri: &str) -> Option<Self> {
        let server = AuthorizationServer::new(issuer).ok()?;
        let flow = Flow::new(&server, Client::public(client_id), redirect_uri).ok()?;
        Some(Self(flow.binding()))
    }
}

/// Seals any text as the session in this cookie of this layer, which requires the cookie key.
pub fn sealed(key: &CookieKey, cookie: &str, layer: Layer, plain: &[u8]) -> String {
    let context = SealContext {
        purpose: Purpose::Session,
        name: cookie,
        binding: layer.0,
        session_secret: None,
    };
    let sealed = key.seal(&Random::system(), context, plain);
    sealed.unwrap_or_default()
}

/// Seals any text as the stored session with this name, which requires the cookie key and the session secret.
pub fn sealed_in_store(
    key: &CookieKey,
    session_secret: &[u8; 32],
    session: &str,
    layer: Layer,
    plain: &[u8],
) -> Vec<u8> {
    let context = SealContext {
        purpose: Purpose::Stored,
        name: session,
        binding: layer.0,
        session_secret: Some(session_secret),
    };
    let sealed = key.seal_bytes(&Random::system(), context, plain);
    sealed.unwrap_or_default()
}

#[derive(Debug)]
pub struct Keys(KeySet);

impl Keys {
    pub fn read(document: &[u8]) -> Option<Self> {
        KeySet::parse(document).ok().map(Self)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether exactly one key matches this token.
    pub fn has(&self, key_id: Option<&str>, algorithm: Algorithm) -> bool {
        matches!(self.0.key(key_id, algorithm), Some(Ok(_)))
    }
}
