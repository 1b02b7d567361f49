//! Whether there is time for what comes next. Pure: time is an argument.

use std::time::Duration;

/// Whether `wanted` blocks can be done within the budget, when each takes as long as the `done` ones did on average.
///
/// It depends on how long blocks take and not on what they show, so that it cannot lean to either build.
pub fn suffices(budget: Duration, elapsed: Duration, done: usize, wanted: usize) -> bool {
    expected(elapsed, done, wanted).is_none_or(|expected| expected <= budget)
}

/// How long `wanted` blocks take; `None` when nothing is done yet to tell from.
pub fn expected(elapsed: Duration, done: usize, wanted: usize) -> Option<Duration> {
    (done > 0).then(|| elapsed.mul_f64(wanted.max(done) as f64 / done as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_block_is_always_tried_and_later_ones_when_they_fit() {
        assert!(suffices(SECOND, 5 * SECOND, 0, 12));
        assert!(suffices(120 * SECOND, 10 * SECOND, 1, 12));
        assert!(!suffices(119 * SECOND, 10 * SECOND, 1, 12));
        assert!(suffices(400 * SECOND, 120 * SECOND, 12, 40));
        assert!(!suffices(399 * SECOND, 120 * SECOND, 12, 40));
        assert!(!suffices(SECOND, 2 * SECOND, 3, 3));
    }
}
