//! The settings of the relying party, read from environment variables.

use std::error::Error;
use std::{env, fs};

use serde_json::Value;
use tower_oauth::login::{PushedRequests, ResponseMode};
use tower_oauth::{Algorithm, Client, SigningKey};

pub(crate) struct Configuration {
    pub(crate) issuer: String,
    pub(crate) client: Client,
    pub(crate) profile: Profile,
    pub(crate) requests: Requests,
    /// Whether access tokens are bound to a DPoP key.
    pub(crate) dpop: bool,
    pub(crate) client_certificate: Option<CertificateFiles>,
    pub(crate) ca: Option<String>,
    pub(crate) id_token_algorithm: Option<Algorithm>,
    pub(crate) scopes: String,
    /// The parameter `claims` of each login.
    pub(crate) claims: Option<Value>,
    pub(crate) sessions: Sessions,
    pub(crate) resource: Option<String>,
    pub(crate) calls_userinfo: bool,
    pub(crate) base: String,
    pub(crate) certificate: Option<CertificateFiles>,
    pub(crate) address: String,
    pub(crate) cookie_key: Option<String>,
}

/// Paths of PEM files.
pub(crate) struct CertificateFiles {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) enum Profile {
    Oidc,
    Fapi2Security,
    /// With the key of signed requests.
    Fapi2MessageSigning(SigningKey),
}

/// How authorization requests are sent, and their responses.
pub(crate) struct Requests {
    /// `None` for the default: pushed if the server can.
    pub(crate) pushed: Option<PushedRequests>,
    pub(crate) key: Option<SigningKey>,
    pub(crate) response_mode: Option<ResponseMode>,
}

/// Where sessions are kept.
#[derive(Clone, Copy)]
pub(crate) enum Sessions {
    Cookie,
    Shared,
    Store,
}

impl Configuration {
    pub(crate) fn from_env() -> Result<Self, Box<dyn Error>> {
        Self::read(|name| env::var(name).ok())
    }

    /// Reads variables through `variable`; an empty one counts as unset.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Box<dyn Error>> {
        let variables = Variables(Box::new(move |name| {
            variable(name).filter(|value| !value.is_empty())
        }));
        let resource = variables.optional("RESOURCE");
        let calls_userinfo = match variables.choice("USERINFO", &["", "yes", "no"])? {
            "" => resource.is_none(),
            choice => choice == "yes",
        };
        Ok(Self {
            issuer: variables.required("ISSUER")?,
            client: client(&variables)?,
            profile: profile(&variables)?,
            requests: requests(&variables)?,
            dpop: sender(&variables)? == "dpop",
            client_certificate: variables.certificate("CLIENT_CERT", "CLIENT_CERT_KEY")?,
            ca: variables.optional("CA"),
            id_token_algorithm: variables.algorithm("ID_TOKEN_ALG")?,
            scopes: variables.or("SCOPES", "openid profile email"),
            claims: variables.json("CLAIMS")?,
            sessions: match variables.choice("SESSIONS", &["store", "shared", "cookie"])? {
                "cookie" => Sessions::Cookie,
                "shared" => Sessions::Shared,
                _ => Sessions::Store,
            },
            resource,
            calls_userinfo,
            base: variables.or("BASE", "http://127.0.0.1:3000"),
            certificate: variables.certificate("TLS_CERT", "TLS_KEY")?,
            address: variables.or("ADDR", "127.0.0.1:3000"),
            cookie_key: variables.optional("COOKIE_KEY"),
        })
    }
}

/// Returns what binds access tokens: empty for what the profile chooses.
fn sender(variables: &Variables<'_>) -> Result<&'static str, Box<dyn Error>> {
    let sender = variables.choice("SENDER", &["", "none", "dpop", "mtls"])?;
    match (sender, profile(variables)?) {
        ("none", Profile::Fapi2Security | Profile::Fapi2MessageSigning(_)) => {
            Err("SENDER is \"none\", but the profiles of FAPI 2.0 require dpop or mtls".into())
        }
        _ => Ok(sender),
    }
}

fn client(variables: &Variables<'_>) -> Result<Client, Box<dyn Error>> {
    let id = variables.required("CLIENT_ID")?;
    let methods = [
        "basic",
        "post",
        "client_secret_jwt",
        "private_key_jwt",
        "mtls",
        "none",
    ];
    let client = match variables.choice("CLIENT_AUTH", &methods)? {
        "post" => Client::confidential_post(id, variables.required("CLIENT_SECRET")?),
        "client_secret_jwt" => Client::client_secret_jwt(id, variables.required("CLIENT_SECRET")?),
        "private_key_jwt" => Client::private_key_jwt(id, signing_key(variables)?),
        "mtls" => Client::mutual_tls(id),
        "none" => Client::public(id),
        _ => Client::confidential(id, variables.required("CLIENT_SECRET")?),
    };
    Ok(match sender(variables)? {
        "mtls" => client.with_certificate_bound_tokens(),
        _ => client,
    })
}

fn profile(variables: &Variables<'_>) -> Result<Profile, Box<dyn Error>> {
    let profiles = ["oidc", "fapi2_security", "fapi2_message_signing"];
    Ok(match variables.choice("PROFILE", &profiles)? {
        "fapi2_security" => Profile::Fapi2Security,
        "fapi2_message_signing" => Profile::Fapi2MessageSigning(signing_key(variables)?),
        _ => Profile::Oidc,
    })
}

fn requests(variables: &Variables<'_>) -> Result<Requests, Box<dyn Error>> {
    let kind = variables.choice("REQUEST", &["", "plain", "par", "jar", "jar_par"])?;
    let modes = ["", "query", "form_post", "jwt", "form_post.jwt"];
    let mode = variables.choice("RESPONSE_MODE", &modes)?;
    if let ("query" | "form_post", Profile::Fapi2MessageSigning(_)) = (mode, profile(variables)?) {
        return Err(format!(
            "RESPONSE_MODE is {mode:?}, but FAPI 2.0 Message Signing requires jwt or form_post.jwt"
        )
        .into());
    }
    Ok(Requests {
        pushed: match kind {
            "plain" | "jar" => Some(PushedRequests::Never),
            "par" | "jar_par" => Some(PushedRequests::Required),
            _ => None,
        },
        key: match kind {
            "jar" | "jar_par" => Some(signing_key(variables)?),
            _ => None,
        },
        response_mode: match mode {
            "query" => Some(ResponseMode::Query),
            "form_post" => Some(ResponseMode::FormPost),
            "jwt" => Some(ResponseMode::Jwt),
            "form_post.jwt" => Some(ResponseMode::FormPostJwt),
            _ => None,
        },
    })
}

fn signing_key(variables: &Variables<'_>) -> Result<SigningKey, Box<dyn Error>> {
    let path = variables.required("CLIENT_KEY")?;
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut key = match text.trim_start().starts_with('{') {
        true => SigningKey::from_jwk(&text)?,
        false => SigningKey::from_pem(&text)?,
    };
    if let Some(id) = variables.optional("CLIENT_KEY_ID") {
        key = key.with_key_id(id);
    }
    Ok(match variables.algorithm("CLIENT_KEY_ALG")? {
        Some(algorithm) => key.with_algorithm(algorithm)?,
        None => key,
    })
}

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

type Variable<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

struct Variables<'a>(Variable<'a>);

impl Variables<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.optional(name).ok_or_else(|| format!("set {name}"))
    }

    fn or(&self, name: &str, default: &str) -> String {
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    /// Returns one of the choices, the first by default.
    fn choice<'c>(&self, name: &str, choices: &[&'c str]) -> Result<&'c str, String> {
        let value = self.or(name, choices[0]);
        let chosen = choices.iter().find(|choice| **choice == value);
        let others = choices.join(", ");
        chosen
            .copied()
            .ok_or_else(|| format!("{name} is {value:?}, expected one of {others}"))
    }

    fn json(&self, name: &str) -> Result<Option<Value>, String> {
        let text = self.optional(name);
        let value = text.map(|text| serde_json::from_str(&text)).transpose();
        value.map_err(|error| format!("{name} is not JSON: {error}"))
    }

    fn algorithm(&self, name: &str) -> Result<Option<Algorithm>, String> {
        let Some(value) = self.optional(name) else {
            return Ok(None);
        };
        // RFC 9864 renames EdDSA with the curve Ed25519.
        let wanted = match value.as_str() {
            "Ed25519" => "EdDSA",
            other => other,
        };
        let known = ALGORITHMS.iter().find(|known| known.to_string() == wanted);
        let known = known.copied().ok_or_else(|| {
            let names = ALGORITHMS.map(|known| known.to_string()).join(", ");
            format!("{name} is {value:?}, expected one of {names}")
        })?;
        Ok(Some(known))
    }

    fn certificate(&self, name: &str, key: &str) -> Result<Option<CertificateFiles>, String> {
        match (self.optional(name), self.optional(key)) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
            _ => Err(format!("set both {name} and {key}, or none of them")),
        }
    }
}
