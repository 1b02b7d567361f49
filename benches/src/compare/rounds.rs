//! Many candidates in turn: each once in every round, in an order that favours none.

use serde::Serialize;

use crate::error::MeasureError;
use crate::session::Session;
use crate::statistics::Spread;

/// What was measured of one candidate.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Its name.
    pub name: String,
    /// Its figures, one of each round.
    pub figure: Spread,
    /// Each round's, over the first candidate's of the same round.
    pub ratio: Spread,
    /// The figures themselves, in the order of the rounds.
    pub rounds: Vec<f64>,
}

/// Measures each candidate once in every round. The first is what the others are held against.
///
/// # Errors
/// When a slot could not be measured.
pub(super) fn in_rounds(
    session: &Session,
    names: Vec<String>,
    rounds: usize,
    mut slot: impl FnMut(usize) -> Result<f64, MeasureError>,
) -> Result<Vec<Row>, MeasureError> {
    session.say(format_args!("  round  {}", names.join("   ")));
    let mut figures = vec![Vec::new(); names.len()];
    for round in 0..rounds {
        for index in order(round, names.len()) {
            figures[index].push(slot(index)?);
        }
        let line: Vec<String> = figures
            .iter()
            .zip(&names)
            .map(|(figures, name)| format!("{:>width$.0}", figures[round], width = name.chars().count()))
            .collect();
        session.say(format_args!("  {:>5}  {}", round + 1, line.join("   ")));
    }
    Ok(rows(names, figures))
}

/// The order of a round: every other one backwards, and each pair of them begins one further on. So in twice as many rounds as
/// there are candidates each comes first as often as any other, and a machine that grows slower or faster in the course of a round favours none over two of them.
fn order(round: usize, candidates: usize) -> Vec<usize> {
    let first = round / 2;
    let mut order: Vec<usize> = (0..candidates).map(|index| (first + index) % candidates).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn rows(names: Vec<String>, figures: Vec<Vec<f64>>) -> Vec<Row> {
    let first = figures.first().cloned().unwrap_or_default();
    let row = |(name, rounds): (String, Vec<f64>)| {
        let ratios: Vec<f64> = rounds.iter().zip(&first).map(|(own, first)| own / first).collect();
        Row { name, figure: Spread::of(&rounds), ratio: Spread::of(&ratios), rounds }
    };
    names.into_iter().zip(figures).map(row).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        // The machine was twice as slow in the second round, and nobody's ratio shows it.
        let rows =
            rows(vec!["ours".to_owned(), "theirs".to_owned()], vec![vec![10.0, 20.0], vec![15.0, 30.0]]);
        assert!((rows[1].ratio.min - 1.5).abs() < 1e-9 && (rows[1].ratio.max - 1.5).abs() < 1e-9);
        assert!((rows[1].figure.median - 22.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn each_takes_part_once_in_every_round(round in 0usize..100, candidates in 1usize..12) {
            let mut order = order(round, candidates);
            order.sort_unstable();
            prop_assert_eq!(order, (0..candidates).collect::<Vec<_>>());
        }

        #[test]
        fn over_a_pair_of_rounds_a_steady_drift_favours_none(pair in 0usize..20, candidates in 1usize..12) {
            let place = |round| {
                let order = order(round, candidates);
                move |candidate| order.iter().position(|&index| index == candidate).unwrap_or(usize::MAX)
            };
            let (first, second) = (place(2 * pair), place(2 * pair + 1));
            for candidate in 0..candidates {
                prop_assert_eq!(first(candidate) + second(candidate), candidates - 1);
            }
        }

        #[test]
        fn each_comes_first_as_often_as_any_other(candidates in 1usize..12) {
            let mut firsts = vec![0; candidates];
            (0..2 * candidates).for_each(|round| firsts[order(round, candidates)[0]] += 1);
            prop_assert_eq!(firsts, vec![2; candidates]);
        }
    }
}
