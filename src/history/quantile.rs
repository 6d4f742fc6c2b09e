//! Quantiles of numbers that were seen one by one.

/// The least of `numbers` that `percent` of them do not exceed (nearest rank); `None` of none. Reorders them.
pub(super) fn quantile(numbers: &mut [u64], percent: usize) -> Option<u64> {
    let rank = (numbers.len() * percent).div_ceil(100).max(1);
    if numbers.is_empty() {
        return None;
    }
    Some(*numbers.select_nth_unstable(rank - 1).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_numbers() {
        assert_eq!(quantile(&mut [], 50), None);
        for (numbers, percent, expected) in [
            (&mut [7][..], 0, 7),
            (&mut [7], 100, 7),
            (&mut [3, 1, 2], 50, 2),
            (&mut [4, 3, 1, 2], 50, 2),
            (&mut [10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 90, 9),
            (&mut [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 90, 10),
            (&mut [5, 1, 9], 0, 1),
        ] {
            assert_eq!(quantile(numbers, percent), Some(expected), "{numbers:?} {percent}");
        }
    }
}
