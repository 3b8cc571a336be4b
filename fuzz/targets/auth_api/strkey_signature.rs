use std::sync::LazyLock;

use auth_api::credentials::{AccountAddress, Signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use stellar_strkey::ed25519::PublicKey;

use super::edits::edited;

const MESSAGE: &[u8] = b"any message at all";

static WALLET: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[9; 32]));
static ADDRESS: LazyLock<AccountAddress> = LazyLock::new(|| {
    AccountAddress::parse(PublicKey(WALLET.verifying_key().to_bytes()).to_string().as_str())
        .unwrap()
});
static GENUINE: LazyLock<[u8; 64]> = LazyLock::new(|| {
    let digest =
        Sha256::new_with_prefix(b"Stellar Signed Message:\n").chain_update(MESSAGE).finalize();
    WALLET.sign(&digest).to_bytes()
});

/// Asserts that an address has only one encoding, that a signature has only two encodings (base64
/// and hex), and that no altered signature is valid for the same message.
///
/// The input is an address and a signature, separated by a newline.
pub fn strkey_signature(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        let (address, signature) = text.split_once('\n').unwrap_or((text, text));
        let (address, signature) = (usable(address), well_written(signature));
        if let (Some(address), Some(signature)) = (address, signature) {
            // The message is derived from the input, so the signature in the input cannot have been
            // made for the message.
            let message = Sha256::digest(data);
            assert!(
                !signature.verifies(&message, &address),
                "the signature is valid for any message: {text:?}"
            );
        }
    }
    if let Some((&key, _)) = data.split_first_chunk::<32>() {
        check_key(key);
    }
    altered(data);
}

fn usable(text: &str) -> Option<AccountAddress> {
    let address = AccountAddress::parse(text).ok()?;
    assert_eq!(address.as_str(), text);
    assert!(text.len() == 56 && text.starts_with('G'), "{text:?}");
    let PublicKey(bytes) = PublicKey::from_string(text).unwrap();
    assert_eq!(PublicKey(bytes).to_string().as_str(), text, "a second encoding");
    check_key(bytes);
    Some(address)
}

/// Asserts that an address is accepted exactly if its 32 bytes are the canonical encoding of a
/// point that does not have a small order.
fn check_key(bytes: [u8; 32]) {
    let usable = AccountAddress::parse(PublicKey(bytes).to_string().as_str()).is_ok();
    let key = VerifyingKey::from_bytes(&bytes);
    let strong =
        key.is_ok_and(|key| key.to_edwards().compress().to_bytes() == bytes && !key.is_weak());
    assert_eq!(usable, strong, "{bytes:02x?}");
}

fn well_written(text: &str) -> Option<Signature> {
    let base64 = STANDARD
        .decode(text)
        .is_ok_and(|bytes| bytes.len() == 64 && STANDARD.encode(bytes) == text);
    let hex = text.len() == 128 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let signature = Signature::parse(text);
    assert_eq!(signature.is_ok(), base64 || hex, "{text:?}");
    signature.ok()
}

/// Asserts that a valid signature is rejected if the signature or its message is changed.
fn altered(script: &[u8]) {
    let parsed = |bytes: &[u8]| Signature::parse(&hex::encode(bytes));
    let genuine = parsed(&*GENUINE).unwrap();
    assert!(genuine.verifies(MESSAGE, &ADDRESS));
    let bytes = edited(&*GENUINE, script);
    if bytes != *GENUINE {
        let accepted = parsed(&bytes).is_ok_and(|signature| signature.verifies(MESSAGE, &ADDRESS));
        assert!(!accepted, "altered signature accepted: {}", hex::encode(bytes));
    }
    let message = edited(MESSAGE, script);
    assert_eq!(genuine.verifies(&message, &ADDRESS), message == MESSAGE, "{message:?}");
}
