use schema::ids::TokenHash;
use subtle::ConstantTimeEq as _;

/// Returns whether two hashes are equal. The time that the comparison takes does not depend on
/// where the hashes differ.
#[must_use]
pub fn same_hash(one: TokenHash, other: TokenHash) -> bool {
    one.0.ct_eq(&other.0).into()
}
