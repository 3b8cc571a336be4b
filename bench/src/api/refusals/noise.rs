//! Computes how much two medians differ by chance alone.

use crate::statistics::{median, quantile};

/// Number of random splits.
const DRAWS: usize = 1_000;

/// Returns the noise: if the values are split randomly into two halves, the medians of the halves
/// differ by no more than this in 99 of 100 splits.
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
    fn identical_values_have_no_noise() {
        assert_eq!(noise(&[3.0; 100]), Some(0.0));
        assert_eq!(noise(&[3.0]), None);
    }

    #[test]
    fn noise_matches_the_distribution_of_the_median() {
        // For 2,000 values that are spread evenly over 0 to 100, the median of 1,000 of them (drawn
        // without replacement) has a root mean square error of 1.1. The difference of two such
        // medians has an error of 2.2. The 99th percentile of the absolute difference is 2.58 times
        // as large as this error.
        let values: Vec<f64> = (0..2_000).map(|value| f64::from(value) / 20.0).collect();
        let noise = noise(&values).unwrap();
        assert!((3.0..9.0).contains(&noise), "{noise}");
    }
}
