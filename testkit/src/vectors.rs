//! Test vectors: valid and invalid SEP-53 signatures and SEP-23 strkeys.

use serde_json::Value;

/// Returns `vectors/sep53.json`.
#[must_use]
pub fn sep53() -> Value {
    serde_json::from_str(include_str!("../vectors/sep53.json")).unwrap()
}

/// Returns `vectors/strkey.json`.
#[must_use]
pub fn strkey() -> Value {
    serde_json::from_str(include_str!("../vectors/strkey.json")).unwrap()
}
