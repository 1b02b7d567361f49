//! The search for the highest load that keeps all rules: doubling from a start, then bisection. Pure: outcomes of steps in,
//! the next step out.
//!
//! A bad outcome is believed when it is seen twice at the same load, a good one at once, and the answer is run once more.
//! So a moment of noise costs a step and not the answer, and a lucky step does not become the answer.

pub mod blame;
pub mod curve;
pub mod steps;

use serde::{Deserialize, Serialize};

/// Steps of a search, repeated ones included. Doubling from 1 to the highest load there is and bisecting to the finest
/// resolution takes 47 when every bad step is bad at once.
pub const STEPS_MAX: usize = 64;
/// How often a bad outcome is seen at a load before it is believed.
const BELIEVED_AFTER: u8 = 2;

/// Where to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The first load, at least 1.
    pub from: u64,
    /// The highest load to try, at least `from`.
    pub max: u64,
    /// How near to come to the limit, as a share of it.
    pub resolution: f64,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The run is valid, and kept every rule.
    Kept,
    /// A rule was violated, or the target did not carry the load.
    Violated,
    /// The run says nothing about the target.
    Invalid,
}

/// Why a search is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The limit lies between two loads that are near enough to each other.
    Found,
    /// The highest load that was to be tried keeps the rules.
    AtMax,
    /// The load generator could not be trusted any further: the limit is above.
    GeneratorLimit,
    /// Not even the first load keeps the rules.
    NothingKept,
    /// After [`STEPS_MAX`].
    StepsMax,
    /// By Ctrl-C or SIGTERM.
    Interrupted,
    /// A step could not be run.
    Failed,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    range: Range,
    /// The load of the next step.
    load: u64,
    /// Bad outcomes seen at this load since it was taken up.
    violated_here: u8,
    invalid_here: u8,
    /// Loads that are believed to keep the rules, ascending. The last is the best.
    kept: Vec<u64>,
    /// The lowest load that is believed to violate them; always above the best.
    violated: Option<u64>,
    /// What the search comes to when the answer is confirmed; `None` while it is looked for.
    confirming: Option<Ended>,
    is_confirmed: bool,
    steps: usize,
    ended: Option<Ended>,
}

impl Search {
    /// A search that has not begun.
    pub fn new(range: Range) -> Self {
        Self {
            range,
            load: range.from,
            violated_here: 0,
            invalid_here: 0,
            kept: Vec::new(),
            violated: None,
            confirming: None,
            is_confirmed: false,
            steps: 0,
            ended: None,
        }
    }

    /// The load to run next; `None` when the search is over.
    pub fn next(&self) -> Option<u64> {
        self.ended.is_none().then_some(self.load)
    }

    /// The step of [`Search::next`] has been run.
    pub fn record(&mut self, outcome: Outcome) {
        if self.ended.is_some() {
            return;
        }
        self.steps += 1;
        if self.is_believed(outcome) {
            (self.violated_here, self.invalid_here) = (0, 0);
            self.believe(outcome);
        }
        if self.steps == STEPS_MAX && self.ended.is_none() {
            self.ended = Some(Ended::StepsMax);
        }
    }

    /// Ends the search from outside.
    pub fn stop(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    /// Why it is over; `None` while it is not.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// The highest load that is believed to keep the rules.
    pub fn best(&self) -> Option<u64> {
        self.kept.last().copied()
    }

    /// The lowest load that is believed to violate them.
    pub fn violated(&self) -> Option<u64> {
        self.violated
    }

    /// Whether the best load was run once more at the end, and kept the rules again.
    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    fn is_believed(&mut self, outcome: Outcome) -> bool {
        let seen = match outcome {
            Outcome::Kept => return true,
            Outcome::Violated => &mut self.violated_here,
            Outcome::Invalid => &mut self.invalid_here,
        };
        *seen += 1;
        *seen == BELIEVED_AFTER
    }

    fn believe(&mut self, outcome: Outcome) {
        match (self.confirming, outcome) {
            (None, Outcome::Kept) => self.kept.push(self.load),
            (None, Outcome::Violated) => self.violated = Some(self.load),
            (None, Outcome::Invalid) => return self.settle(Ended::GeneratorLimit),
            (Some(ended), Outcome::Kept) => {
                self.is_confirmed = true;
                self.ended = Some(ended);
                return;
            }
            // The first time was luck: the limit is below.
            (Some(_), Outcome::Violated) => {
                self.violated = self.kept.pop();
                self.confirming = None;
            }
            // It was kept once, and nothing that is known speaks against it.
            (Some(ended), Outcome::Invalid) => {
                self.ended = Some(ended);
                return;
            }
        }
        self.aim();
    }

    /// Chooses the next load.
    fn aim(&mut self) {
        match (self.best(), self.violated) {
            // What was kept begins with the first load, so this is its violation.
            (None, _) => self.ended = Some(Ended::NothingKept),
            (Some(best), None) if best >= self.range.max => self.settle(Ended::AtMax),
            (Some(best), None) => self.load = best.saturating_mul(2).min(self.range.max),
            (Some(best), Some(violated)) if violated - best <= self.near(best) => self.settle(Ended::Found),
            (Some(best), Some(violated)) => self.load = best + (violated - best) / 2,
        }
    }

    /// How far apart two loads may be that count as one.
    fn near(&self, load: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a load is positive and below it"
        )]
        let near = (load as f64 * self.range.resolution) as u64;
        near.max(1)
    }

    /// The search comes to this, once the answer has been run again. Without an answer it is over.
    fn settle(&mut self, ended: Ended) {
        match self.best() {
            Some(best) => (self.load, self.confirming) = (best, Some(ended)),
            None => self.ended = Some(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Outcome::{Invalid, Kept, Violated};
    use super::*;

    const RANGE: Range = Range { from: 1000, max: 1_000_000, resolution: 0.05 };

    /// Runs a search to its end; `target` answers what the `n`-th step at a load comes to.
    fn run(range: Range, mut target: impl FnMut(usize, u64) -> Outcome) -> (Search, Vec<(u64, Outcome)>) {
        let mut search = Search::new(range);
        let mut steps = Vec::new();
        while let Some(load) = search.next() {
            let outcome = target(steps.len(), load);
            search.record(outcome);
            steps.push((load, outcome));
        }
        (search, steps)
    }

    fn up_to(capacity: u64) -> impl Fn(usize, u64) -> Outcome {
        move |_, load| if load <= capacity { Kept } else { Violated }
    }

    #[test]
    fn it_doubles_then_bisects_then_confirms() {
        let (search, steps) = run(Range { resolution: 0.1, ..RANGE }, up_to(5300));
        let expected = [
            (1000, Kept),
            (2000, Kept),
            (4000, Kept),
            (8000, Violated),
            (8000, Violated),
            (6000, Violated),
            (6000, Violated),
            (5000, Kept),
            (5500, Violated),
            (5500, Violated),
            (5000, Kept),
        ];
        assert_eq!(steps, expected);
        assert_eq!((search.best(), search.violated()), (Some(5000), Some(5500)));
        assert_eq!((search.ended(), search.is_confirmed()), (Some(Ended::Found), true));
    }

    #[test]
    fn a_load_that_flaps_is_kept() {
        let flaps = |step, load| up_to(if step == 2 { 3999 } else { 4000 })(step, load);
        let (search, steps) = run(Range { resolution: 1.0, ..RANGE }, flaps);
        let at_4000: Vec<Outcome> =
            steps.iter().filter(|(load, _)| *load == 4000).map(|(_, outcome)| *outcome).collect();
        assert_eq!(at_4000, [Violated, Kept, Kept]);
        assert_eq!((search.best(), search.violated()), (Some(4000), Some(8000)));
    }

    #[test]
    fn not_even_the_first_load() {
        let (search, steps) = run(RANGE, |_, _| Violated);
        assert_eq!((search.best(), search.ended(), steps.len()), (None, Some(Ended::NothingKept), 2));
    }

    #[test]
    fn a_generator_that_is_not_trusted_at_all() {
        let (search, steps) = run(RANGE, |_, _| Invalid);
        assert_eq!((search.best(), search.ended(), steps.len()), (None, Some(Ended::GeneratorLimit), 2));
    }

    #[test]
    fn bad_outcomes_of_two_kinds_are_no_belief() {
        // Each kind is seen once, so a third step decides.
        let mut outcomes = [Invalid, Violated, Invalid].into_iter();
        let (search, _) = run(RANGE, |_, _| outcomes.next().unwrap());
        assert_eq!(search.ended(), Some(Ended::GeneratorLimit));
        let mut outcomes = [Invalid, Violated, Kept].into_iter().chain([Violated; 2]).chain([Kept]);
        let (search, _) = run(Range { resolution: 1.0, ..RANGE }, |_, _| outcomes.next().unwrap());
        assert_eq!((search.best(), search.ended()), (Some(1000), Some(Ended::Found)));
    }

    #[test]
    fn the_highest_load_ends_it() {
        let (search, steps) = run(Range { max: 3000, ..RANGE }, |_, _| Kept);
        assert_eq!(steps.iter().map(|(load, _)| *load).collect::<Vec<_>>(), [1000, 2000, 3000, 3000]);
        assert_eq!((search.best(), search.ended()), (Some(3000), Some(Ended::AtMax)));
    }

    #[test]
    fn an_answer_that_cannot_be_confirmed_says_so() {
        let (search, _) = run(RANGE, |step, load| match load {
            1000 if step == 0 => Kept,
            _ => Invalid,
        });
        assert_eq!((search.best(), search.is_confirmed()), (Some(1000), false));
        assert_eq!(search.ended(), Some(Ended::GeneratorLimit));
    }

    #[test]
    fn what_ends_it_from_outside_stays() {
        let mut search = Search::new(RANGE);
        search.record(Kept);
        search.stop(Ended::Interrupted);
        search.stop(Ended::Failed);
        search.record(Violated);
        assert_eq!((search.next(), search.ended()), (None, Some(Ended::Interrupted)));
        assert_eq!((search.best(), search.is_confirmed()), (Some(1000), false));
    }

    #[test]
    fn the_widest_and_finest_search_is_not_cut_off() {
        let range = Range { from: 1, max: 10_000_000, resolution: 0.001 };
        let most = (0..24).map(|power| run(range, up_to(1 << power)).1.len()).max();
        assert!(most <= Some(47), "{most:?}");
    }

    fn range() -> impl Strategy<Value = Range> {
        (1u64..5_000, 0.01..=1.0f64).prop_map(|(from, resolution)| Range {
            from,
            max: 10_000_000,
            resolution,
        })
    }

    /// Within the resolution below the truth.
    fn assert_is_answer(search: &Search, range: Range, capacity: u64) -> Result<(), TestCaseError> {
        let best = search.best().unwrap_or(0);
        let near = (best as f64 * range.resolution).max(1.0);
        prop_assert!(best <= capacity && ((capacity - best) as f64) < near, "{search:?} for {capacity}");
        prop_assert!(search.is_confirmed());
        Ok(())
    }

    proptest! {
        #[test]
        fn the_answer_is_within_the_resolution_of_the_truth(range in range(), above in 0u64..1_000_000) {
            let capacity = range.from + above;
            let (search, steps) = run(range, up_to(capacity));
            assert_is_answer(&search, range, capacity)?;
            prop_assert_eq!(search.ended(), Some(Ended::Found));
            // The curve is monotone: no kept load is above a violated one.
            let kept = steps.iter().filter(|(_, outcome)| *outcome == Kept).map(|(load, _)| *load).max();
            let violated = steps.iter().filter(|(_, outcome)| *outcome == Violated).map(|(load, _)| *load).min();
            prop_assert!(kept < violated);
        }

        #[test]
        fn bad_outcomes_that_come_one_at_a_time_change_no_answer(
            range in range(),
            above in 0u64..1_000_000,
            noise in prop::collection::vec(prop::option::weighted(0.3, prop::bool::ANY), STEPS_MAX),
        ) {
            let capacity = range.from + above;
            let mut was_noise = false;
            let (search, steps) = run(range, |step, load| {
                let noise = noise[step].filter(|_| !was_noise && load <= capacity);
                was_noise = noise.is_some();
                match noise {
                    Some(is_invalid) => if is_invalid { Invalid } else { Violated },
                    None => up_to(capacity)(step, load),
                }
            });
            if steps.len() < STEPS_MAX {
                assert_is_answer(&search, range, capacity)?;
            }
            prop_assert!(search.best() <= Some(capacity));
        }

        #[test]
        fn one_lucky_step_does_not_become_the_answer(range in range(), above in 0u64..100_000, lucky in 0usize..STEPS_MAX) {
            let capacity = range.from + above;
            let mut is_last = false;
            let (search, steps) = run(range, |step, load| {
                is_last = step == lucky && load > capacity;
                if is_last { Kept } else { up_to(capacity)(step, load) }
            });
            prop_assume!(steps.len() < STEPS_MAX);
            assert_is_answer(&search, range, capacity)?;
        }

        #[test]
        fn a_generator_that_ends_first_is_told_with_the_best_that_it_saw(range in range(), trusted in 1u64..1_000_000) {
            let trusted = range.from + trusted;
            let (search, _) = run(range, |_, load| if load <= trusted { Kept } else { Invalid });
            let best = search.best().unwrap_or(0);
            prop_assert!(best <= trusted && best * 2 > trusted, "{search:?}");
            prop_assert_eq!((search.ended(), search.is_confirmed()), (Some(Ended::GeneratorLimit), true));
        }

        #[test]
        fn whatever_the_steps_come_to_it_ends(
            range in range(),
            max in 1u64..10_000_000,
            outcomes in prop::collection::vec(prop::sample::select(vec![Kept, Violated, Invalid]), STEPS_MAX),
        ) {
            let range = Range { max: max.max(range.from), ..range };
            let (search, steps) = run(range, |step, _| outcomes[step]);
            prop_assert!(search.ended().is_some() && steps.len() <= STEPS_MAX);
            prop_assert!(steps.iter().all(|(load, _)| (range.from..=range.max).contains(load)));
            if let Some(best) = search.best() {
                prop_assert!(steps.contains(&(best, Kept)));
                prop_assert!(search.violated().is_none_or(|violated| violated > best));
            }
        }
    }
}
