use schema::ids::TokenHash;
use subtle::ConstantTimeEq as _;

/// Returns whether two hashes are equal, in a time that does not depend on where they differ.
#[must_use]
pub fn same_hash(one: TokenHash, other: TokenHash) -> bool {
    one.0.ct_eq(&other.0).into()
}
