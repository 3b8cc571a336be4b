//! What chance alone makes of the difference of two medians.

use crate::statistics::{median, quantile};

/// How often it is drawn.
const DRAWS: usize = 1_000;

/// In 99 of 100 draws the medians of two random halves of these values are no further apart.
pub(super) fn noise(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    let mut apart = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        fastrand::shuffle(&mut values);
        let (one, other) = values.split_at(values.len() / 2);
        apart.push((median(one.iter().copied())? - median(other.iter().copied())?).abs());
    }
    apart.sort_by(f64::total_cmp);
    quantile(&apart, 990)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn values_that_are_all_the_same_have_none() {
        assert_eq!(noise(&[3.0; 100]), Some(0.0));
        assert_eq!(noise(&[3.0]), None);
    }

    #[test]
    fn it_is_that_of_the_law_of_the_median() {
        // Of 2,000 values that are spread evenly over 0 to 100, the median of 1,000 is off by 1.1
        // in the root mean square (drawn without putting back), the difference of two by
        // 2.2, and that by 2.58 times as much once in a hundred draws.
        let values: Vec<f64> = (0..2_000).map(|value| f64::from(value) / 20.0).collect();
        let noise = noise(&values).unwrap();
        assert!((3.0..9.0).contains(&noise), "{noise}");
    }
}
