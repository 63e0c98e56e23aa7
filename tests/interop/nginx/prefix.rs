//! A prefix of the path that nginx removes: `location /app/ { proxy_pass http://…/; }`.

use http::Request;

use super::Site;

#[tokio::test]
#[ignore = "needs nginx: tests/interop/run"]
async fn behind_a_removed_prefix_users_sign_in_and_out() {
    let site = Site::new("/app", "", "https://api.example").await;
    let page = site.sign_in().await;
    assert_eq!(page.text(), "account of alice");
    assert_eq!(page.url(), format!("{}/account", site.base));
    let session = Request::get("/app/auth/session").body("").unwrap();
    let session = page.fetch(session).await.unwrap();
    let session: serde_json::Value = serde_json::from_slice(session.body()).unwrap();
    assert_eq!(session["subject"], "alice");

    let home = site.open("/").await;
    let page = home.form("/app/auth/logout").unwrap().submit().await;
    let page = page.unwrap();
    assert_eq!(page.url(), format!("{}/", site.base));
    assert!(page.text().contains("signed out"), "{}", page.text());
    let form = site.open("/account").await;
    assert!(form.form("#sign-in").is_ok(), "{}", form.text());
}

/// Return targets are paths of the browser.
#[tokio::test]
#[ignore = "needs nginx: tests/interop/run"]
async fn behind_a_removed_prefix_return_targets_and_error_pages_stay_below_it() {
    let site = Site::new("/app", "", "https://api.example").await;
    let page = site.open("/auth/callback?code=abc&state=def").await;
    assert!(page.html().contains("/app/auth/login"), "{}", page.html());
    let target = "/auth/login?return_to=/app/account%3Fpage=2";
    let page = site.open(target).await.sign_in("alice", "wonderland").await;
    assert_eq!(page.unwrap().url(), format!("{}/account?page=2", site.base));
}
