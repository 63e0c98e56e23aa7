//! Sessions in cookies: by default nginx accepts 4 KiB of response header and 8 KiB for a field of the request.

use http::StatusCode;

use super::Site;

/// An audience of this length, which is in each access token and thereby in the session.
fn audience(bytes: usize) -> String {
    format!("https://api.example/{}", "a".repeat(bytes))
}

/// Signs in, loads pages and signs out. Returns the size of the session cookies.
async fn signs_in_and_out(site: &Site) -> usize {
    let page = site.sign_in().await;
    assert_eq!(page.text(), "account of alice");
    let cookies = site.browser.cookies(&site.base);
    let home = site.open("/").await;
    assert!(home.text().contains("alice"), "{}", home.text());
    let mut page = home.form("").unwrap().submit().await.unwrap();
    if !page.url().starts_with(&site.base) {
        // A session of more than 3 KiB has no ID token, so the authorization server asks.
        page = page.form("").unwrap().submit().await.unwrap();
    }
    assert_eq!(page.url(), format!("{}/", site.base));
    assert!(page.text().contains("signed out"), "{}", page.text());
    let session = cookies
        .iter()
        .filter(|cookie| cookie.name().contains("-session"));
    session
        .map(|cookie| cookie.name().len() + cookie.value().len())
        .sum()
}

#[tokio::test]
#[ignore = "needs nginx: tests/interop/run"]
async fn sessions_of_three_kilobytes_pass_the_default_buffers() {
    let mut sizes = Vec::new();
    for bytes in [0, 250, 500, 750, 1000] {
        let site = Site::new("", "", &audience(bytes)).await;
        sizes.push(signs_in_and_out(&site).await);
    }
    let largest = sizes.iter().max().unwrap();
    assert!((3000..3584).contains(largest), "{sizes:?}");
}

#[tokio::test]
#[ignore = "needs nginx: tests/interop/run"]
async fn larger_sessions_need_larger_buffers() {
    let directives = "proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_busy_buffers_size 32k;";
    let site = Site::new("", directives, &audience(1800)).await;
    assert!(signs_in_and_out(&site).await > 4096);
    let site = Site::new("", "", &audience(1800)).await;
    assert_eq!(site.sign_in().await.status(), StatusCode::BAD_GATEWAY);
}
