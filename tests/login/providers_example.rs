//! `examples/providers.rs` with its imitations of Google and GitHub, as a browser sees them.

use http::StatusCode;
use tokio::net::TcpListener;
use tower_oauth::testing::{Browser, Page, ServerHandle};

#[path = "../../examples/providers.rs"]
#[allow(dead_code)]
mod example;

const APP: &str = "http://127.0.0.1:3000";

struct World {
    browser: Browser,
    github: String,
    _google: ServerHandle,
}

impl World {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let issuer = format!("http://{address}");
        let google = example::google::imitation(&issuer, APP).unwrap();
        let google = google.listen(address).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let github = format!("http://{}", listener.local_addr().unwrap());
        let imitation = example::github::imitation(APP);
        tokio::spawn(axum::serve(listener, imitation).into_future());
        let application = example::application(
            APP,
            example::google::provider(&issuer).unwrap(),
            example::github::provider(&github).unwrap(),
        );
        let browser = Browser::new().with_origin(APP, application.unwrap());
        Self {
            browser: browser.unwrap(),
            github,
            _google: google,
        }
    }

    async fn open(&self, path: &str) -> Page {
        let page = self.browser.navigate(&format!("{APP}{path}")).await;
        page.unwrap()
    }

    /// Opens the account page, which needs a login, and chooses a provider.
    async fn choose(&self, provider: &str) -> Page {
        let chooser = self.open("/account").await;
        assert_eq!(chooser.status(), StatusCode::OK, "{}", chooser.text());
        for name in ["Google", "GitHub"] {
            let choice = format!("Sign in with {name}");
            assert!(chooser.text().contains(&choice), "{}", chooser.text());
        }
        let choice = format!("Sign in with {provider}");
        chooser.click(&choice).await.unwrap()
    }
}

/// Presses a button of the only form of a page.
async fn press(page: &Page, button: &str) -> Page {
    page.form("").unwrap().press(button).await.unwrap()
}

#[tokio::test]
async fn users_of_both_providers_sign_in_and_out() {
    let world = World::new().await;
    let page = world.choose("Google").await;
    let account = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(account.url(), format!("{APP}/account"));
    for part in [
        "google",
        "110169484474386276334",
        "Alice Liddell",
        "alice@example.com",
    ] {
        assert!(account.text().contains(part), "{part}: {}", account.text());
    }
    press(&account, "Sign out").await;

    // The same address at another provider is another user.
    let page = world.choose("GitHub").await;
    assert!(page.url().starts_with(&world.github), "{}", page.url());
    assert!(page.text().contains("read:user user:email"));
    let account = press(&page, "Continue as alice").await;
    assert_eq!(account.url(), format!("{APP}/account"));
    for part in [
        "github",
        "1001",
        "Alice Adams",
        "alice@example.com",
        &world.github,
    ] {
        assert!(account.text().contains(part), "{part}: {}", account.text());
    }
    press(&account, "Sign out").await;
    assert!(world.open("/").await.text().contains("Hello, stranger"));

    // An address that is not verified is not shown, and names are escaped.
    let page = world.choose("GitHub").await;
    let account = press(&page, "Continue as bob").await;
    assert!(
        account.text().contains("Bob <Builder>"),
        "{}",
        account.text()
    );
    assert!(
        !account.text().contains("bob@example.com"),
        "{}",
        account.text()
    );
}

#[tokio::test]
async fn a_login_that_was_canceled_at_github_ends_at_a_page() {
    let world = World::new().await;
    let page = world.choose("GitHub").await;
    let page = press(&page, "Cancel").await;
    assert_eq!(page.status(), StatusCode::FORBIDDEN, "{}", page.text());
    assert!(
        page.url()
            .starts_with(&format!("{APP}/auth/callback/github"))
    );
    assert!(world.open("/").await.text().contains("Hello, stranger"));
}
