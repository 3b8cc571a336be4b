//! Addresses that do not identify a wallet that can log in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stellar_strkey::ed25519::{MuxedAccount, PrivateKey, PublicKey, SignedPayload};
use stellar_strkey::{ClaimableBalance, Contract, HashX, LiquidityPool, MuxedContract, PreAuthTx};
use testkit::{Database, Wallet, vectors};

use crate::hostile::table::{INVALID_ADDRESS, Table, start};

/// A test case: its name, the address, and the reason for the rejection.
type Case = (String, String, &'static str);

/// Returns every other kind of strkey (SEP-23), for a key that can log in with its `G…` address.
fn other_kinds(key: [u8; 32]) -> Vec<Case> {
    let payload = SignedPayload::new(key, &[7; 32]).unwrap();
    let kinds: [(&str, String, &str); 9] = [
        (
            "M",
            MuxedAccount { ed25519: key, id: 7 }.to_string().as_str().into(),
            "several users share one wallet",
        ),
        (
            "S",
            PrivateKey(key).as_unredacted().to_string().as_str().into(),
            "a secret key, which must not be sent",
        ),
        ("T", PreAuthTx(key).to_string().as_str().into(), "the hash of a transaction"),
        ("X", HashX(key).to_string().as_str().into(), "the hash of a secret"),
        ("P", payload.to_string().as_str().into(), "a key and one payload"),
        ("C", Contract(key).to_string().as_str().into(), "a contract, which has no key"),
        (
            "W",
            MuxedContract { contract_id: key, id: 7 }.to_string().as_str().into(),
            "a contract, which has no key",
        ),
        ("L", LiquidityPool(key).to_string().as_str().into(), "a liquidity pool"),
        ("B", ClaimableBalance::V0(key).to_string().as_str().into(), "a claimable balance"),
    ];
    kinds
        .into_iter()
        .inspect(|(kind, address, _)| assert!(address.starts_with(kind), "{kind}: {address}"))
        .map(|(kind, address, why)| (format!("a strkey of kind {kind}"), address, why))
        .collect()
}

/// Returns other notations of a valid address.
fn spellings(good: &str, key: [u8; 32]) -> Vec<Case> {
    const ONE_WAY: &str = "an address has exactly one spelling and one user";
    const LOOKS: &str = "the address looks the same, but is different";
    const CHECKSUM: &str = "the checksum is wrong: a typo must not become another user";
    let flipped = |at: usize| {
        let other = if &good[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &good[..at], &good[at + 1..])
    };
    let mut swapped = good.to_owned();
    let at = (1..54).find(|&at| good[at..=at] != good[at + 1..=at + 1]).unwrap();
    swapped.replace_range(at..at + 2, &format!("{}{}", &good[at + 1..=at + 1], &good[at..=at]));
    let mut cases = vec![
        ("nothing", String::new(), ONE_WAY),
        ("one letter", "G".into(), ONE_WAY),
        ("lower case", good.to_lowercase(), ONE_WAY),
        ("lower case except the first letter", format!("G{}", good[1..].to_lowercase()), ONE_WAY),
        ("a leading space", format!(" {good}"), ONE_WAY),
        ("a trailing space", format!("{good} "), ONE_WAY),
        ("a space inside", format!("{} {}", &good[..28], &good[28..]), ONE_WAY),
        ("a trailing newline", format!("{good}\n"), ONE_WAY),
        ("a trailing CRLF", format!("{good}\r\n"), ONE_WAY),
        ("a trailing tab", format!("{good}\t"), ONE_WAY),
        ("a trailing NUL", format!("{good}\0"), ONE_WAY),
        ("a leading byte order mark", format!("\u{feff}{good}"), ONE_WAY),
        ("a zero-width space inside", format!("{}\u{200b}{}", &good[..28], &good[28..]), LOOKS),
        ("a right-to-left override", format!("\u{202e}{good}"), LOOKS),
        ("a combining mark", format!("{good}\u{301}"), LOOKS),
        ("a full-width G", good.replacen('G', "\u{ff27}", 1), LOOKS),
        (
            "full-width letters",
            good.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect(),
            LOOKS,
        ),
        ("a 0 for an O", format!("{}0", &good[..55]), LOOKS),
        ("a 1 for an I", format!("{}1", &good[..55]), LOOKS),
        ("an 8 for a B", format!("{}8", &good[..55]), LOOKS),
        ("a wrong last letter", flipped(55), CHECKSUM),
        ("a wrong letter in the middle", flipped(30), CHECKSUM),
        ("a wrong second letter", flipped(1), CHECKSUM),
        ("two letters swapped", swapped, CHECKSUM),
        ("a letter too few", good[..55].into(), ONE_WAY),
        ("a letter too many", format!("{good}A"), ONE_WAY),
        ("padding", format!("{good}===="), ONE_WAY),
        ("twice", good.repeat(2), ONE_WAY),
        ("CAIP-10", format!("stellar:testnet:{good}"), ONE_WAY),
        ("a federated address", "name*example.test".into(), "federated addresses are not resolved"),
        ("the key in hex", hex::encode(key), ONE_WAY),
        ("the key in base64", STANDARD.encode(key), ONE_WAY),
        ("16,000 letters", "G".repeat(16_000), ONE_WAY),
    ];
    // These letters of a strkey have a look-alike in another alphabet.
    for (latin, twin) in [
        ('A', 'А'),
        ('B', 'В'),
        ('C', 'С'),
        ('E', 'Е'),
        ('H', 'Н'),
        ('K', 'К'),
        ('M', 'М'),
        ('O', 'Ο'),
    ] {
        if good.contains(latin) {
            cases.push((
                "a letter of another alphabet",
                good.replacen(latin, &twin.to_string(), 1),
                LOOKS,
            ));
        }
    }
    cases.into_iter().map(|(name, address, why)| (name.to_owned(), address, why)).collect()
}

/// Returns well-formed strkeys of 32 bytes that must not log in.
fn bad_keys() -> Vec<Case> {
    const WEAK: &str = "a key of small order: some signatures are valid for every message";
    const TWICE: &str = "a second encoding of a point: two users could share one key";
    const OFF: &str = "not a point on the curve";
    let bytes = |hex: &str| <[u8; 32]>::try_from(hex::decode(hex).unwrap()).unwrap();
    let mut cases: Vec<(String, [u8; 32], &'static str)> = Vec::new();
    // The eight points of small order on the curve of RFC 8032, and other encodings of them.
    for small in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        let key = bytes(small);
        // Checks the list itself.
        assert!(
            ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok_and(|key| key.is_weak()),
            "{small}"
        );
        cases.push((format!("the weak key {small}"), key, WEAK));
    }
    // Values of y from p = 2^255 - 19 on, with either sign. Each such point that is on the curve
    // also has a canonical encoding.
    for above in 0..19 {
        for sign in [0x7f, 0xff] {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (0xed + above, sign);
            cases.push((format!("the key of y = p + {above}, sign {}", sign >> 7), key, TWICE));
        }
    }
    for y in 2..40 {
        let mut key = [0; 32];
        key[0] = y;
        if ed25519_dalek::VerifyingKey::from_bytes(&key).is_err() {
            cases.push((format!("the key of y = {y}"), key, OFF));
        }
    }
    assert!(
        cases.iter().filter(|(.., why)| *why == OFF).count() > 10,
        "about half of all y are not on the curve"
    );
    cases
        .into_iter()
        .map(|(name, key, why)| (name, PublicKey(key).to_string().as_str().into(), why))
        .collect()
}

#[tokio::test]
async fn invalid_wallet_addresses_are_rejected() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let PublicKey(key) = PublicKey::from_string(wallet.address()).unwrap();
    let vectors = vectors::strkey();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let invalid = vectors["invalid"].as_array().unwrap().iter().map(|address| {
        (format!("SEP-23's {address}"), text(address), "SEP-23 requires a rejection")
    });
    let no_login = vectors["valid_but_not_a_login"].as_array().unwrap().iter().map(|entry| {
        (
            format!("the vector {}", entry["why"]),
            text(&entry["address"]),
            "a strkey that cannot log in",
        )
    });
    let made = [other_kinds(key), spellings(wallet.address(), key), bad_keys()].concat();

    let mut table = Table::default();
    for (name, address, why) in invalid.chain(no_login).chain(made) {
        let answer = api.post("/auth/challenge", &json!({ "address": address })).await;
        table.refused(&name, why, INVALID_ADDRESS, &answer);
        table.holds(&name, "the field address", answer.body["field"] == "address", &answer.body);
    }
    table.end();
    let _ = api.login(&wallet).await;
}
