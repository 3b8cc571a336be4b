use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use stellar_strkey::ed25519::{PrivateKey, PublicKey};

/// A Stellar key pair that signs messages as defined in SEP-53: with Ed25519 over SHA-256("Stellar
/// Signed Message:\n" ‖ message).
pub struct Wallet {
    key: SigningKey,
    address: String,
}

impl Wallet {
    /// Generates a new key.
    #[must_use]
    pub fn generate() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        Self::from_bytes(&seed)
    }

    /// Returns the key of a secret seed (`S…`).
    #[must_use]
    pub fn from_seed(seed: &str) -> Self {
        Self::from_bytes(&PrivateKey::from_string(seed).unwrap().0)
    }

    fn from_bytes(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let address = PublicKey(key.verifying_key().to_bytes()).to_string().as_str().to_owned();
        Self { key, address }
    }

    /// Returns the address, `G…`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the SEP-53 signature of a message as padded base64.
    #[must_use]
    pub fn sign(&self, message: impl AsRef<[u8]>) -> String {
        STANDARD.encode(self.sign_sep53(message.as_ref()))
    }

    /// Returns the SEP-53 signature of a message as hex.
    #[must_use]
    pub fn sign_hex(&self, message: impl AsRef<[u8]>) -> String {
        hex::encode(self.sign_sep53(message.as_ref()))
    }

    /// Returns a plain Ed25519 signature over the bytes. This is *not* a SEP-53 signature.
    #[must_use]
    pub fn sign_raw(&self, bytes: impl AsRef<[u8]>) -> String {
        STANDARD.encode(self.key.sign(bytes.as_ref()).to_bytes())
    }

    fn sign_sep53(&self, message: &[u8]) -> [u8; 64] {
        let digest =
            Sha256::new_with_prefix(b"Stellar Signed Message:\n").chain_update(message).finalize();
        self.key.sign(&digest).to_bytes()
    }
}
