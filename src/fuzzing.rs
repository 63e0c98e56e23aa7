//! The door of the fuzz targets in `fuzz/`: parsers that nothing public shows by themselves. It is there
//! under `--cfg fuzzing` alone, which cargo-fuzz sets, and no part of the API.
#![allow(missing_docs, clippy::exhaustive_structs)]

use std::sync::Arc;

use http::HeaderMap;

use crate::crypto::binding::Binding;
use crate::crypto::seal::{Purpose, SealContext};
use crate::crypto::{Jws, JwsError};
use crate::flow::Flow;
use crate::issuer::fuzzing::KeySet;
use crate::protocol::Claims;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::credentials::{self, Credentials};
use crate::protocol::json::parse_object;
use crate::random::Random;
use crate::{Algorithm, AuthorizationServer, Client, CookieKey};

/// The token of a request and its scheme, `None` where there is none of an accepted scheme; an error is a 400.
#[allow(clippy::result_unit_err)]
pub fn credentials(
    headers: &HeaderMap,
    takes_dpop: bool,
) -> Result<Option<(&'static str, String)>, ()> {
    match credentials::read(headers, takes_dpop) {
        Ok(Credentials::Absent | Credentials::Unsupported(_)) => Ok(None),
        Ok(Credentials::Token(found)) => {
            let presented = found.checked().map_err(|_| ())?;
            Ok(Some((
                presented.scheme.as_str(),
                presented.token().to_owned(),
            )))
        }
        Err(_) => Err(()),
    }
}

/// A JWS that was read, and whether a key of the set made its signature.
#[derive(Debug)]
pub struct ReadJws {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    pub media_type: Option<String>,
    pub payload: Vec<u8>,
    pub is_signed: bool,
}

pub fn jws(token: &str, keys: &Keys) -> Option<ReadJws> {
    let jws: Result<Jws<'_>, JwsError> = Jws::read(token);
    let jws = jws.ok()?;
    let key = keys.0.find(jws.key_id(), jws.algorithm());
    Some(ReadJws {
        algorithm: jws.algorithm(),
        key_id: jws.key_id().map(str::to_owned),
        media_type: jws.media_type().map(str::to_owned),
        payload: jws.payload().to_vec(),
        is_signed: key
            .and_then(|key| key.public_key().map(|key| jws.verify(key)))
            .unwrap_or_default(),
    })
}

/// The claims of a payload as if it had been signed.
pub fn claims(payload: &[u8]) -> Option<Claims> {
    let text: Arc<str> = std::str::from_utf8(payload).ok()?.into();
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = RegisteredClaims::read_within(&text, &object).ok()?;
    Some(Claims::new(Arc::clone(&text), registered))
}

/// The binding of a login layer.
#[derive(Clone, Copy, Debug)]
pub struct Layer(Binding);

impl Layer {
    pub fn new(issuer: &str, client_id: &str, redirect_uri: &str) -> Option<Self> {
        let server = AuthorizationServer::new(issuer).ok()?;
        let flow = Flow::new(&server, Client::public(client_id), redirect_uri).ok()?;
        Some(Self(flow.binding()))
    }
}

/// What only somebody with the key of the cookies could send: any text, sealed as the session of this
/// cookie and of this layer.
pub fn sealed(key: &CookieKey, cookie: &str, layer: Layer, plain: &[u8]) -> String {
    let place = SealContext {
        purpose: Purpose::Session,
        name: cookie,
        binding: layer.0,
        ticket: None,
    };
    let sealed = key.seal(&Random::system(), place, plain);
    sealed.unwrap_or_default()
}

/// What only somebody with the key and with the ticket of a browser could put into a store: any text, sealed
/// as the session of this name.
pub fn sealed_in_store(
    key: &CookieKey,
    ticket: &[u8; 32],
    session: &str,
    layer: Layer,
    plain: &[u8],
) -> Vec<u8> {
    let place = SealContext {
        purpose: Purpose::Stored,
        name: session,
        binding: layer.0,
        ticket: Some(ticket),
    };
    let sealed = key.seal_bytes(&Random::system(), place, plain);
    sealed.unwrap_or_default()
}

#[derive(Debug)]
pub struct Keys(KeySet);

impl Keys {
    pub fn read(document: &[u8]) -> Option<Self> {
        KeySet::read(document).map(Self)
    }

    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Whether one key, and no other, is for this token.
    pub fn has(&self, key_id: Option<&str>, algorithm: Algorithm) -> bool {
        self.0.find(key_id, algorithm).is_some()
    }
}
