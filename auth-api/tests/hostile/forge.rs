//! JWTs made by hand: any header, any claims, signed by whom one likes.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use testkit::AuthApi;

/// The three parts of a token, decoded.
#[derive(Clone)]
pub(crate) struct Jwt {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) signature: Vec<u8>,
}

impl Jwt {
    pub(crate) fn read(token: &str) -> Self {
        let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let json = |part: &[u8]| serde_json::from_slice(part).unwrap();
        let [header, claims, signature] = &parts[..] else { panic!("not a JWT: {token}") };
        Self { header: json(header), claims: json(claims), signature: signature.clone() }
    }

    /// With these fields of the header; null takes one away.
    pub(crate) fn header(mut self, changes: &Value) -> Self {
        change(&mut self.header, changes);
        self
    }

    /// With these claims; null takes one away.
    pub(crate) fn claims(mut self, changes: &Value) -> Self {
        change(&mut self.claims, changes);
        self
    }

    /// What is signed.
    pub(crate) fn signing_input(&self) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// With the signature that it had.
    pub(crate) fn unsigned(&self) -> String {
        self.with(&self.signature)
    }

    /// Signed by this key.
    pub(crate) fn signed(&self, key: &SigningKey) -> String {
        self.with(&key.sign(self.signing_input().as_bytes()).to_bytes())
    }

    pub(crate) fn with(&self, signature: &[u8]) -> String {
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

/// The key with which this API signs.
pub(crate) fn key_of(api: &AuthApi) -> SigningKey {
    let directory = api.copy_of_keys();
    let file = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    SigningKey::from_pkcs8_pem(&fs::read_to_string(file).unwrap()).unwrap()
}
