use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

/// The three parts of a JWT, decoded; and one made by hand: any header, any claims, signed by whom
/// one likes.
#[derive(Clone)]
pub struct Jwt {
    /// What it says of itself.
    pub header: Value,
    /// What it says.
    pub claims: Value,
    /// Over both.
    pub signature: Vec<u8>,
}

impl Jwt {
    /// Takes a token apart.
    #[must_use]
    pub fn read(token: &str) -> Self {
        let parts: Vec<Vec<u8>> =
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let json = |part: &[u8]| serde_json::from_slice(part).unwrap();
        let [header, claims, signature] = &parts[..] else { panic!("not a JWT: {token}") };
        Self { header: json(header), claims: json(claims), signature: signature.clone() }
    }

    /// With these fields of the header; null takes one away.
    #[must_use]
    pub fn header(mut self, changes: &Value) -> Self {
        change(&mut self.header, changes);
        self
    }

    /// With these claims; null takes one away.
    #[must_use]
    pub fn claims(mut self, changes: &Value) -> Self {
        change(&mut self.claims, changes);
        self
    }

    /// What is signed.
    #[must_use]
    pub fn signing_input(&self) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// With the signature that it had.
    #[must_use]
    pub fn unsigned(&self) -> String {
        self.with(&self.signature)
    }

    /// Signed by this key.
    #[must_use]
    pub fn signed(&self, key: &SigningKey) -> String {
        self.with(&key.sign(self.signing_input().as_bytes()).to_bytes())
    }

    /// With any signature.
    #[must_use]
    pub fn with(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.signing_input(), URL_SAFE_NO_PAD.encode(signature))
    }
}

fn change(json: &mut Value, changes: &Value) {
    let fields = json.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
}
