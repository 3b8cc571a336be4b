//! Refresh tokens that differ from the issued one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use testkit::{Database, Wallet};

use crate::hostile::table::{REFRESH_REFUSED, Table, start};

/// A test case: its name, the token, and the reason for the rejection.
type Case = (String, String, &'static str);

fn cases(token: &str, access: &str) -> Vec<Case> {
    const ONE_WAY: &str = "a token has exactly one encoding";
    const TAG: &str = "the tag covers all preceding bytes";
    let encoded = token.strip_prefix("rt_").unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap();
    let of = |bytes: &[u8]| format!("rt_{}", URL_SAFE_NO_PAD.encode(bytes));
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        of(&bytes)
    };
    let last = encoded.len() - 1;
    let spare_bit = format!("rt_{}{}", &encoded[..last], char::from(encoded.as_bytes()[last] + 1));
    let mut cases: Vec<(&str, String, &'static str)> = vec![
        ("nothing", String::new(), ONE_WAY),
        ("only the prefix", "rt_".into(), ONE_WAY),
        ("forged", "rt_forged".into(), TAG),
        ("no prefix", encoded.into(), ONE_WAY),
        ("a prefix in capitals", format!("RT_{encoded}"), ONE_WAY),
        ("the prefix of a cookie", format!("ses_{encoded}"), "another kind of credential"),
        ("two prefixes", format!("rt_{token}"), ONE_WAY),
        ("with padding", format!("rt_{encoded}="), ONE_WAY),
        ("padded as base64 would be", format!("rt_{}", URL_SAFE.encode(&bytes)) + "=", ONE_WAY),
        (
            "in the standard alphabet",
            format!("rt_{}/+", &STANDARD_NO_PAD.encode(&bytes)[..encoded.len() - 2]),
            ONE_WAY,
        ),
        ("in base64 twice", STANDARD.encode(token), ONE_WAY),
        ("in hex", format!("rt_{}", hex::encode(&bytes)), ONE_WAY),
        ("with a spare bit set", spare_bit, ONE_WAY),
        ("a trailing newline", format!("{token}\n"), ONE_WAY),
        ("a leading space", format!(" {token}"), ONE_WAY),
        ("a trailing NUL", format!("{token}\0"), ONE_WAY),
        ("truncated", token[..token.len() - 1].into(), ONE_WAY),
        ("one byte too many", of(&[&bytes[..], &[0]].concat()), ONE_WAY),
        ("without its tag", of(&bytes[..bytes.len() - 16]), TAG),
        ("with a tag of zeros", of(&[&bytes[..bytes.len() - 16], &[0; 16]].concat()), TAG),
        ("of another session", flipped(0), TAG),
        ("of the next generation", flipped(19), TAG),
        ("of a generation far ahead", flipped(16), TAG),
        ("with another secret", flipped(20), TAG),
        ("with another tag", flipped(bytes.len() - 1), TAG),
        ("of zeros", of(&vec![0; bytes.len()]), TAG),
        ("an access token", access.into(), "another kind of credential"),
        ("16,000 letters", "a".repeat(16_000), ONE_WAY),
    ];
    cases.retain(|(_, changed, _)| changed != token);
    cases.into_iter().map(|(name, token, why)| (name.to_owned(), token, why)).collect()
}

#[tokio::test]
async fn altered_refresh_token_is_rejected_and_ends_nothing() {
    let database = Database::create().await;
    let api = start(&database).await;
    let tokens = api.login(&Wallet::generate()).await;
    let mut table = Table::default();
    for (name, token, why) in cases(&tokens.refresh, &tokens.access) {
        table.refused(&name, why, REFRESH_REFUSED, &api.refresh(&token).await);
    }
    table.end();
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await,
        1
    );
    let _ = api.refresh(&tokens.refresh).await.tokens();
}
