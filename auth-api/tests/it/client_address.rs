//! The client address of a session: the address of the peer, or the address that trusted proxies
//! forward.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

const PEER: &str = "127.0.0.1";

/// Logs in with these request headers. Returns the address of the session.
async fn address(api: &AuthApi, fields: &[(&str, &str)]) -> String {
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let login = json!({ "message": message, "signature": wallet.sign(&message) });
    let request = api.client.post(format!("{}/auth/login", api.url)).json(&login);
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let tokens = api.send(request).await.tokens();
    api.session(&tokens.access).await.body["session"]["ip"].as_str().unwrap().to_owned()
}

async fn expect(api: &AuthApi, cases: &[(&[(&str, &str)], &str)]) {
    for (fields, expected) in cases {
        assert_eq!(address(api, fields).await, *expected, "{fields:?}");
    }
}

#[tokio::test]
async fn headers_from_untrusted_peers_are_ignored() {
    let database = Database::create().await;
    for trusted in ["", "192.0.2.1, 2001:db8::/32"] {
        let api = AuthApi::start(&database, &[("TRUSTED_PROXIES", trusted)]).await;
        let claims: &[(&[(&str, &str)], &str)] = &[
            (&[], PEER),
            (&[("X-Forwarded-For", "203.0.113.7")], PEER),
            (&[("Forwarded", "for=203.0.113.7")], PEER),
            (&[("X-Real-IP", "203.0.113.7"), ("True-Client-IP", "203.0.113.7")], PEER),
        ];
        expect(&api, claims).await;
        let event = "untrusted_proxy";
        assert_eq!(api.program.log_events(event).len(), 1, "the event is logged once");
    }
}

#[tokio::test]
async fn client_is_the_first_untrusted_address_from_the_right() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")]).await;
    let chains = [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("198.51.100.1,203.0.113.7,10.1.2.3,10.9.9.9", "203.0.113.7"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.1.2.3", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711, 10.1.2.3:80", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        // If an entry is malformed, the address to its right counts. If there is none, the peer
        // counts.
        ("203.0.113.7, nonsense, 10.1.2.3", "10.1.2.3"),
        ("203.0.113.7, , 10.1.2.3", "10.1.2.3"),
        ("203.0.113.7 10.1.2.3", PEER),
        ("203.0.113.7,", PEER),
        ("localhost", PEER),
        ("203.0.113.256", PEER),
        ("", PEER),
    ];
    for (chain, expected) in chains {
        assert_eq!(address(&api, &[("X-Forwarded-For", chain)]).await, expected, "{chain}");
    }
    // Repeated header fields form one list.
    let split = [("X-Forwarded-For", "198.51.100.1, 203.0.113.7"), ("X-Forwarded-For", "10.1.2.3")];
    assert_eq!(address(&api, &split).await, "203.0.113.7");
}

#[tokio::test]
async fn forwarded_header_follows_rfc_7239() {
    let database = Database::create().await;
    let env =
        [("TRUSTED_PROXIES", "::ffff:127.0.0.0/104,10.0.0.0/8"), ("PROXY_HEADER", "forwarded")];
    let api = AuthApi::start(&database, &env).await;
    let chains = [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=203.0.113.7;proto=https;by=10.1.2.3", "203.0.113.7"),
        ("for=198.51.100.1, for=203.0.113.7;host=x, for=10.1.2.3", "203.0.113.7"),
        ("for=\"[2001:db8::7]:4711\", for=\"10.1.2.3:80\"", "2001:db8::7"),
        ("for=\"[2001:db8::7]\"", "2001:db8::7"),
        ("for=\"[::ffff:203.0.113.7]\"", "203.0.113.7"),
        // A quoted string that the client does not terminate does not hide the entry that the proxy
        // adds.
        ("for=\"198.51.100.1, for=203.0.113.7", "203.0.113.7"),
        // If an entry is hidden, missing or malformed, the address to its right counts. If there is
        // none, the peer counts.
        ("for=203.0.113.7, for=unknown, for=10.1.2.3", "10.1.2.3"),
        ("for=203.0.113.7, for=_gateway", PEER),
        ("for=203.0.113.7, proto=https", PEER),
        ("for=2001:db8::7", PEER),
        ("203.0.113.7", PEER),
    ];
    for (chain, expected) in chains {
        assert_eq!(address(&api, &[("Forwarded", chain)]).await, expected, "{chain}");
    }
}

/// The proxy writes one of the two headers, and forwards the other as the client sent it.
#[tokio::test]
async fn only_the_configured_proxy_header_is_read() {
    let database = Database::create().await;
    let (x, standard) = (("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=198.51.100.1"));
    for (header, written, address) in [
        ("", x, "203.0.113.7"),
        ("X-Forwarded-For", x, "203.0.113.7"),
        ("forwarded", standard, "198.51.100.1"),
    ] {
        let api = AuthApi::start(
            &database,
            &[("TRUSTED_PROXIES", "127.0.0.1"), ("PROXY_HEADER", header)],
        )
        .await;
        let other = if written == x { standard } else { x };
        let nonsense = (other.0, "x");
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[written, other], address),
            (&[written, nonsense], address),
            (&[other], PEER),
            (&[nonsense], PEER),
        ];
        expect(&api, cases).await;
        let warned = api.program.stderr().matches("\"other_proxy_header\"").count();
        assert_eq!(warned, 1, "the warning is logged once");
    }
}
