//! Statistics of measurements.

/// Returns the median, or `None` if there are no values.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], upper)
    } else {
        upper
    })
}

/// Returns a quantile: the smallest value such that at least the given share of all values is less
/// than or equal to it. The values must be in ascending order. The share is in thousandths. Returns
/// `None` if there are no values.
pub(crate) fn quantile(sorted: &[f64], thousandths: usize) -> Option<f64> {
    sorted.get((sorted.len() * thousandths).div_ceil(1_000).checked_sub(1)?).copied()
}

#[allow(clippy::cast_precision_loss, reason = "counts, bytes and KiB, far below 2^53")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

/// Formats a table cell.
pub(crate) fn cell(value: Option<f64>, digits: usize) -> String {
    value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        assert_eq!(quantile(&values, 990), Some(990.0));
        assert_eq!(quantile(&values, 999), Some(999.0));
        assert_eq!(quantile(&[], 500), None);
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median([4.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([].into_iter()), None);
    }
}
