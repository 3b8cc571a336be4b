use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::AccountAddress;

/// A signature by a wallet (SEP-53): Ed25519 over SHA-256("Stellar Signed Message:\n" ‖ message).
#[derive(Clone, Debug)]
pub struct Signature(ed25519_dalek::Signature);

/// The text is not 64 bytes in one of the two encodings that wallets use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature has 88 characters of padded base64 or 128 characters of hex")]
pub struct MalformedSignature;

const PREFIX: &[u8] = b"Stellar Signed Message:\n";

impl Signature {
    /// Parses padded base64 (88 characters, with unused bits set to zero) or hex (128 characters).
    pub fn parse(text: &str) -> Result<Self, MalformedSignature> {
        let bytes = match text.len() {
            88 => STANDARD.decode(text).ok(),
            128 => hex::decode(text).ok(),
            _ => None,
        };
        let bytes =
            bytes.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok()).ok_or(MalformedSignature)?;
        Ok(Self(ed25519_dalek::Signature::from_bytes(&bytes)))
    }

    /// Returns whether the key of `address` signed `message`. Verification is strict (ed25519-dalek
    /// `verify_strict`): S is reduced and no point is of small order, so a signature cannot be
    /// altered into a second valid one.
    #[must_use]
    pub fn verifies(&self, message: &[u8], address: &AccountAddress) -> bool {
        let digest = Sha256::new_with_prefix(PREFIX).chain_update(message).finalize();
        address.key().verify_strict(&digest, &self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(vector: &serde_json::Value) -> Vec<u8> {
        vector["message_utf8"].as_str().map_or_else(
            || STANDARD.decode(vector["message_base64"].as_str().unwrap()).unwrap(),
            |text| text.as_bytes().to_vec(),
        )
    }

    #[test]
    fn sep53_vectors_verify_as_specified() {
        let vectors = testkit::vectors::sep53();
        let address = AccountAddress::parse(vectors["address"].as_str().unwrap()).unwrap();
        for vector in vectors["valid"].as_array().unwrap() {
            for form in ["signature_base64", "signature_hex"] {
                let signature = Signature::parse(vector[form].as_str().unwrap()).unwrap();
                assert!(signature.verifies(&message_of(vector), &address), "{vector}");
                assert!(!signature.verifies(b"another message", &address), "{vector}");
            }
        }
        for vector in vectors["must_fail"].as_array().unwrap() {
            let signature = Signature::parse(vector["signature_base64"].as_str().unwrap());
            let signer = AccountAddress::parse(
                vector["address"].as_str().or(vectors["address"].as_str()).unwrap(),
            );
            let accepted = signature.is_ok_and(|signature| {
                signer.is_ok_and(|address| signature.verifies(&message_of(vector), &address))
            });
            assert!(!accepted, "{vector}");
        }
    }

    #[test]
    fn only_strict_verification_rejects_a_weak_key() {
        let vectors = testkit::vectors::sep53();
        let vector = &vectors["must_fail"][2];
        let bytes =
            stellar_strkey::ed25519::PublicKey::from_string(vector["address"].as_str().unwrap())
                .unwrap()
                .0;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).unwrap();
        let signature = Signature::parse(vector["signature_base64"].as_str().unwrap()).unwrap();
        let digest = Sha256::new_with_prefix(PREFIX).chain_update(message_of(vector)).finalize();
        assert!(
            ed25519_dalek::Verifier::verify(&key, &digest, &signature.0).is_ok(),
            "lenient verification accepts it"
        );
        assert!(key.verify_strict(&digest, &signature.0).is_err());
    }

    #[test]
    fn other_encodings_are_malformed() {
        let good = testkit::Wallet::generate().sign("x");
        let unpadded = good.trim_end_matches('=').to_owned();
        let trailing_bits = format!("{}h==", &good[..85]);
        for bad in [
            String::new(),
            unpadded.clone(),
            format!("{unpadded}\n\n"),
            format!("{good}\n"),
            good.replace(['+', '/'], "_"),
            "0x".to_owned() + &"00".repeat(64),
            "0".repeat(127),
            "00".repeat(63),
            "00".repeat(65),
            "g0".repeat(64),
            STANDARD.encode([0; 63]),
            STANDARD.encode([0; 65]),
        ] {
            if bad != good {
                assert_eq!(Signature::parse(&bad).err(), Some(MalformedSignature), "{bad:?}");
            }
        }
        // In base64, 64 bytes leave four unused bits in the last character. Any bits other than
        // zero would be a second encoding of the same signature.
        assert!(["A==", "Q==", "g==", "w=="].iter().any(|end| good.ends_with(end)));
        assert!(Signature::parse(&trailing_bits).is_err());
    }
}
