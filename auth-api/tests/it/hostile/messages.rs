//! Messages that differ from the issued challenge.

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

use crate::hostile::table::{LOGIN_REFUSED, Table, start};

/// A test case: its name, the message, and the reason for the rejection.
type Case = (&'static str, String, &'static str);

/// Returns messages that look the same to a person, but consist of other bytes.
fn other_encodings(message: &str) -> Vec<Case> {
    const BYTES: &str = "the message must match byte for byte";
    let first_space = |of: &str| message.replacen(' ', of, 1);
    vec![
        ("CRLF", message.replace('\n', "\r\n"), "text fields of browsers produce CRLF"),
        ("one CRLF", message.replacen('\n', "\r\n", 1), BYTES),
        ("CR", message.replace('\n', "\r"), BYTES),
        ("escaped newlines", message.replace('\n', "\\n"), BYTES),
        ("a trailing LF", format!("{message}\n"), "editors add a newline"),
        ("a trailing CRLF", format!("{message}\r\n"), BYTES),
        ("two trailing LF", format!("{message}\n\n"), BYTES),
        ("a leading LF", format!("\n{message}"), BYTES),
        ("a leading space", format!(" {message}"), BYTES),
        ("a trailing space", format!("{message} "), BYTES),
        ("a trailing NUL", format!("{message}\0"), "some parsers end the text there"),
        ("more after a NUL", format!("{message}\0 and more"), "some parsers end the text there"),
        ("a byte order mark", format!("\u{feff}{message}"), BYTES),
        ("a no-break space", first_space("\u{a0}"), BYTES),
        ("two spaces", first_space("  "), BYTES),
        ("a tab", first_space("\t"), BYTES),
        // The challenge is ASCII, so Unicode normalization does not change it, and a message that
        // is not ASCII never matches it.
        ("a precomposed accent (NFC)", message.replace("sign in", "sign \u{ed}n"), BYTES),
        ("the same accent, decomposed (NFD)", message.replace("sign in", "sign i\u{301}n"), BYTES),
        (
            "full-width digits (NFKC maps them to ASCII)",
            message.replace("Version: 1", "Version: \u{ff11}"),
            BYTES,
        ),
        (
            "a domain with a letter of another alphabet",
            message.replacen("auth", "аuth", 1),
            "the domain looks the same",
        ),
        ("lower case", message.to_lowercase(), BYTES),
        ("upper case", message.to_uppercase(), BYTES),
        (
            "in base64",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message),
            BYTES,
        ),
        ("as a JSON string", json!(message).to_string(), BYTES),
    ]
}

/// Returns challenges with changed content.
fn changed_content(message: &str, other: &str, stranger: &Wallet) -> Vec<Case> {
    const MAC: &str = "the nonce contains a MAC of the whole message";
    let value = |of: &'static str, name: &str| {
        let of = if of == "other" { other } else { message };
        of.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    };
    let (nonce, issued, expires) =
        (value("", "Nonce: "), value("", "Issued At: "), value("", "Expiration Time: "));
    let address = message.lines().nth(1).unwrap();
    let lines = |order: &[usize]| {
        let all: Vec<&str> = message.lines().collect();
        order.iter().map(|&at| all[at]).collect::<Vec<_>>().join("\n")
    };
    let swapped_nonces = message.replace(&nonce, &value("other", "Nonce: "));
    vec![
        ("the attacker's address", message.replace(address, stranger.address()), MAC),
        ("another domain", message.replacen("auth.example.test", "evil.example.test", 1), MAC),
        ("another URI", message.replace("URI: https://", "URI: http://"), MAC),
        ("another chain", message.replace("stellar:testnet", "stellar:pubnet"), MAC),
        ("another version", message.replace("Version: 1", "Version: 2"), MAC),
        ("another statement", message.replace("costs nothing", "costs all"), MAC),
        ("no statement", message.replace("Sign in. ", ""), MAC),
        ("a later expiration", message.replace(&expires, "2099-01-01T00:00:00Z"), MAC),
        ("an earlier issue time", message.replace(&issued, "2000-01-01T00:00:00Z"), MAC),
        (
            "an expiration in another format",
            message.replace(&expires, &expires.replace('Z', "+00:00")),
            MAC,
        ),
        (
            "a second expiration before",
            message.replace("\nExpiration", "\nExpiration Time: 2099-01-01T00:00:00Z\nExpiration"),
            MAC,
        ),
        (
            "a second expiration after",
            format!("{message}\nExpiration Time: 2099-01-01T00:00:00Z"),
            MAC,
        ),
        (
            "a second nonce before",
            message.replacen("\nNonce", &format!("\nNonce: {}\nNonce", "0".repeat(64)), 1),
            MAC,
        ),
        ("a second nonce after", format!("{message}\nNonce: {nonce}"), MAC),
        (
            "a nonce in the statement",
            message.replacen("Sign in.", &format!("Sign in.\nNonce: {nonce}"), 1),
            MAC,
        ),
        (
            "a nonce in upper case",
            message.replace(&nonce, &nonce.to_uppercase().replace('0', "A")),
            MAC,
        ),
        ("a nonce of zeros", message.replace(&nonce, &"0".repeat(64)), MAC),
        ("half a nonce", message.replace(&nonce, &nonce[..32]), MAC),
        ("a truncated nonce", message.replace(&nonce, &nonce[..63]), MAC),
        ("a longer nonce", message.replace(&nonce, &format!("{nonce}00")), MAC),
        ("no nonce", message.replace(&nonce, ""), MAC),
        ("the nonce of another challenge", swapped_nonces, MAC),
        (
            "another request id",
            format!("{}{}", &message[..message.len() - 1], u8::from(message.ends_with('0'))),
            MAC,
        ),
        ("resources", format!("{message}\nResources:\n- https://evil.example.test"), MAC),
        ("lines in another order", lines(&[0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 10, 11]), MAC),
        ("a line twice", lines(&[0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11]), MAC),
        ("a missing line", lines(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), MAC),
        ("truncated", message[..message.len() - 1].to_owned(), MAC),
        ("two challenges", format!("{message}\n{other}"), "only one challenge is accepted"),
        (
            "two challenges, the other first",
            format!("{other}\n{message}"),
            "only one challenge is accepted",
        ),
        (
            "more than a kilobyte",
            format!("{message}\n{}", "x".repeat(1024)),
            "the length is limited",
        ),
        ("nothing", String::new(), "not an issued challenge"),
        ("a nonce alone", format!("\nNonce: {nonce}"), "not an issued challenge"),
        (
            "another site's message",
            format!("evil.example.test wants you to sign in with your Stellar account:\n{address}"),
            "not an issued challenge",
        ),
    ]
}

#[tokio::test]
async fn altered_challenge_is_rejected_for_any_signer() {
    let database = Database::create().await;
    let api = start(&database).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let (message, other) = (api.challenge(&wallet).await, api.challenge(&wallet).await);
    let mut table = Table::default();
    let cases = [other_encodings(&message), changed_content(&message, &other, &stranger)].concat();
    for (name, changed, why) in cases {
        assert_ne!(changed, message, "{name}: nothing was changed");
        for (signed, submitted, signature) in [
            ("signed and submitted with the change", &changed, wallet.sign(&changed)),
            (
                "signed by another wallet and submitted with the change",
                &changed,
                stranger.sign(&changed),
            ),
            ("submitted with and signed without the change", &changed, wallet.sign(&message)),
            ("signed with and submitted without the change", &message, wallet.sign(&changed)),
        ] {
            let answer = api.submit(submitted, &signature).await;
            table.refused(&format!("{name}, {signed}"), why, LOGIN_REFUSED, &answer);
        }
    }
    table.end();
    check_no_login_so_far(&api, &database, &wallet, &message).await;
}

#[tokio::test]
async fn challenge_with_any_altered_byte_is_rejected() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let mut table = Table::default();
    for at in (0..message.len()).step_by(3) {
        let mut altered = message.clone().into_bytes();
        altered[at] ^= 1;
        let altered = String::from_utf8(altered).unwrap();
        let answer = api.submit(&altered, &wallet.sign(&altered)).await;
        table.refused(
            &format!("byte {at}"),
            "the nonce contains a MAC of the whole message",
            LOGIN_REFUSED,
            &answer,
        );
    }
    table.end();
    check_no_login_so_far(&api, &database, &wallet, &message).await;
}

/// Asserts that no login has succeeded, and that the challenge is still valid.
async fn check_no_login_so_far(api: &AuthApi, database: &Database, wallet: &Wallet, message: &str) {
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM consumed_challenges").await, 0);
    let _ = api.submit(message, &wallet.sign(message)).await.tokens();
}
