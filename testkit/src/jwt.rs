use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

/// The three decoded parts of a JWT. Tests also use this type to build tokens with any header, any
/// claims and any signature.
#[derive(Clone)]
pub struct Jwt {
    /// Header.
    pub header: Value,
    /// Claims.
    pub claims: Value,
    /// Signature over the header and the claims.
    pub signature: Vec<u8>,
}

impl Jwt {
    /// Decodes a token.
    #[must_use]
    pub fn read(token: &str) -> Self {
        let parts: Vec<Vec<u8>> =
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let json = |part: &[u8]| serde_json::from_slice(part).unwrap();
        let [header, claims, signature] = &parts[..] else { panic!("not a JWT: {token}") };
        Self { header: json(header), claims: json(claims), signature: signature.clone() }
    }

    /// Sets these header fields. A null value removes the field.
    #[must_use]
    pub fn header(mut self, changes: &Value) -> Self {
        change(&mut self.header, changes);
        self
    }

    /// Sets these claims. A null value removes the claim.
    #[must_use]
    pub fn claims(mut self, changes: &Value) -> Self {
        change(&mut self.claims, changes);
        self
    }

    /// Returns the signing input: the encoded header and claims.
    #[must_use]
    pub fn signing_input(&self) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// Returns the token with its original signature.
    #[must_use]
    pub fn unsigned(&self) -> String {
        self.with(&self.signature)
    }

    /// Returns the token, signed with this key.
    #[must_use]
    pub fn signed(&self, key: &SigningKey) -> String {
        self.with(&key.sign(self.signing_input().as_bytes()).to_bytes())
    }

    /// Returns the token with this signature.
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
