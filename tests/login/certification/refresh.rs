//! The refresh token plan.

use http::header::AUTHORIZATION;
use tower_oauth::testing::{Endpoint, Fault, GrantType};

use super::Outcome::Accepts;
use super::{Behaviour, World};

/// `oidcc-client-test-refresh-token`.
#[tokio::test]
async fn userinfo_is_requested_with_the_refreshed_token() {
    let world = World::new(|login| login);
    let page = world.sign_in().await;
    world.assert_outcome("oidcc-client-test-refresh-token", Accepts, &page);
    let page = world.open("/refreshed").await;
    assert_eq!(page.text(), "alice alice@example.test");
    assert_eq!(world.server.count_grant(GrantType::RefreshToken), 1);
    let requests = world.server.requests();
    let userinfo = requests
        .iter()
        .filter(|it| it.endpoint() == Endpoint::UserInfo);
    let tokens: Vec<_> = userinfo
        .map(|it| it.header(AUTHORIZATION.as_str()))
        .collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
}

/// OpenID Connect Core §12.2: issuer and subject of a refreshed ID token are those of the login.
#[tokio::test]
async fn a_refreshed_id_token_of_another_issuer_or_subject_ends_the_session() {
    let modules: [(&str, Behaviour); 2] = [
        ("oidcc-client-test-refresh-token-invalid-issuer", |server| {
            let issuer = Fault::id_token(|mint| mint.with_issuer("https://other.example.test"));
            server.fail(Endpoint::Token, issuer.only_for(GrantType::RefreshToken));
        }),
        ("oidcc-client-test-refresh-token-invalid-sub", |server| {
            let subject = Fault::id_token(|mint| mint.with_subject("bob"));
            server.fail(Endpoint::Token, subject.only_for(GrantType::RefreshToken));
        }),
    ];
    for (module, behave) in modules {
        let world = World::new(|login| login);
        behave(&world.server);
        let page = world.sign_in().await;
        world.assert_outcome(module, Accepts, &page);
        let page = world.open("/refreshed").await;
        assert!(
            page.text().starts_with("not refreshed: "),
            "{module}: {}",
            page.text()
        );
        assert_eq!(world.userinfo_requests(), 1, "{module}");
        assert_eq!(world.open("/").await.text(), "signed out", "{module}");
    }
}
