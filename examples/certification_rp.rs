//! A relying party for a certification suite, configured by environment variables alone.
//!
//! ```sh
//! ISSUER=https://suite.example.com/test/a/mine/ CLIENT_ID=client CLIENT_SECRET=secret \
//!   BASE=https://rp.example.com:8443 TLS_CERT=rp.pem TLS_KEY=rp.key ADDR=0.0.0.0:8443 cargo run --example certification_rp
//! ```
//!
//! | variable | value | default |
//! | --- | --- | --- |
//! | `ISSUER` | the issuer, as its metadata spells it | required |
//! | `CLIENT_ID` | the client identifier | required |
//! | `PROFILE` | `oidc`, `fapi2_security` or `fapi2_message_signing` | `oidc` |
//! | `CLIENT_AUTH` | `basic`, `post`, `client_secret_jwt`, `private_key_jwt`, `mtls` or `none` | `basic` |
//! | `CLIENT_SECRET` | the secret of `basic`, `post` and `client_secret_jwt` | |
//! | `CLIENT_KEY` | file with the private key, PEM (PKCS#8) or JWK, of `private_key_jwt` and of signed requests | |
//! | `CLIENT_KEY_ID`, `CLIENT_KEY_ALG` | `kid` and algorithm of that key | those of the JWK |
//! | `CLIENT_CERT`, `CLIENT_CERT_KEY` | PEM files, the certificate of connections to the suite | none |
//! | `CA` | PEM file, certificate authorities for connections to the suite beside those of the system | none |
//! | `REQUEST` | `plain`, `par`, `jar` or `jar_par`: pushed (PAR), signed (JAR), or both | `par` if the metadata has an endpoint for it, otherwise `plain` |
//! | `RESPONSE_MODE` | `query`, `form_post`, `jwt` or `form_post.jwt`; one of the last two with `fapi2_message_signing` | `query`, or `jwt` with `fapi2_message_signing` |
//! | `SENDER` | `none`, `dpop` or `mtls` (the certificate of the client): what binds access tokens | `none`, or as the profile chooses |
//! | `ID_TOKEN_ALG` | the only algorithm of ID and logout tokens | those of the library |
//! | `SCOPES` | the requested scopes | `openid profile email` |
//! | `CLAIMS` | JSON, the parameter `claims` of each login (OpenID Connect Core §5.5) | none |
//! | `SESSIONS` | `cookie`, `shared` or `store` (in memory); the back-channel logout needs one of the last two | `store` |
//! | `RESOURCE` | URL that is called with the access token after each login | none |
//! | `USERINFO` | `yes` or `no`: userinfo is requested after each login | `yes` without `RESOURCE` |
//! | `BASE` | the public origin of this relying party | `http://127.0.0.1:3000` |
//! | `TLS_CERT`, `TLS_KEY` | PEM files, the certificate of this relying party; without them it serves http | none |
//! | `ADDR` | the address that it listens on | `127.0.0.1:3000` |
//! | `COOKIE_KEY` | key of the cookies (`openssl rand -base64 32`) | a new one |
//!
//! An empty variable counts as unset. URLs to register in the suite, below `BASE`:
//!
//! | URL | for |
//! | --- | --- |
//! | `/auth/callback` | redirect URI |
//! | `/auth/login` | `initiate_login_uri` |
//! | `/auth/logout` | post-logout redirect URI |
//! | `/auth/backchannel-logout` | back-channel logout URI |
//! | `/auth/frontchannel-logout` | front-channel logout URI; `frontchannel_logout_session_required` |
//!
//! Pages: `/auth/login` starts a login that ends at `/account`, which shows the subject and what was called; `/refresh`
//! does the same with a new access token; `/` has these as links and a button that signs out. If anything fails, the
//! page has the line `error: ` with the code, and the status is not 200.
//!
//! A suite needs no browser: a script that keeps cookies and follows redirects signs in, refreshes, and signs out with
//! `POST /auth/logout`, without `Accept` or the `Sec-Fetch-*` fields of browsers (`certification_rp/scripts.rs`).
//!
//! While `RESOURCE` responds with 401, it is called again with a new access token, up to twice.
#![allow(clippy::print_stdout)]

#[path = "certification_rp/application.rs"]
mod application;
#[path = "certification_rp/back_channel.rs"]
mod back_channel;
#[path = "certification_rp/configuration.rs"]
mod configuration;
#[path = "mtls/listener.rs"]
mod listener;
#[path = "certification_rp/scripts.rs"]
mod scripts;
#[path = "certification_rp/tls.rs"]
mod tls;

use std::error::Error;

use application::application;
use configuration::Configuration;
use listener::TlsListener;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let configuration = Configuration::from_env()?;
    let application = application(&configuration)?;
    let listener = TcpListener::bind(&configuration.address).await?;
    println!("listening on {}", listener.local_addr()?);
    match &configuration.certificate {
        Some(certificate) => {
            let listener = TlsListener::new(listener, &tls::server_config(certificate)?)?;
            axum::serve(listener, application).await?;
        }
        None => axum::serve(listener, application).await?,
    }
    Ok(())
}
