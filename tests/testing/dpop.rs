//! DPoP at the token endpoint and the userinfo endpoint of the test server (RFC 9449).

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::Algorithm;
use tower_oauth::testing::{DpopKey, Endpoint, TestClient, TestServer};

use crate::support::authorization_server::{
    CALLBACK, ISSUER, VERIFIER, authorize, browser, claims, document, error, json as body, query,
    server,
};

fn key(server: &TestServer) -> DpopKey {
    DpopKey::new(Algorithm::Es256).with_clock(server.clock())
}

fn proof(key: &DpopKey) -> String {
    key.proof("POST", &format!("{ISSUER}/token")).sign()
}

/// Returns a code of the public client `app`, for this `dpop_jkt` if there is one.
async fn code_for(server: &TestServer, thumbprint: &str) -> String {
    let url = authorize(&[("client_id", "app"), ("dpop_jkt", thumbprint)]);
    // An empty parameter is sent as it is.
    let url = match thumbprint {
        "" => url.replace("&dpop_jkt=", ""),
        _ => url,
    };
    let page = browser(server).navigate(&url).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    query(&page)["code"].clone()
}

async fn token_request(
    server: &TestServer,
    proof: Option<&str>,
    pairs: &[(&str, &str)],
) -> Response<Bytes> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", "app")])
        .extend_pairs(pairs)
        .finish();
    let mut request = Request::post(format!("{ISSUER}/token"))
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    let request = request.body(Bytes::from(form)).unwrap();
    server.back_channel().oneshot(request).await.unwrap()
}

async fn redeem(server: &TestServer, proof: Option<&str>, code: &str) -> Response<Bytes> {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    token_request(server, proof, &pairs).await
}

async fn refresh(server: &TestServer, proof: Option<&str>, token: &Value) -> Response<Bytes> {
    let token = token["refresh_token"].as_str().unwrap();
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token)];
    token_request(server, proof, &pairs).await
}

fn outcome(response: &Response<Bytes>) -> String {
    match response.status() {
        StatusCode::OK => "ok".to_owned(),
        _ => error(response),
    }
}

/// RFC 9449 §10.
#[tokio::test]
async fn a_code_is_redeemed_with_the_key_that_its_request_names() {
    let (named, other) = (key(&server()), key(&server()));
    for (name, thumbprint, used, expected) in [
        ("named", named.thumbprint(), Some(&named), "ok"),
        ("other", named.thumbprint(), Some(&other), "invalid_grant"),
        ("none", named.thumbprint(), None, "invalid_grant"),
        ("unnamed", String::new(), Some(&other), "ok"),
        ("bearer", String::new(), None, "ok"),
    ] {
        let server = server();
        let code = code_for(&server, &thumbprint).await;
        let sent = used.map(|key| proof(&key.clone().with_clock(server.clock())));
        let response = redeem(&server, sent.as_deref(), &code).await;
        assert_eq!(outcome(&response), expected, "{name}");
        if expected == "ok" {
            let tokens = body(&response);
            let cnf = claims(tokens["access_token"].as_str().unwrap())["cnf"].clone();
            let (token_type, bound) = match used {
                Some(key) => ("DPoP", json!({ "jkt": key.thumbprint() })),
                None => ("Bearer", Value::Null),
            };
            assert_eq!(tokens["token_type"], token_type, "{name}");
            assert_eq!(cnf, bound, "{name}");
        }
    }
}

/// RFC 9449 §4.3, §5.
#[tokio::test]
async fn an_invalid_proof_gets_no_token_and_leaves_the_code() {
    let server = server();
    let key = key(&server);
    let url = format!("{ISSUER}/token");
    let code = code_for(&server, &key.thumbprint()).await;
    for (name, sent) in [
        ("method", key.proof("GET", &url)),
        ("URL", key.proof("POST", &format!("{ISSUER}/userinfo"))),
        ("signature", key.proof("POST", &url).with_broken_signature()),
        ("key", key.proof("POST", &url).with_wrong_key()),
        ("no jti", key.proof("POST", &url).without_claim("jti")),
        ("old", key.proof("POST", &url).with_claim("iat", 1)),
        ("typ", key.proof("POST", &url).with_header("typ", "JWT")),
    ] {
        let response = redeem(&server, Some(&sent.sign()), &code).await;
        assert_eq!(outcome(&response), "invalid_dpop_proof", "{name}");
    }
    let sent = proof(&key);
    let tokens = body(&redeem(&server, Some(&sent), &code).await);
    let replayed = refresh(&server, Some(&sent), &tokens).await;
    assert_eq!(outcome(&replayed), "invalid_dpop_proof");
}

/// RFC 9449 §5: the refresh tokens of public clients are bound. §5.2: a client may have to use DPoP.
#[tokio::test]
async fn a_refresh_token_of_a_public_client_is_bound_to_its_key() {
    let server = server();
    let (bound, other) = (key(&server), key(&server));
    let code = code_for(&server, "").await;
    let tokens = body(&redeem(&server, Some(&proof(&bound)), &code).await);
    for (sent, expected) in [
        (Some(proof(&other)), "invalid_grant"),
        (None, "invalid_grant"),
        (Some(proof(&bound)), "ok"),
    ] {
        let response = refresh(&server, sent.as_deref(), &tokens).await;
        assert_eq!(outcome(&response), expected);
    }
    let client = TestClient::public("app")
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .with_required_dpop();
    let server = self::server().add_client(client);
    let code = code_for(&server, "").await;
    let response = redeem(&server, None, &code).await;
    assert_eq!(outcome(&response), "invalid_dpop_proof");
    let metadata = document(&server, "/.well-known/openid-configuration").await;
    let listed = &metadata["dpop_signing_alg_values_supported"];
    assert!(listed.as_array().unwrap().contains(&json!("ES256")));
}

async fn userinfo(server: &TestServer, authorization: &str, proof: &str) -> Response<Bytes> {
    let mut request =
        Request::get(format!("{ISSUER}/userinfo")).header("authorization", authorization);
    if !proof.is_empty() {
        request = request.header("dpop", proof);
    }
    let request = request.body(Bytes::new()).unwrap();
    server.back_channel().oneshot(request).await.unwrap()
}

/// RFC 9449 §7.
#[tokio::test]
async fn userinfo_accepts_a_token_with_the_scheme_and_the_key_that_it_is_bound_to() {
    let server = server();
    let (bound, other) = (key(&server), key(&server));
    let code = code_for(&server, "").await;
    let tokens = body(&redeem(&server, Some(&proof(&bound)), &code).await);
    let token = tokens["access_token"].as_str().unwrap();
    let code = code_for(&server, "").await;
    let bearer = body(&redeem(&server, None, &code).await);
    let bearer = bearer["access_token"].as_str().unwrap();
    let url = format!("{ISSUER}/userinfo");
    let by = |key: &DpopKey, token: &str| key.proof("GET", &url).with_access_token(token).sign();
    for (name, scheme, token, proof, status) in [
        ("bound", "DPoP", token, by(&bound, token), 200),
        ("case", "dpop", token, by(&bound, token), 200),
        ("as bearer", "Bearer", token, by(&bound, token), 401),
        ("no proof", "DPoP", token, String::new(), 401),
        ("other key", "DPoP", token, by(&other, token), 401),
        ("other token", "DPoP", token, by(&bound, bearer), 401),
        (
            "no ath",
            "DPoP",
            token,
            bound.proof("GET", &url).sign(),
            401,
        ),
        ("unbound", "DPoP", bearer, by(&bound, bearer), 401),
        ("bearer", "Bearer", bearer, String::new(), 200),
    ] {
        let response = userinfo(&server, &format!("{scheme} {token}"), &proof).await;
        assert_eq!(response.status().as_u16(), status, "{name}");
    }
}

/// RFC 9449 §8, §9: both endpoints have nonces of their own.
#[tokio::test]
async fn nonces_are_required_by_each_endpoint_for_itself() {
    let server = server().with_dpop_nonces();
    let key = key(&server);
    let nonce = |response: &Response<Bytes>| {
        let field = response.headers().get("dpop-nonce");
        field.map(|field| field.to_str().unwrap().to_owned())
    };
    let code = code_for(&server, "").await;
    let first = redeem(&server, Some(&proof(&key)), &code).await;
    assert_eq!(first.status(), StatusCode::BAD_REQUEST);
    assert_eq!(error(&first), "use_dpop_nonce");
    let at_token = nonce(&first).unwrap();
    let with_nonce = key.proof("POST", &format!("{ISSUER}/token"));
    let with_nonce = with_nonce.with_nonce(&at_token).sign();
    let tokens = redeem(&server, Some(&with_nonce), &code).await;
    assert_eq!((outcome(&tokens), nonce(&tokens)), ("ok".to_owned(), None));

    let tokens = body(&tokens);
    let token = tokens["access_token"].as_str().unwrap();
    let at_userinfo = |nonce: Option<&str>| {
        let proof = key.proof("GET", &format!("{ISSUER}/userinfo"));
        let proof = proof.with_access_token(token);
        match nonce {
            Some(nonce) => proof.with_nonce(nonce),
            None => proof,
        }
        .sign()
    };
    let authorization = format!("DPoP {token}");
    let refused = userinfo(&server, &authorization, &at_userinfo(Some(&at_token))).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = &refused.headers()["www-authenticate"];
    assert_eq!(challenge, "DPoP error=\"use_dpop_nonce\"");
    let own = nonce(&refused).unwrap();
    let accepted = userinfo(&server, &authorization, &at_userinfo(Some(&own))).await;
    assert_eq!((accepted.status().as_u16(), nonce(&accepted)), (200, None));
    // The response to the previous nonce has the next one.
    server.clock().advance(std::time::Duration::from_secs(120));
    let accepted = userinfo(&server, &authorization, &at_userinfo(Some(&own))).await;
    assert_eq!(accepted.status(), StatusCode::OK);
    assert_ne!(nonce(&accepted).unwrap(), own);
    assert_eq!(server.count(Endpoint::UserInfo), 3);
}
