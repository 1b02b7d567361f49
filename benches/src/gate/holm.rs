//! Several tests at once: the step-down procedure of Holm ("A Simple Sequentially Rejective Multiple Test Procedure", 1979).
//!
//! With four metrics, each tested at one in a thousand, a false alarm somewhere is four times as likely. Holm keeps the
//! probability of even one at the level, whatever the metrics have to do with each other, and gives away less than
//! Bonferroni: only the smallest p is multiplied by the number of tests, the next by one less, and so on.

/// The p-values as they may be compared with the level, in the order they came.
pub fn adjust(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest = 0.0_f64;
    for (step, index) in order.into_iter().enumerate() {
        let left = (p_values.len() - step) as f64;
        // What is rejected after another can be no surer than that.
        largest = largest.max((left * p_values[index]).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_textbooks() {
        let adjusted = adjust(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(adjust(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn it_lies_between_the_raw_p_and_bonferronis(p_values in prop::collection::vec(0.0..1.0, 1..8)) {
            let adjusted = adjust(&p_values);
            for (raw, adjusted) in p_values.iter().zip(&adjusted) {
                prop_assert!(raw <= adjusted && *adjusted <= (raw * p_values.len() as f64).min(1.0).max(*raw) + 1.0);
                prop_assert!(*adjusted <= 1.0);
            }
            let smallest = (0..p_values.len()).min_by(|&a, &b| p_values[a].total_cmp(&p_values[b])).unwrap();
            let bonferroni = (p_values[smallest] * p_values.len() as f64).min(1.0);
            prop_assert!((adjusted[smallest] - bonferroni).abs() < 1e-12);
        }

        #[test]
        fn the_order_of_p_is_kept(p_values in prop::collection::vec(0.0..1.0, 2..8)) {
            let adjusted = adjust(&p_values);
            for a in 0..p_values.len() {
                for b in 0..p_values.len() {
                    prop_assert!(p_values[a] > p_values[b] || adjusted[a] <= adjusted[b]);
                }
            }
        }
    }
}
