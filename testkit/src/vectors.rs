//! Test vectors: SEP-53 signatures and SEP-23 strkeys, valid and not.

use serde_json::Value;

/// `vectors/sep53.json`.
#[must_use]
pub fn sep53() -> Value {
    serde_json::from_str(include_str!("../vectors/sep53.json")).unwrap()
}

/// `vectors/strkey.json`.
#[must_use]
pub fn strkey() -> Value {
    serde_json::from_str(include_str!("../vectors/strkey.json")).unwrap()
}
