//! Two realms of Keycloak as the providers of one layer, with users of the same name.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use http::{Method, StatusCode};
use tower_oauth::{Client, CookieKey, LoginLayer, Provider, Session};

use super::channel::ID;
use super::definitions::{KeycloakClient, Keys, User};
use super::realm::{APP, Realm};
use super::world::{Visitor, assert_is_password_form, sign_in_with_form};
use crate::provider::SECRET;
use crate::sessions::Mode;

const NAMES: [&str; 2] = ["staff", "customers"];

/// An application whose users are those of both realms.
struct Application {
    realms: [Realm; 2],
    login: LoginLayer,
    pages: Router,
}

impl Application {
    /// `client` is the client of both realms, which have different keys.
    async fn new(client: KeycloakClient, id: &str, mode: Mode) -> Self {
        let redirect_uris = ["", "/customers"].map(|path| format!("{APP}/auth/callback{path}"));
        let client = client.set("redirectUris", redirect_uris.to_vec());
        let realms = [
            Realm::shared(Keys::Rs256).await,
            Realm::shared(Keys::Es256).await,
        ];
        for realm in &realms {
            realm.add_client(client.clone()).await;
        }
        let provider = |name: usize| {
            let server = realms[name].server();
            Provider::new(NAMES[name], &server, Client::confidential(id, SECRET))
                .unwrap()
                .with_scopes("openid profile email")
                .unwrap()
        };
        let key = CookieKey::generate().unwrap();
        let login = LoginLayer::for_provider(provider(0), &redirect_uris[0], key);
        let login = login.unwrap().add_provider(provider(1)).unwrap();
        let login = login.with_post_logout_redirect_uri(&format!("{APP}/auth/logout"));
        let login = mode.place(login.unwrap());
        let pages = Router::new()
            .route("/user", get(user).layer(login.required()))
            .route("/sid", get(sid).layer(login.required()))
            .route("/token", get(token).layer(login.required()))
            .route("/refresh", get(refresh).layer(login.required()))
            .route("/", get(home))
            .layer(login.clone());
        Self {
            realms,
            login,
            pages,
        }
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(ID, self.realms[0].channel(), &self.pages)
    }

    /// Signs in at one of the realms.
    async fn signed_in(&self, provider: usize, user: &User) -> Visitor {
        let visitor = self.visitor();
        let form = visitor.open(&login_path(provider)).await;
        let issuer = self.realms[provider].issuer();
        assert!(form.url().starts_with(&issuer), "{}", form.url());
        let page = sign_in_with_form(&form, user).await;
        assert_eq!(page.url(), format!("{APP}/"), "{}", page.text());
        assert!(is_signed_in(&visitor).await, "{}", page.text());
        visitor
    }

    /// Returns what [`user`] shows of a user of a realm.
    async fn expected(&self, provider: usize, user: &User) -> String {
        let realm = &self.realms[provider];
        let id = realm.user_id(user).await;
        format!(
            "{} {} {id} {}",
            NAMES[provider],
            realm.issuer(),
            user.email()
        )
    }

    /// Returns whether the realm still knows the access token.
    async fn is_active(&self, provider: usize, token: &str) -> bool {
        let response = self.realms[provider].introspect(token).await;
        response["active"].as_bool().unwrap()
    }
}

fn login_path(provider: usize) -> String {
    format!("/auth/login/{}", NAMES[provider])
}

async fn is_signed_in(visitor: &Visitor) -> bool {
    !visitor.open("/").await.text().contains("signed out")
}

async fn home(session: Option<Session>) -> Html<String> {
    let user = session.as_ref().map_or("signed out", Session::provider);
    Html(format!(
        "{user}<form method=post action=/auth/logout><button>Sign out</button></form>"
    ))
}

async fn user(session: Session) -> String {
    let profile = session.userinfo().await.unwrap();
    assert_eq!(profile.subject(), session.subject());
    let email = profile.get("email").unwrap();
    let (provider, issuer) = (session.provider(), session.issuer());
    let (subject, email) = (session.subject(), email.as_str().unwrap());
    format!("{provider} {issuer} {subject} {email}")
}

async fn sid(session: Session) -> String {
    let sid = session.claims().get("sid").unwrap();
    sid.as_str().unwrap().to_owned()
}

/// Returns the token itself, which applications must not do.
async fn token(session: Session) -> String {
    session.access_token().await.unwrap().expose().to_owned()
}

async fn refresh(session: Session) -> &'static str {
    session.refresh().await.unwrap();
    "refreshed"
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn users_sign_in_refresh_and_sign_out_at_their_realm() {
    for mode in [Mode::Cookie, Mode::Shared, Mode::Store] {
        let id = format!("providers-{mode:?}");
        let application = Application::new(KeycloakClient::new(&id), &id, mode).await;
        let alice = User::alice();
        let mut visitors = Vec::new();
        for provider in [0, 1] {
            let visitor = application.signed_in(provider, &alice).await;
            let expected = application.expected(provider, &alice).await;
            assert_eq!(visitor.open("/user").await.text(), expected, "{mode:?}");

            // The refresh token goes to the realm that issued it: any other rejects it.
            let before = visitor.token().await;
            let refreshed = visitor.open("/refresh").await;
            assert_eq!(refreshed.text(), "refreshed", "{mode:?}");
            let token = visitor.token().await;
            assert_ne!(token, before);
            assert!(application.is_active(provider, &token).await, "{mode:?}");
            visitors.push((visitor, token));
        }
        // The same name at two issuers is two users.
        let [first, second] = [&visitors[0].0, &visitors[1].0];
        assert_ne!(
            first.open("/user").await.text(),
            second.open("/user").await.text()
        );

        // The sign-out ends the session at the realm of the session, and no other.
        for (provider, other) in [(1, 0), (0, 1)] {
            let (visitor, token) = &visitors[provider];
            let page = visitor.open("/").await;
            let home = page.form("/auth/logout").unwrap().submit().await.unwrap();
            assert_eq!(home.url(), format!("{APP}/"), "{}", home.text());
            let at = |realm: &Realm| {
                let endpoint = realm.endpoint("logout");
                home.redirects()
                    .iter()
                    .any(|url| url.starts_with(&endpoint))
            };
            assert!(at(&application.realms[provider]), "{:?}", home.redirects());
            assert!(!at(&application.realms[other]), "{:?}", home.redirects());
            assert!(!is_signed_in(visitor).await, "{mode:?}");
            assert!(!application.is_active(provider, token).await, "{mode:?}");
            assert_is_password_form(&visitor.open(&login_path(provider)).await);
            if provider == 1 {
                let (visitor, token) = &visitors[other];
                assert!(is_signed_in(visitor).await, "{mode:?}");
                assert!(application.is_active(other, token).await, "{mode:?}");
            }
        }
    }
}

/// A second login in the same browser replaces the session; the user stays signed in at the first realm.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_user_chooses_one_realm_and_then_the_other() {
    for mode in [Mode::Cookie, Mode::Store] {
        let id = format!("changes-{mode:?}");
        let application = Application::new(KeycloakClient::new(&id), &id, mode).await;
        let (alice, bob) = (User::alice(), User::bob());
        let visitor = application.visitor();
        for (provider, user) in [(0, &alice), (1, &bob)] {
            let chooser = match provider {
                0 => visitor.open("/user").await,
                _ => visitor.open("/auth/login?return_to=/user").await,
            };
            let link = format!("Sign in with {}", NAMES[provider]);
            let form = chooser.click(&link).await.unwrap();
            // The session at the first realm is no session at the second.
            assert_is_password_form(&form);
            let page = sign_in_with_form(&form, user).await;
            assert_eq!(page.url(), format!("{APP}/user"));
            assert_eq!(
                page.text(),
                application.expected(provider, user).await,
                "{mode:?}"
            );
        }
        // Each realm still knows its user: no form.
        for (provider, user) in [(0, &alice), (1, &bob)] {
            let home = visitor.open(&login_path(provider)).await;
            assert_eq!(home.url(), format!("{APP}/"), "{}", home.text());
            let expected = application.expected(provider, user).await;
            assert_eq!(visitor.open("/user").await.text(), expected, "{mode:?}");
        }
    }
}

/// Back-Channel Logout §2.5: both realms post to one URL, and each ends sessions of its own users only.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn an_administrator_of_a_realm_ends_the_sessions_of_its_users_only() {
    for mode in [Mode::Shared, Mode::Store] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/auth/backchannel-logout");
        let id = format!("providers-backchannel-{mode:?}");
        let client = KeycloakClient::new(&id)
            .attribute("backchannel.logout.url", &url)
            .attribute("backchannel.logout.session.required", "true");
        let application = Application::new(client, &id, mode).await;
        let pages = application.pages.clone();
        tokio::spawn(async move { axum::serve(listener, pages).await });
        let [staff, customers] = &application.realms;
        let user = staff.add_user(&id).await;
        customers.add_user(&id).await;

        let at_staff = application.signed_in(0, &user).await;
        let customer = application.signed_in(1, &user).await;
        let another = application.signed_in(1, &user).await;
        let admin = application.login.sessions();
        let listed = async |name: &str, realm: &Realm| {
            let user = realm.user_id(&user).await;
            let sessions = admin.at_provider(name).of_user(&user).await;
            sessions.unwrap().len()
        };
        assert_eq!(listed("staff", staff).await, 1, "{mode:?}");
        assert_eq!(listed("customers", customers).await, 2, "{mode:?}");

        // One session, by its `sid`.
        let path = format!("/sessions/{}", customer.sid().await);
        customers.admin(Method::DELETE, &path, None).await;
        assert!(!is_signed_in(&customer).await, "{mode:?}");
        assert!(is_signed_in(&another).await, "{mode:?}");
        assert!(is_signed_in(&at_staff).await, "{mode:?}");

        // All sessions of a user, by the subject.
        let path = format!("/users/{}/logout", customers.user_id(&user).await);
        customers.admin(Method::POST, &path, None).await;
        assert!(!is_signed_in(&another).await, "{mode:?}");
        assert!(is_signed_in(&at_staff).await, "{mode:?}: another realm");
        assert_eq!(listed("staff", staff).await, 1, "{mode:?}");
        assert_eq!(listed("customers", customers).await, 0, "{mode:?}");

        let path = format!("/users/{}/logout", staff.user_id(&user).await);
        staff.admin(Method::POST, &path, None).await;
        assert!(!is_signed_in(&at_staff).await, "{mode:?}");
        let response = at_staff.fetch("/token").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{mode:?}");
    }
}
