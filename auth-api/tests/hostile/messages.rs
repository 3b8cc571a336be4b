//! Messages that are not the challenge that we made, to the byte.

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

use crate::table::{LOGIN_REFUSED, Table, start};

/// Name, the message, why it is refused.
type Case = (&'static str, String, &'static str);

/// The same text to a person, and other bytes.
fn written_otherwise(message: &str) -> Vec<Case> {
    const BYTES: &str = "the message comes back byte for byte";
    let blanks = |of: &str| message.replacen(' ', of, 1);
    vec![
        ("CRLF", message.replace('\n', "\r\n"), "what a text field of a browser makes of it"),
        ("one CRLF", message.replacen('\n', "\r\n", 1), BYTES),
        ("CR", message.replace('\n', "\r"), BYTES),
        ("escaped newlines", message.replace('\n', "\\n"), BYTES),
        ("a trailing LF", format!("{message}\n"), "what an editor adds"),
        ("a trailing CRLF", format!("{message}\r\n"), BYTES),
        ("two trailing LF", format!("{message}\n\n"), BYTES),
        ("a leading LF", format!("\n{message}"), BYTES),
        ("a leading blank", format!(" {message}"), BYTES),
        ("a trailing blank", format!("{message} "), BYTES),
        ("a trailing NUL", format!("{message}\0"), "some end a text there"),
        ("more after a NUL", format!("{message}\0 and more"), "some end a text there"),
        ("a byte order mark", format!("\u{feff}{message}"), BYTES),
        ("a blank that does not break", blanks("\u{a0}"), BYTES),
        ("two blanks", blanks("  "), BYTES),
        ("a tab", blanks("\t"), BYTES),
        // The challenge is ASCII, so no form of Unicode changes it; what is not ASCII is not ours
        // in any form.
        ("a precomposed accent (NFC)", message.replace("sign in", "sign \u{ed}n"), BYTES),
        ("the same accent, decomposed (NFD)", message.replace("sign in", "sign i\u{301}n"), BYTES),
        (
            "full-width digits (NFKC makes them ours)",
            message.replace("Version: 1", "Version: \u{ff11}"),
            BYTES,
        ),
        (
            "a domain with a letter of another alphabet",
            message.replacen("auth", "аuth", 1),
            "it looks the same",
        ),
        ("lower case", message.to_lowercase(), BYTES),
        ("upper case", message.to_uppercase(), BYTES),
        (
            "in base64",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, message),
            BYTES,
        ),
        ("as JSON in a text", json!(message).to_string(), BYTES),
    ]
}

/// A challenge that says something else than we did.
fn saying_otherwise(message: &str, other: &str, stranger: &Wallet) -> Vec<Case> {
    const MAC: &str = "the nonce holds a MAC over all of it";
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
        ("a later expiry", message.replace(&expires, "2099-01-01T00:00:00Z"), MAC),
        ("an earlier beginning", message.replace(&issued, "2000-01-01T00:00:00Z"), MAC),
        (
            "an expiry written otherwise",
            message.replace(&expires, &expires.replace('Z', "+00:00")),
            MAC,
        ),
        (
            "a second expiry before",
            message.replace("\nExpiration", "\nExpiration Time: 2099-01-01T00:00:00Z\nExpiration"),
            MAC,
        ),
        ("a second expiry after", format!("{message}\nExpiration Time: 2099-01-01T00:00:00Z"), MAC),
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
        ("a nonce cut short", message.replace(&nonce, &nonce[..63]), MAC),
        ("a nonce with more", message.replace(&nonce, &format!("{nonce}00")), MAC),
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
        ("a line less", lines(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), MAC),
        ("cut short", message[..message.len() - 1].to_owned(), MAC),
        ("two challenges", format!("{message}\n{other}"), "one is answered at a time"),
        (
            "two challenges, the other first",
            format!("{other}\n{message}"),
            "one is answered at a time",
        ),
        (
            "more than a kilobyte",
            format!("{message}\n{}", "x".repeat(1024)),
            "no wallet's screen is that large",
        ),
        ("nothing", String::new(), "not ours"),
        ("a nonce alone", format!("\nNonce: {nonce}"), "not ours"),
        (
            "another site's message",
            format!("evil.example.test wants you to sign in with your Stellar account:\n{address}"),
            "not ours",
        ),
    ]
}

#[tokio::test]
async fn a_message_that_is_not_ours_to_the_byte_is_refused_whoever_signed_it() {
    let database = Database::create().await;
    let api = start(&database).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let (message, other) = (api.challenge(&wallet).await, api.challenge(&wallet).await);
    let mut table = Table::default();
    let cases =
        [written_otherwise(&message), saying_otherwise(&message, &other, &stranger)].concat();
    for (name, changed, why) in cases {
        assert_ne!(changed, message, "{name}: nothing was changed");
        for (signed, submitted, signature) in [
            ("signed and submitted so", &changed, wallet.sign(&changed)),
            ("signed so by another, and submitted", &changed, stranger.sign(&changed)),
            ("submitted so, signed as it was", &changed, wallet.sign(&message)),
            ("signed so, submitted as it was", &message, wallet.sign(&changed)),
        ] {
            let answer = api.submit(submitted, &signature).await;
            table.refused(&format!("{name}, {signed}"), why, LOGIN_REFUSED, &answer);
        }
    }
    table.end();
    nobody_logged_in_until_now(&api, &database, &wallet, &message).await;
}

#[tokio::test]
async fn a_challenge_altered_in_any_byte_is_refused() {
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
            "the nonce holds a MAC over all of it",
            LOGIN_REFUSED,
            &answer,
        );
    }
    table.end();
    nobody_logged_in_until_now(&api, &database, &wallet, &message).await;
}

/// And the challenge is as good as it was.
async fn nobody_logged_in_until_now(
    api: &AuthApi,
    database: &Database,
    wallet: &Wallet,
    message: &str,
) {
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM consumed_challenges").await, 0);
    let _ = api.submit(message, &wallet.sign(message)).await.tokens();
}
