//! The language of rules: `[POPULATION.]FIGURE COMPARISON VALUE`.

use std::str::FromStr;

use thiserror::Error;

use super::decimal::{self, FRACTION_DECIMALS, PERCENT_DECIMALS, RATE_DECIMALS};
use super::{Comparison, Figure, Rule, Scope, Statistic, Unit};
use crate::record::{HIGHEST_NS, Kind};

/// What stands for every population.
const ALL: &str = "all";
/// One, as a share is kept.
const WHOLE: u64 = 1_000_000_000;
/// The longest text that is quoted in an error.
const QUOTED_MAX: usize = 40;

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {why}")]
pub struct RuleError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong, and what to write.
    pub why: String,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let is_sign = |c: char| matches!(c, '<' | '>' | '=' | '!');
        let Some(sign_at) = text.find(is_sign) else {
            let why = "a comparison is missing: write FIGURE, then <, <=, ==, >= or >, then a value, such as response.p99 < 2ms";
            return Err(error(text, text.trim_end().len(), why.to_owned()));
        };
        let (subject, rest) = text.split_at(sign_at);
        let sign_length = rest.find(|c: char| !is_sign(c)).unwrap_or(rest.len());
        let (sign, value) = rest.split_at(sign_length);
        let (scope, figure) = subject_of(text, subject)?;
        let comparison = comparison_of(text, sign_at, sign)?;
        if comparison == Comparison::Equal && matches!(figure.unit(), Unit::Ns | Unit::PerSecond) {
            let why = format!("{figure} is never exactly some value: write <= or >=");
            return Err(error(text, sign_at, why));
        }
        let value_at = sign_at + sign.len() + (value.len() - value.trim_start().len());
        let limit = limit_of(figure, value.trim()).map_err(|why| error(text, value_at, why))?;
        if limit == 0 && comparison == Comparison::Less {
            return Err(error(
                text,
                sign_at,
                format!("{figure} is never below 0: write <= or a larger value"),
            ));
        }
        Ok(Self { scope, figure, comparison, limit })
    }
}

fn error(text: &str, byte: usize, why: String) -> RuleError {
    RuleError { column: text[..byte].chars().count() + 1, why }
}

/// The population and the figure. Both may have dots, so the figure is the longest end that is one.
fn subject_of(text: &str, subject: &str) -> Result<(Scope, Figure), RuleError> {
    let start = subject.len() - subject.trim_start().len();
    let subject = subject.trim();
    let ends = || std::iter::once(0).chain(subject.match_indices('.').map(|(dot, _)| dot + 1));
    for at in ends() {
        let Some(figure) = figure_of(&subject[at..]) else { continue };
        let scope = match subject[..at].strip_suffix('.') {
            None | Some(ALL) => Scope::All,
            Some(name) => population(name).map_err(|why| error(text, start, why))?,
        };
        return Ok((scope, figure));
    }
    if subject.is_empty() {
        let why = "the figure is missing, such as response.p99 or errors".to_owned();
        return Err(error(text, start, why));
    }
    // Which dot ends the population's name is not known: the end that is most like a figure tells.
    let names: Vec<String> = Figure::all().map(|figure| figure.to_string()).collect();
    let guesses = ends().filter_map(|at| {
        let (name, distance) = nearest_of(&subject[at..], names.iter().map(String::as_str))?;
        Some((distance, at, name))
    });
    let guess = guesses.min_by_key(|(distance, ..)| *distance);
    let half = ends().find_map(|at| Some((at, half_a_figure(&subject[at..])?)));
    let (at, hint) = match (guess, half) {
        (Some((1, at, name)), _) | (Some((_, at, name)), None) => (at, format!("did you mean {name}?")),
        (_, Some((at, whole))) => (at, format!("write it in full, such as {whole}")),
        (None, None) => {
            let list = "figures are response|service|lag|wait|connect.p50|p90|p95|p99|p99.9|p99.99|max|mean, errors, \
                        timeouts, lost, failed, syn_resent, recovery, completed_per_s";
            (0, list.to_owned())
        }
    };
    Err(error(text, start + at, format!("{} is no figure; {hint}", quoted(&subject[at..]))))
}

fn figure_of(text: &str) -> Option<Figure> {
    // The report spells p99.9 with an underscore, as its own dots part names.
    let text = text.replace("p99_", "p99.");
    Figure::all().find(|figure| figure.to_string() == text)
}

/// The whole of which `text` is the kind or the statistic alone.
fn half_a_figure(text: &str) -> Option<Figure> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    let statistic = Statistic::ALL.into_iter().find(|statistic| statistic.name() == text);
    (kind.is_some() || statistic.is_some())
        .then(|| Figure::Latency(kind.unwrap_or(Kind::Response), statistic.unwrap_or(Statistic::P99)))
}

fn population(name: &str) -> Result<Scope, String> {
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let why = format!("{} is no name of a population; write all.FIGURE or leave it out", quoted(name));
        return Err(why);
    }
    Ok(Scope::Population(name.to_owned()))
}

fn comparison_of(text: &str, at: usize, sign: &str) -> Result<Comparison, RuleError> {
    let meant = match sign {
        "=<" => "<=",
        "=>" => ">=",
        "=" | "===" => "==",
        _ => "<, <=, ==, >= or >",
    };
    let found = Comparison::ALL.into_iter().find(|comparison| comparison.sign() == sign);
    found.ok_or_else(|| error(text, at, format!("{} is no comparison; write {meant}", quoted(sign))))
}

fn limit_of(figure: Figure, text: &str) -> Result<u64, String> {
    let example = match figure.unit() {
        Unit::Ns => "a duration, such as 500us, 2ms or 1.5s",
        Unit::Fraction => "a share, such as 0.01% or 0.0001",
        Unit::Count => "a whole number",
        Unit::PerSecond => "a number per second, such as 1000",
    };
    let wrong = |why: &str| format!("{}: {why}; {figure} takes {example}", quoted(text));
    if text.is_empty() {
        return Err(format!("the value is missing; {figure} takes {example}"));
    }
    let number_length = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    if number_length == 0 {
        return Err(wrong("this does not begin with a number"));
    }
    let (number, unit) = (&text[..number_length], text[number_length..].trim());
    let decimals = match (figure.unit(), unit) {
        (Unit::Ns, "") => return Err(wrong("the unit is missing")),
        (Unit::Ns, unit) => decimal::decimals_of(unit).ok_or_else(|| wrong("this is no unit of time"))?,
        (Unit::Fraction, "%") => PERCENT_DECIMALS,
        (Unit::Fraction, "") => FRACTION_DECIMALS,
        (Unit::Count, "") => 0,
        (Unit::PerSecond, "" | "/s") => RATE_DECIMALS,
        _ => return Err(wrong("this unit does not fit")),
    };
    let limit = decimal::parse(number, decimals).map_err(wrong)?;
    match figure.unit() {
        Unit::Ns if limit > HIGHEST_NS && matches!(figure, Figure::Latency(..)) => {
            Err(wrong("latencies are told apart up to 60s"))
        }
        Unit::Fraction if limit > WHOLE => Err(wrong("a share is at most 100%")),
        _ => Ok(limit),
    }
}

/// The text, cut where it is too long for a line, without anything that would break it.
fn quoted(text: &str) -> String {
    let kept: String = text.chars().take(QUOTED_MAX).collect();
    let cut = if kept.len() < text.len() { ".." } else { "" };
    format!("'{}{cut}'", kept.escape_debug())
}

/// The name that is most like `text`, when one is like it at all.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(text, names).map(|(name, _)| name)
}

fn nearest_of<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    // What differs in more than a third of its letters is another word. Longer text is not compared: it is like no name.
    let is_like = |(name, distance): &(&str, usize)| *distance * 3 <= name.len().max(3);
    let names = names.filter(|name| name.len().abs_diff(text.len()) <= name.len());
    names.map(|name| (name, distance(text, name))).min_by_key(|(_, distance)| *distance).filter(is_like)
}

/// How many letters to insert, remove, replace or swap with the next (the optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let [one, other]: [Vec<char>; 2] = [one, other].map(|text| text.chars().collect());
    // Of each start of `one`, against each start of `other`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for row in 1..=one.len() {
        let mut distances = vec![row];
        for column in 1..=other.len() {
            let is_same = one[row - 1] == other[column - 1];
            let replaced = rows[row - 1][column - 1] + usize::from(!is_same);
            let changed = (rows[row - 1][column] + 1).min(distances[column - 1] + 1).min(replaced);
            let is_swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            let swapped = if is_swapped { rows[row - 2][column - 2] + 1 } else { changed };
            distances.push(changed.min(swapped));
        }
        rows.push(distances);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules_are_read_and_written_in_one_spelling() {
        for (text, spelling) in [
            ("main.response.p99 < 2ms", "main.response.p99 < 2ms"),
            ("all.errors<0.01%", "all.errors < 0.01%"),
            ("main.lost == 0", "main.lost == 0"),
            ("all.response.p99.9 <= 5ms", "all.response.p99.9 <= 5ms"),
            ("all.response.p99_9 <= 5000us", "all.response.p99.9 <= 5ms"),
            ("response.p99_99 <= 1500us", "all.response.p99.99 <= 1.5ms"),
            (" response.max  >=  1.5 s ", "all.response.max >= 1.5s"),
            ("lag.p50 < 3\u{b5}s", "all.lag.p50 < 3us"),
            ("errors < 0.0001", "all.errors < 0.01%"),
            ("timeouts == 0", "all.timeouts == 0%"),
            ("main.completed_per_s >= 1000", "main.completed_per_s >= 1000"),
            ("completed_per_s > 0.5/s", "all.completed_per_s > 0.5"),
            ("web.eu.connect.mean < 60s", "web.eu.connect.mean < 60s"),
            ("response.response.p50 < 1ns", "response.response.p50 < 1ns"),
            ("lost.lost == 0", "lost.lost == 0"),
            ("syn_resent==0", "all.syn_resent == 0"),
            ("idle.recovery < 120 s", "idle.recovery < 120s"),
        ] {
            let rule: Rule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rule.to_string(), spelling);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_their_fix() {
        let told: Vec<String> = [
            "",
            "response.p99",
            "response.p99 2ms",
            "< 2ms",
            "main.respons.p99 < 2ms",
            "main.p99 < 2ms",
            "web.response.p98 < 2ms",
            "response < 2ms",
            "latency < 2ms",
            "erors < 1%",
            "\u{fc}ber.completed_per_sec > 3",
            ".lost == 0",
            "a b.lost == 0",
            "response.p99 =< 2ms",
            "response.p99 = 2ms",
            "response.p99 != 2ms",
            "response.p99 == 2ms",
            "response.p99 < ",
            "response.p99 < 2",
            "response.p99 < 2min",
            "response.p99 < 61s",
            "response.p99 < 0.5ns",
            "response.p99 < -2ms",
            "response.p99 < fast",
            "errors < 5",
            "errors < 5ms",
            "errors < 101%",
            "errors < 0%",
            "lost < 1.5",
            "lost == 99999999999999999999",
            "completed_per_s > 1k",
            "lost == 0 and failed == 0",
        ]
        .iter()
        .map(|text| format!("{text}\n    {}", text.parse::<Rule>().unwrap_err()))
        .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn distances_count_what_fingers_do() {
        let distances = [
            ("main", "main"),
            ("mian", "main"),
            ("man", "main"),
            ("maain", "main"),
            ("", "abc"),
            ("ca", "abc"),
        ];
        assert_eq!(distances.map(|(one, other)| distance(one, other)), [0, 1, 1, 1, 3, 3]);
    }

    #[test]
    fn a_figure_with_a_letter_missing_is_recognized() {
        for figure in Figure::all() {
            let mut name = figure.to_string();
            name.remove(1);
            let error = format!("main.{name} > 0").parse::<Rule>().unwrap_err();
            assert!(error.column == 6 && error.why.contains("did you mean"), "{error}");
        }
    }

    fn figure() -> impl Strategy<Value = Figure> {
        prop::sample::select(Figure::all().collect::<Vec<_>>())
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let name =
            "[a-z\u{e4}][a-z0-9._-]{0,12}".prop_filter("stands for every population", |name| name != ALL);
        let scope = prop_oneof![Just(Scope::All), name.prop_map(Scope::Population)];
        let comparison = prop::sample::select(Comparison::ALL.to_vec());
        (scope, figure(), comparison, any::<u64>()).prop_filter_map(
            "no such rule",
            |(scope, figure, comparison, limit)| {
                let max = match figure.unit() {
                    Unit::Ns => HIGHEST_NS,
                    Unit::Fraction => WHOLE,
                    Unit::Count | Unit::PerSecond => u64::MAX,
                };
                let limit = if max == u64::MAX { limit } else { limit % (max + 1) };
                let is_exact =
                    comparison == Comparison::Equal && matches!(figure.unit(), Unit::Ns | Unit::PerSecond);
                let is_negative = comparison == Comparison::Less && limit == 0;
                (!is_exact && !is_negative).then_some(Rule { scope, figure, comparison, limit })
            },
        )
    }

    /// Texts of which parts are right, to come further than noise would.
    fn nearly_a_rule() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            prop::sample::select(vec![
                "main", "all", "response", "service", "p99", "p99.9", "p99_9", "max", "errors", "lost", ".",
                " ", "<", "<=", "==", "=", ">", "2", "0.01", "ms", "us", "%", "\u{b5}s", "\u{0}", "\n"
            ])
            .prop_map(str::to_owned),
            ".{0,4}",
        ];
        prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_rule(rule in any_rule()) {
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
        }

        #[test]
        fn any_text_is_a_rule_or_one_line_with_a_place_in_it(text in prop_oneof![any::<String>(), nearly_a_rule()]) {
            match text.parse::<Rule>() {
                Ok(rule) => prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule)),
                Err(error) => {
                    prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error);
                    prop_assert!(!error.to_string().contains('\n') && error.to_string().len() < 700, "{}", error);
                }
            }
        }
    }
}
