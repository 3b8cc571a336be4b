//! Signatures that are not the one signature of the wallet over the challenge, as SEP-53 has it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::{Answer, AuthApi, Database, Wallet, vectors};

use crate::table::{LOGIN_REFUSED, MALFORMED, Table, start};

/// Name, the value of `signature`, why it is refused.
type Case = (&'static str, Value, &'static str);

async fn submit(api: &AuthApi, message: &str, signature: &Value) -> Answer {
    api.post("/auth/login", &json!({ "message": message, "signature": signature })).await
}

fn bytes_of(signature: &str) -> [u8; 64] {
    STANDARD.decode(signature).unwrap().try_into().unwrap()
}

/// A challenge whose signature has both characters in which the two alphabets of base64 differ.
async fn telling_challenge(api: &AuthApi, wallet: &Wallet) -> String {
    loop {
        let message = api.challenge(wallet).await;
        let signature = wallet.sign(&message);
        if signature.contains('+') && signature.contains('/') {
            return message;
        }
    }
}

/// What is not 64 bytes in padded base64 or hex.
fn malformed(good: &str) -> Vec<Case> {
    const BASE64: &str = "88 characters, padded, of the standard alphabet";
    const HEX: &str = "128 digits";
    const ONE_WAY: &str = "one signature, one way to write it";
    const TYPE: &str = "a text";
    let bytes = bytes_of(good);
    let hex = hex::encode(bytes);
    let zeros = |count: usize| STANDARD.encode(vec![0; count]);
    // 64 bytes leave four spare bits in the last character: with one of them set it decodes to the
    // same for the lenient.
    let last = good.as_bytes()[85];
    let spare_bit = format!("{}{}==", &good[..85], char::from(last + 1));
    vec![
        ("empty", json!(""), BASE64),
        ("unpadded", json!(STANDARD_NO_PAD.encode(bytes)), BASE64),
        ("half padded", json!(good[..87]), BASE64),
        ("padded too much", json!(format!("{good}=")), BASE64),
        ("of the url-safe alphabet", json!(URL_SAFE.encode(bytes)), BASE64),
        ("with a newline", json!(format!("{good}\n")), ONE_WAY),
        ("with CRLF", json!(format!("{good}\r\n")), ONE_WAY),
        (
            "unpadded, two newlines instead",
            json!(format!("{}\n\n", STANDARD_NO_PAD.encode(bytes))),
            ONE_WAY,
        ),
        ("in lines of 76", json!(format!("{}\n{}", &good[..76], &good[76..])), ONE_WAY),
        ("a blank before", json!(format!(" {good}")), ONE_WAY),
        ("a blank for a character", json!(format!(" {}", &good[1..])), ONE_WAY),
        ("blanks for plus signs", json!(good.replace('+', " ")), "what a form makes of them"),
        ("percent-encoded", json!(good.replace('=', "%3D")), ONE_WAY),
        ("a NUL after", json!(format!("{good}\0")), ONE_WAY),
        ("with a spare bit set", json!(spare_bit), ONE_WAY),
        ("hex with 0x", json!(format!("0x{hex}")), HEX),
        ("hex with 0x, of 128 characters", json!(format!("0x{}", &hex[2..])), HEX),
        ("odd hex", json!(hex[1..]), HEX),
        ("hex of 63 bytes", json!(hex[2..]), HEX),
        ("hex of 65 bytes", json!(format!("{hex}00")), HEX),
        ("hex with another letter", json!(format!("g{}", &hex[1..])), HEX),
        (
            "hex with colons",
            json!(
                hex.as_bytes()
                    .chunks(2)
                    .map(|b| str::from_utf8(b).unwrap())
                    .collect::<Vec<_>>()
                    .join(":")
            ),
            HEX,
        ),
        ("128 digits of another script", json!("٠".repeat(128)), HEX),
        ("128 bytes that are 64 characters", json!("٠".repeat(64)), HEX),
        ("88 bytes that are 44 characters", json!("é".repeat(44)), BASE64),
        ("base64 of 63 bytes", json!(zeros(63)), "a signature is 64 bytes"),
        (
            "base64 of 65 bytes",
            json!(zeros(65)),
            "a signature is 64 bytes, and 88 characters can hold one more",
        ),
        (
            "base64 of 66 bytes",
            json!(zeros(66)),
            "a signature is 64 bytes, and 88 characters can hold two more",
        ),
        (
            "with a recovery byte",
            json!(STANDARD.encode([&bytes[..], &[27]].concat())),
            "that is another curve's",
        ),
        ("base64 of the base64", json!(STANDARD.encode(good)), ONE_WAY),
        ("base64 of the hex", json!(STANDARD.encode(&hex)), ONE_WAY),
        ("in quotes", json!(format!("\"{good}\"")), ONE_WAY),
        ("null", Value::Null, TYPE),
        ("a number", json!(0), TYPE),
        ("true", json!(true), TYPE),
        ("an array of bytes", json!(bytes.to_vec()), TYPE),
        ("an array of one", json!([good]), TYPE),
        (
            "Freighter's buffer",
            json!({ "type": "Buffer", "data": bytes.to_vec() }),
            "as old versions sent it: a text is wanted",
        ),
        ("an object", json!({ "signedMessage": good }), TYPE),
    ]
}

fn changed(good: &str, change: impl FnOnce(&mut [u8; 64])) -> Value {
    let mut bytes = bytes_of(good);
    change(&mut bytes);
    json!(STANDARD.encode(bytes))
}

/// `S + times · L`, little endian: the same signature to a verifier that does not insist on a
/// reduced S.
fn add_order(bytes: &mut [u8; 64], times: usize) {
    /// RFC 8032 §5.1: the order of the base point.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    for _ in 0..times {
        let mut carry = 0;
        for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
    }
}

/// 64 bytes, well written, that are not this wallet's signature.
fn altered(message: &str, good: &str) -> Vec<Case> {
    const MALLEATED: &str =
        "S is reduced (RFC 8032 §5.1.7): there is one signature, and not its twins";
    const NEVER: &str = "this wallet did not make it";
    let other = Wallet::generate();
    vec![
        ("by another key", json!(other.sign(message)), NEVER),
        ("by another key, in hex", json!(other.sign_hex(message)), NEVER),
        ("with a bit of R flipped", changed(good, |bytes| bytes[0] ^= 1), NEVER),
        ("with the sign of R flipped", changed(good, |bytes| bytes[31] ^= 0x80), NEVER),
        ("with a bit of S flipped", changed(good, |bytes| bytes[32] ^= 1), NEVER),
        ("with the top bit of S set", changed(good, |bytes| bytes[63] |= 0x80), MALLEATED),
        ("with S + L", changed(good, |bytes| add_order(bytes, 1)), MALLEATED),
        ("with S + 2L", changed(good, |bytes| add_order(bytes, 2)), MALLEATED),
        ("with S + 15L", changed(good, |bytes| add_order(bytes, 15)), MALLEATED),
        ("with R and S swapped", changed(good, |bytes| bytes.rotate_left(32)), NEVER),
        ("reversed", changed(good, |bytes| bytes.reverse()), "not little endian"),
        ("of zeros", json!(STANDARD.encode([0; 64])), "R is of small order"),
        ("of ones", json!(STANDARD.encode([0xff; 64])), MALLEATED),
        (
            "for every message, if the key were weak",
            changed(good, |bytes| {
                *bytes = [0; 64];
                bytes[0] = 1;
            }),
            "R is the identity",
        ),
    ]
}

/// The wallet's own signatures, over something else than SHA-256("Stellar Signed Message:\n" ‖
/// message).
fn of_other_preimages(wallet: &Wallet, message: &str) -> Vec<Case> {
    const PREFIX: &str =
        "the prefix is what keeps a message from being anything else that is signed";
    let sha = |parts: &[&[u8]]| -> Vec<u8> {
        parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().to_vec()
    };
    let raw = |bytes: Vec<u8>| json!(wallet.sign_raw(bytes));
    let (text, prefix) = (message.as_bytes(), &b"Stellar Signed Message:\n"[..]);
    let (address, length) = (wallet.address(), message.len());
    let ethereum = format!("\x19Ethereum Signed Message:\n{length}{message}");
    vec![
        ("over the raw message", raw(text.to_vec()), "as Freighter did before it had SEP-53"),
        ("over its SHA-256", raw(sha(&[text])), PREFIX),
        (
            "over the prefix and the message, not hashed",
            raw([prefix, text].concat()),
            "SHA-256 is signed",
        ),
        (
            "over the hash, hashed again",
            raw(sha(&[&sha(&[prefix, text])])),
            "SHA-256 is applied once",
        ),
        (
            "over the hash in hex",
            raw(hex::encode(sha(&[prefix, text])).into_bytes()),
            "its bytes are signed",
        ),
        (
            "without the newline of the prefix",
            raw(sha(&[b"Stellar Signed Message:", text])),
            PREFIX,
        ),
        ("with a blank for the newline", raw(sha(&[b"Stellar Signed Message: ", text])), PREFIX),
        (
            "with the length, as Ethereum has it",
            raw(sha(&[b"\x19Stellar Signed Message:\n", length.to_string().as_bytes(), text])),
            PREFIX,
        ),
        ("as Ethereum's personal_sign", raw(sha(&[ethereum.as_bytes()])), PREFIX),
        (
            "as Albedo's sign_message",
            raw(sha(&[address.as_bytes(), b":", text])),
            "SHA-256(address ‖ \":\" ‖ message) is Albedo's own",
        ),
        (
            "as WalletConnect's example wallet",
            raw(sha(&[b"StellarMessage\0", text])),
            "SHA-256(\"StellarMessage\" ‖ 0 ‖ message) is its own",
        ),
        (
            "over the message in base64",
            json!(wallet.sign(STANDARD.encode(message))),
            "the message is signed as it is",
        ),
        (
            "over the message as JSON",
            json!(wallet.sign(json!(message).to_string())),
            "the message is signed as it is",
        ),
        ("over nothing", json!(wallet.sign("")), "another message"),
        (
            "over another challenge's text",
            json!(wallet.sign(message.replace("Nonce: ", "Nonce: 0"))),
            "another message",
        ),
        ("over the address", json!(wallet.sign(address)), "another message"),
    ]
}

#[tokio::test]
async fn a_signature_that_is_not_written_as_it_should_be_is_malformed() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let message = telling_challenge(&api, &wallet).await;
    let good = wallet.sign(&message);
    let mut table = Table::default();
    for (name, signature, why) in malformed(&good) {
        let answer = submit(&api, &message, &signature).await;
        table.refused(name, why, MALFORMED, &answer);
        table.holds(name, "the field signature", answer.body["field"] == "signature", &answer.body);
    }
    table.end();
    // None of it has used the challenge up.
    let _ = api.submit(&message, &good).await.tokens();
}

#[tokio::test]
async fn a_signature_that_is_not_the_wallets_over_the_challenge_is_refused_and_does_not_burn_it() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let good = wallet.sign(&message);
    let mut table = Table::default();
    let cases = [altered(&message, &good), of_other_preimages(&wallet, &message)].concat();
    for (name, signature, why) in &cases {
        let answer = submit(&api, &message, signature).await;
        table.refused(name, why, LOGIN_REFUSED, &answer);
    }
    table.end();
    let counted = api.metric("auth_api_logins_total{outcome=\"bad_signature\"}").await;
    let submitted = f64::from(u32::try_from(cases.len()).unwrap());
    assert!(
        (counted - submitted).abs() < f64::EPSILON,
        "each was refused for its signature: {counted}"
    );
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
    let _ = api.submit(&message, &good).await.tokens();
}

#[tokio::test]
async fn the_vectors_of_sep53_are_no_logins() {
    let database = Database::create().await;
    let api = start(&database).await;
    let vectors = vectors::sep53();
    let wallet = Wallet::from_seed(vectors["seed"].as_str().unwrap());
    assert_eq!(wallet.address(), vectors["address"].as_str().unwrap());
    let mut table = Table::default();
    for vector in
        vectors["valid"].as_array().unwrap().iter().chain(vectors["must_fail"].as_array().unwrap())
    {
        // A good signature of the right wallet over something that is not our challenge, and bad
        // ones.
        let message = vector["message_utf8"].as_str().unwrap_or("not text");
        let signature = vector["signature_base64"].as_str().unwrap();
        let refusal = if signature.len() == 88 { LOGIN_REFUSED } else { MALFORMED };
        let challenge = api.challenge(&wallet).await;
        for (name, message) in
            [("over its own message", message), ("over our challenge", challenge.as_str())]
        {
            let answer = api.submit(message, signature).await;
            table.refused(
                &format!("{signature} {name}"),
                "we did not make it, or it does not fit",
                refusal,
                &answer,
            );
        }
    }
    table.end();
    let _ = api.login(&wallet).await;
}

#[tokio::test]
async fn one_signature_may_be_written_in_base64_or_hex_of_either_case() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    for write in [
        str::to_owned,
        |hex: &str| hex.to_uppercase(),
        |hex: &str| STANDARD.encode(hex::decode(hex).unwrap()),
    ] {
        let message = api.challenge(&wallet).await;
        let _ = api.submit(&message, &write(&wallet.sign_hex(&message))).await.tokens();
        // And however it is written, once.
        api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    }
}
