//! The size of session cookies: bytes that a login sets, and bytes that every request carries.
//!
//! `cargo test --test session cookie_figures -- --nocapture` prints the table of `docs/sessions.md`.

use std::fmt::Write as _;
use std::time::Duration;

use http::StatusCode;
use tower_oauth::testing::{Endpoint, Fault};

use crate::support::modes::Mode;
use crate::support::shop::*;

/// A token response: the bytes of the access token, of the refresh token, and of the claims of the
/// ID token beyond the required ones.
struct Tokens {
    name: &'static str,
    access: usize,
    refresh: usize,
    claims: usize,
}

const TOKENS: [Tokens; 4] = [
    // Opaque tokens, no profile.
    Tokens {
        name: "small",
        access: 43,
        refresh: 43,
        claims: 0,
    },
    // A JWT with some scopes and roles; name, e-mail, picture.
    Tokens {
        name: "usual",
        access: 900,
        refresh: 100,
        claims: 250,
    },
    // Both tokens are JWTs, with groups in all of them.
    Tokens {
        name: "large",
        access: 1500,
        refresh: 800,
        claims: 500,
    },
    Tokens {
        name: "too large",
        access: 2500,
        refresh: 1200,
        claims: 1500,
    },
];

struct Figures {
    status: StatusCode,
    /// The length of all `Set-Cookie` fields of a response, with their names.
    at_start: usize,
    at_login: usize,
    /// The `Cookie` field of a later request.
    in_request: usize,
    /// Set when the time of the last use is updated, at most once in six minutes.
    at_touch: usize,
}

async fn measure(mode: Mode, tokens: &Tokens) -> Figures {
    let shop = Shop::with(|login| mode.place(login));
    let mut jar = Jar::default();
    let start = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let callback = shop.approve(start.location(), "alice").await;
    let claims = tokens.claims;
    let text = |name: &str, length| Fault::member(name, "t".repeat(length));
    for fault in [
        Fault::id_token(move |mint| {
            let mint = mint.without_claim("at_hash");
            match claims {
                0 => mint,
                _ => mint.with_claim("profile", "p".repeat(claims)),
            }
        }),
        text("access_token", tokens.access),
        text("refresh_token", tokens.refresh),
    ] {
        shop.server.fail(Endpoint::Token, fault);
    }
    let login = shop.send(Ask::page(&callback).jar(&jar)).await;
    jar.take(&login);
    shop.clock().advance(Duration::from_secs(400));
    let touch = shop.send(Ask::page("/notes").jar(&jar)).await;
    Figures {
        status: login.status,
        at_start: set_cookie_bytes(&start),
        at_login: set_cookie_bytes(&login),
        in_request: jar.bytes(),
        at_touch: set_cookie_bytes(&touch),
    }
}

/// The header fields in HTTP/1.1 format, without those that clear the transaction cookie.
fn set_cookie_bytes(answer: &Answer) -> usize {
    let cookies = answer.set_cookies();
    let kept = cookies
        .iter()
        .filter(|cookie| !cookie.contains("Max-Age=0"));
    kept.map(|cookie| "set-cookie: \r\n".len() + cookie.len())
        .sum()
}

/// All cookies together stay below the 8 KiB limit of common proxies, and a session that does not
/// fit is rejected.
#[tokio::test]
async fn cookies_stay_below_the_limits_of_proxies() {
    let mut table = String::from(
        "| tokens | access / refresh / claims | session in | login begins | login ends | each request | now and then |\n\
         | --- | --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for tokens in &TOKENS {
        for (mode, place) in [(Mode::Cookie, "cookie"), (Mode::Store, "store")] {
            let figures = measure(mode, tokens).await;
            let name = format!("{} {place}", tokens.name);
            let (access, refresh, claims) = (tokens.access, tokens.refresh, tokens.claims);
            write!(
                table,
                "| {} | {access} / {refresh} / {claims} B | {place} ",
                tokens.name
            )
            .unwrap();
            let fits = mode == Mode::Store || tokens.name != "too large";
            if !fits {
                assert_eq!(figures.status, StatusCode::INTERNAL_SERVER_ERROR, "{name}");
                assert_eq!(figures.at_login, 0, "{name}");
                table.push_str("| refused: it needs a store | | | |\n");
                continue;
            }
            assert_eq!(figures.status, StatusCode::SEE_OTHER, "{name}");
            let Figures {
                at_start,
                at_login,
                in_request,
                at_touch,
                ..
            } = figures;
            writeln!(
                table,
                "| {at_start} | {at_login} | {in_request} | {at_touch} |"
            )
            .unwrap();
            assert!(at_start < 1024, "{name} {at_start}");
            if mode == Mode::Store {
                // Independent of the size of the tokens.
                assert!(
                    at_login < 200 && in_request < 100,
                    "{name} {at_login} {in_request}"
                );
                assert_eq!(at_touch, 0, "{name}");
            } else {
                let most = match tokens.name {
                    "small" => 2048,
                    "usual" => 4096,
                    _ => 5 * 1024,
                };
                assert!(in_request < most, "{name} {in_request}");
                assert!(at_login < in_request + 256, "{name} {at_login}");
                // The whole session is written again.
                assert!(
                    at_touch.abs_diff(at_login) < 16,
                    "{name} {at_touch} {at_login}"
                );
            }
        }
    }
    println!("{table}");
}
