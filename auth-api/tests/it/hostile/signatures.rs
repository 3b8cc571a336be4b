//! Signatures that are not the wallet's SEP-53 signature of the challenge.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use testkit::{Answer, AuthApi, Database, Wallet, vectors};

use crate::hostile::table::{LOGIN_REFUSED, MALFORMED, Table, start};

/// A test case: its name, the value of `signature`, and the reason for the rejection.
type Case = (&'static str, Value, &'static str);

async fn submit(api: &AuthApi, message: &str, signature: &Value) -> Answer {
    api.post("/auth/login", &json!({ "message": message, "signature": signature })).await
}

fn bytes_of(signature: &str) -> [u8; 64] {
    STANDARD.decode(signature).unwrap().try_into().unwrap()
}

/// Requests challenges until the signature contains both characters that differ between the two
/// base64 alphabets.
async fn distinctive_challenge(api: &AuthApi, wallet: &Wallet) -> String {
    loop {
        let message = api.challenge(wallet).await;
        let signature = wallet.sign(&message);
        if signature.contains('+') && signature.contains('/') {
            return message;
        }
    }
}

/// Returns values that are not 64 bytes in padded base64 or hex.
fn malformed(good: &str) -> Vec<Case> {
    const BASE64: &str = "base64 has 88 characters of the standard alphabet, with padding";
    const HEX: &str = "hex has 128 digits";
    const ONE_WAY: &str = "each notation has exactly one form";
    const TYPE: &str = "the signature is a string";
    let bytes = bytes_of(good);
    let hex = hex::encode(bytes);
    let zeros = |count: usize| STANDARD.encode(vec![0; count]);
    // 64 bytes leave four spare bits in the last character. Lenient decoders ignore them.
    let last = good.as_bytes()[85];
    let spare_bit = format!("{}{}==", &good[..85], char::from(last + 1));
    vec![
        ("empty", json!(""), BASE64),
        ("unpadded", json!(STANDARD_NO_PAD.encode(bytes)), BASE64),
        ("half padded", json!(good[..87]), BASE64),
        ("padded too much", json!(format!("{good}=")), BASE64),
        ("in the URL-safe alphabet", json!(URL_SAFE.encode(bytes)), BASE64),
        ("with a newline", json!(format!("{good}\n")), ONE_WAY),
        ("with CRLF", json!(format!("{good}\r\n")), ONE_WAY),
        (
            "unpadded, two newlines instead",
            json!(format!("{}\n\n", STANDARD_NO_PAD.encode(bytes))),
            ONE_WAY,
        ),
        ("in lines of 76", json!(format!("{}\n{}", &good[..76], &good[76..])), ONE_WAY),
        ("a leading space", json!(format!(" {good}")), ONE_WAY),
        ("a space for a character", json!(format!(" {}", &good[1..])), ONE_WAY),
        ("spaces for plus signs", json!(good.replace('+', " ")), "form decoding replaces them"),
        ("percent-encoded", json!(good.replace('=', "%3D")), ONE_WAY),
        ("a trailing NUL", json!(format!("{good}\0")), ONE_WAY),
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
            "recovery bytes belong to another curve",
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
            "old versions send it, but a string is required",
        ),
        ("an object", json!({ "signedMessage": good }), TYPE),
    ]
}

fn changed(good: &str, change: impl FnOnce(&mut [u8; 64])) -> Value {
    let mut bytes = bytes_of(good);
    change(&mut bytes);
    json!(STANDARD.encode(bytes))
}

/// Adds a multiple of the group order `L` to `S`, the second half of a signature, in little endian.
/// A verifier that accepts values of `S` above `L` accepts the result.
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

/// Returns correctly encoded values of 64 bytes that are not this wallet's signature.
fn altered(message: &str, good: &str) -> Vec<Case> {
    const MALLEATED: &str = "S must be reduced (RFC 8032 §5.1.7), so that a signature has one form";
    const NEVER: &str = "this wallet did not create it";
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
        ("reversed", changed(good, |bytes| bytes.reverse()), "the byte order is wrong"),
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

/// Returns the wallet's own signatures of data other than SHA-256("Stellar Signed Message:
/// " ‖ message).
fn of_other_preimages(wallet: &Wallet, message: &str) -> Vec<Case> {
    const PREFIX: &str = "the prefix separates messages from other signed data";
    let sha = |parts: &[&[u8]]| -> Vec<u8> {
        parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().to_vec()
    };
    let raw = |bytes: Vec<u8>| json!(wallet.sign_raw(bytes));
    let (text, prefix) = (message.as_bytes(), &b"Stellar Signed Message:\n"[..]);
    let (address, length) = (wallet.address(), message.len());
    let ethereum = format!("\x19Ethereum Signed Message:\n{length}{message}");
    vec![
        ("over the raw message", raw(text.to_vec()), "Freighter did this before SEP-53"),
        ("over its SHA-256", raw(sha(&[text])), PREFIX),
        (
            "over the prefix and the message, not hashed",
            raw([prefix, text].concat()),
            "the hash is signed",
        ),
        (
            "over the hash, hashed again",
            raw(sha(&[&sha(&[prefix, text])])),
            "SHA-256 is applied once",
        ),
        (
            "over the hash in hex",
            raw(hex::encode(sha(&[prefix, text])).into_bytes()),
            "the bytes of the hash are signed",
        ),
        (
            "without the newline of the prefix",
            raw(sha(&[b"Stellar Signed Message:", text])),
            PREFIX,
        ),
        ("with a space for the newline", raw(sha(&[b"Stellar Signed Message: ", text])), PREFIX),
        (
            "with the length, as in Ethereum",
            raw(sha(&[b"\x19Stellar Signed Message:\n", length.to_string().as_bytes(), text])),
            PREFIX,
        ),
        ("as Ethereum's personal_sign", raw(sha(&[ethereum.as_bytes()])), PREFIX),
        (
            "as Albedo's sign_message",
            raw(sha(&[address.as_bytes(), b":", text])),
            "SHA-256(address ‖ \":\" ‖ message) is Albedo's own format",
        ),
        (
            "as WalletConnect's example wallet",
            raw(sha(&[b"StellarMessage\0", text])),
            "SHA-256(\"StellarMessage\" ‖ 0 ‖ message) is its own format",
        ),
        (
            "over the message in base64",
            json!(wallet.sign(STANDARD.encode(message))),
            "the message is signed unchanged",
        ),
        (
            "over the message as JSON",
            json!(wallet.sign(json!(message).to_string())),
            "the message is signed unchanged",
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
async fn badly_encoded_signature_is_malformed() {
    let database = Database::create().await;
    let api = start(&database).await;
    let wallet = Wallet::generate();
    let message = distinctive_challenge(&api, &wallet).await;
    let good = wallet.sign(&message);
    let mut table = Table::default();
    for (name, signature, why) in malformed(&good) {
        let answer = submit(&api, &message, &signature).await;
        table.refused(name, why, MALFORMED, &answer);
        table.holds(name, "the field signature", answer.body["field"] == "signature", &answer.body);
    }
    table.end();
    // The rejected requests have not consumed the challenge.
    let _ = api.submit(&message, &good).await.tokens();
}

#[tokio::test]
async fn wrong_signature_is_rejected_and_keeps_the_challenge() {
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
        "each login is rejected for its signature: {counted}"
    );
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
    let _ = api.submit(&message, &good).await.tokens();
}

#[tokio::test]
async fn sep53_vectors_cannot_log_in() {
    let database = Database::create().await;
    let api = start(&database).await;
    let vectors = vectors::sep53();
    let wallet = Wallet::from_seed(vectors["seed"].as_str().unwrap());
    assert_eq!(wallet.address(), vectors["address"].as_str().unwrap());
    let mut table = Table::default();
    for vector in
        vectors["valid"].as_array().unwrap().iter().chain(vectors["must_fail"].as_array().unwrap())
    {
        // Valid signatures of the right wallet for another message, and invalid signatures.
        let message = vector["message_utf8"].as_str().unwrap_or("not text");
        let signature = vector["signature_base64"].as_str().unwrap();
        let refusal = if signature.len() == 88 { LOGIN_REFUSED } else { MALFORMED };
        let challenge = api.challenge(&wallet).await;
        for (name, message) in
            [("over its own message", message), ("over the challenge", challenge.as_str())]
        {
            let answer = api.submit(message, signature).await;
            table.refused(
                &format!("{signature} {name}"),
                "the message is not an issued challenge, or the signature does not match",
                refusal,
                &answer,
            );
        }
    }
    table.end();
    let _ = api.login(&wallet).await;
}

#[tokio::test]
async fn signature_may_be_base64_or_hex_in_either_case() {
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
        // A challenge is valid once, whatever the encoding of the signature.
        api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    }
}
