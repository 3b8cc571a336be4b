//! Introspection, revocation, and the settings of the client.

use auth_client::{AuthClient, Error, TokenUse};
use serde_json::json;
use testkit::{AuthApi, Database, Receiver, Service, Wallet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::stage::client_of;

async fn set(database: &Database) -> (AuthApi, Service, AuthClient) {
    let service = Service::add().await;
    let api = AuthApi::start(database, &[service.env()]).await;
    let client =
        client_of(&api.url).credentials(service.id, service.secret.as_str()).build().unwrap();
    (api, service, client)
}

#[tokio::test]
async fn only_access_tokens_are_accepted_as_access_tokens() {
    let database = Database::create().await;
    let (api, _, client) = set(&database).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let cookie = api.cookie_login(&wallet).await;
    let cookie = cookie.split_once('=').unwrap().1;

    let said = client.introspect_access(&tokens.access).await.unwrap();
    let verified = client.verify(&tokens.access).await.unwrap();
    assert_eq!(said.token_use, TokenUse::AccessToken);
    assert_eq!((said.account_id, said.session_id), (verified.account_id, verified.session_id));
    assert_eq!((&*said.wallet, said.expires_at), (wallet.address(), verified.expires_at));

    for (credential, token_use) in
        [(&*tokens.refresh, TokenUse::RefreshToken), (cookie, TokenUse::SessionToken)]
    {
        let said = client.introspect(credential).await.unwrap().unwrap();
        assert_eq!((said.token_use, said.account_id), (token_use, verified.account_id));
        let answer = client.introspect_access(credential).await;
        assert!(matches!(answer, Err(Error::Inactive)), "{token_use:?}: {answer:?}");
    }
    let answer = client.introspect_access_or_cookie(&tokens.refresh).await;
    assert!(matches!(answer, Err(Error::Inactive)), "{answer:?}");
    assert_eq!(
        client.introspect_access_or_cookie(&tokens.access).await.unwrap().session_id,
        verified.session_id
    );
    assert_eq!(client.introspect_access_or_cookie(cookie).await.unwrap().wallet, wallet.address());
    for nothing in ["", "garbage"] {
        let answer = client.introspect_access_or_cookie(nothing).await;
        assert!(
            matches!(answer, Err(Error::Inactive | Error::Unavailable(_))),
            "{nothing:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn revoked_credentials_are_inactive_immediately() {
    let database = Database::create().await;
    let (api, _, client) = set(&database).await;
    let tokens = api.login(&Wallet::generate()).await;
    client.introspect_access(&tokens.access).await.unwrap();
    client.revoke(&tokens.refresh).await.unwrap();
    assert_eq!(client.introspect(&tokens.access).await.unwrap(), None);
    assert_eq!(client.introspect(&tokens.refresh).await.unwrap(), None);
    // Revoking again, or revoking an unknown token, is not an error (RFC 7009 §2.2).
    client.revoke(&tokens.refresh).await.unwrap();
    client.revoke("garbage").await.unwrap();
}

#[tokio::test]
async fn introspection_requires_valid_client_credentials() {
    let database = Database::create().await;
    let (api, service, _) = set(&database).await;
    let token = api.login(&Wallet::generate()).await.access;
    let nobody = client_of(&api.url).build().unwrap();
    assert!(matches!(nobody.introspect(&token).await, Err(Error::NoCredentials)));
    for (id, secret) in [(service.id, "wrong"), ("nobody", &*service.secret)] {
        let stranger = client_of(&api.url).credentials(id, secret).build().unwrap();
        assert!(matches!(stranger.introspect(&token).await, Err(Error::CredentialsRefused)));
        assert!(matches!(stranger.revoke(&token).await, Err(Error::CredentialsRefused)));
    }
    assert_eq!(api.session(&token).await.status, 200);
}

#[tokio::test]
async fn invalid_introspection_response_is_an_error() {
    let answers =
        ["", "<html>", "{}", r#"{"active":"true"}"#, r#"{"active":true}"#, r#"[{"active":true}]"#];
    for answer in answers {
        let server = Receiver::answering(&[(200, answer)]).await;
        let client = client_of(&format!("http://{}", server.address()))
            .credentials("a", "b")
            .build()
            .unwrap();
        let answer = client.introspect("x").await;
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
}

/// Starts a server that redirects all requests to another one, and returns its URL.
async fn leading_to(other: &Receiver) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let location = format!("http://{}/", other.address());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!(
                "HTTP/1.1 307 -\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Receiver::answering(&[(200, r#"{"active":false}"#)]).await;
    let client = client_of(&leading_to(&other).await).credentials("a", "b").build().unwrap();
    let answer = client.introspect("x").await;
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    let token = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AA";
    let answer = client.verify(token).await;
    assert!(matches!(answer, Err(Error::KeysUnavailable(_))), "{answer:?}");
    assert_eq!(other.received().len(), 0);
}

#[tokio::test]
async fn active_token_for_another_audience_is_rejected() {
    let mut said = json!({
        "active": true, "token_use": "access_token", "wallet": "G", "exp": 4_000_000_000_u32,
        "sub": "01900000-0000-7000-8000-000000000000", "sid": "01900000-0000-7000-8000-000000000001",
        "iss": AuthApi::PUBLIC_URL, "aud": AuthApi::PUBLIC_URL,
    });
    let mut answers = vec![said.to_string()];
    said["aud"] = "https://elsewhere.test".into();
    answers.push(said.to_string());
    said.as_object_mut().unwrap().remove("aud");
    answers.push(said.to_string());
    (said["aud"], said["iss"]) = (AuthApi::PUBLIC_URL.into(), "https://elsewhere.test".into());
    answers.push(said.to_string());
    let answers: Vec<(u16, &str)> = answers.iter().map(|answer| (200, answer.as_str())).collect();
    let server = Receiver::answering(&answers).await;
    let client = client_of(&format!("http://{}", server.address()))
        .credentials("a b", "c:d")
        .build()
        .unwrap();
    client.introspect_access("x y").await.unwrap();
    for _ in 0..2 {
        assert!(matches!(client.introspect_access("x").await, Err(Error::OtherAudience)));
    }
    assert!(matches!(client.introspect_access("x").await, Err(Error::OtherIssuer)));
    // The body is a form, and the name and the secret are form-encoded (RFC 6749 §2.3.1).
    let request = &server.received()[0];
    assert_eq!(
        (&*request.method, &*request.path, &*request.text()),
        ("POST", "/oauth/introspect", "token=x+y")
    );
    assert_eq!(request.header("authorization"), Some("Basic YStiOmMlM0Fk"));
}

#[test]
fn invalid_settings_are_rejected() {
    let wrong = |builder: auth_client::Builder| match builder.build() {
        Err(Error::Setting { setting, .. }) => setting,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("accepted"),
    };
    for url in [
        "",
        "auth.example.com",
        "ftp://auth.example.com",
        "https://a:b@auth.example.com",
        "https://a.test/?b",
    ] {
        assert_eq!(wrong(AuthClient::builder(url)), "url", "{url}");
    }
    // Without TLS, an attacker on the network could forge keys. A request to this machine does not
    // cross a network.
    for url in [
        "http://auth.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://[fd00::1]",
    ] {
        assert_eq!(wrong(AuthClient::builder(url)), "url", "{url}");
    }
    for url in
        ["http://localhost:8080", "http://auth.localhost", "http://127.8.0.1", "http://[::1]:8080"]
    {
        AuthClient::builder(url).build().unwrap();
    }
    let minutes = std::time::Duration::from_mins(2);
    assert_eq!(wrong(AuthClient::builder("https://auth.example.com").leeway(minutes)), "leeway");
    for prefix in ["", "{}", "a}b"] {
        assert!(matches!(
            auth_client::Denylist::new("redis://localhost", prefix),
            Err(Error::Setting { .. })
        ));
    }
    // A path is allowed.
    AuthClient::builder("https://example.com/auth/").build().unwrap();
}
