use std::fmt;

use ed25519_dalek::VerifyingKey;
use stellar_strkey::ed25519::PublicKey;

/// The address of a wallet that can log in: a `G…` strkey (SEP-23) of a canonically encoded Ed25519
/// key that is not of small order.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountAddress {
    text: String,
    key: VerifyingKey,
}

/// Why an address cannot log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// The text is not a `G…` strkey. An `M…` strkey is not accepted, because it is an alias of a
    /// `G…` strkey, so that one wallet would become two users. A `C…` strkey contains no key.
    #[error("not a Stellar account address (56 characters that begin with G)")]
    NotAnAccount,
    /// The 32 bytes in the address do not encode a point on the curve, or are not the canonical
    /// encoding of the point.
    #[error("the key in this address is not usable")]
    NotAKey,
    /// The key is of small order, so some signatures are valid for every message.
    #[error("the key in this address is not usable")]
    WeakKey,
}

impl AccountAddress {
    /// Parses an address and the key that it contains.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let PublicKey(bytes) =
            PublicKey::from_string(text).map_err(|_| InvalidAddress::NotAnAccount)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidAddress::NotAKey)?;
        // Decompression accepts y ≥ p. Without this check, two encodings of one key would be two
        // users.
        if key.to_edwards().compress().to_bytes() != bytes {
            return Err(InvalidAddress::NotAKey);
        }
        if key.is_weak() {
            return Err(InvalidAddress::WeakKey);
        }
        Ok(Self { text: text.to_owned(), key })
    }

    /// Returns the `G…` strkey.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the key in the address.
    pub(crate) fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Display for AccountAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AccountAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strkey_vectors_are_rejected_and_a_wallet_is_accepted() {
        let vectors = testkit::vectors::strkey();
        for address in vectors["invalid"].as_array().unwrap() {
            let address = address.as_str().unwrap();
            assert_eq!(
                AccountAddress::parse(address),
                Err(InvalidAddress::NotAnAccount),
                "{address}"
            );
        }
        for entry in vectors["valid_but_not_a_login"].as_array().unwrap() {
            assert!(AccountAddress::parse(entry["address"].as_str().unwrap()).is_err(), "{entry}");
        }
        let wallet = testkit::Wallet::generate();
        assert_eq!(AccountAddress::parse(wallet.address()).unwrap().as_str(), wallet.address());
    }
}
