//! Service level objectives: rules such as `main.response.p99 < 2ms`, and whether a run kept them. Pure: facts in,
//! judgement out.
//!
//! A rule that a run cannot speak about is not judged, and that is never taken for kept: when the run is INVALID, when
//! the percentile lies above the one up to which the generator's own lag is small, or when nothing was measured.

mod decimal;
mod parse;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use self::decimal::Decimal;
pub use self::parse::{RuleError, nearest};
use crate::record::{Kind, LAG_FLOOR_NS, Recording};
use crate::report::units::{Count, Ns, Percent, Percentile};
use crate::verdict;

/// What to say of a rule that is about a population that there is not; none when it is about one that there is.
pub fn stranger<'a>(rule: &Rule, populations: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = populations.chain(["all"]).collect();
    let Scope::Population(name) = &rule.scope else { return None };
    if names.iter().any(|population| rule.is_about(population)) {
        return None;
    }
    let hint = match nearest(name, names.iter().copied()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("there are: {}", names.join(", ")),
    };
    Some(format!("no population is called '{name}'; {hint}"))
}

/// A rule for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose figure.
    pub scope: Scope,
    /// Which figure.
    pub figure: Figure,
    /// How it must stand to the limit.
    pub comparison: Comparison,
    /// In the smallest unit of the figure; see [`Unit::per_one`].
    limit: u64,
}

/// Whose figure a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every population: of latencies and recoveries the worst one's, of all else what they come to together.
    All,
    /// The population of this name.
    Population(String),
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Of the latencies of one kind.
    Latency(Kind, Statistic),
    /// The part of the arrivals that were answered wrongly, or whose connection failed under them.
    Errors,
    /// The part of the arrivals that were not answered within the request timeout.
    Timeouts,
    /// Connections that ended unannounced.
    Lost,
    /// Connections that could not be opened.
    Failed,
    /// Connections whose SYN was sent again, and attempts that had no answer to theirs.
    SynResent,
    /// From a drop on purpose until all connections were open again; the longest.
    Recovery,
    /// Replies per second of the measured window.
    CompletedPerS,
}

/// One figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Statistic {
    P50,
    P90,
    P95,
    P99,
    P99_9,
    P99_99,
    Max,
    Mean,
}

/// How a figure must stand to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    Greater,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// A part of 1.
    Fraction,
    /// A number of something.
    Count,
    /// Something per second.
    PerSecond,
}

impl Statistic {
    /// All of them, in display order.
    pub const ALL: [Self; 8] =
        [Self::P50, Self::P90, Self::P95, Self::P99, Self::P99_9, Self::P99_99, Self::Max, Self::Mean];

    const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::P99_9 => "p99.9",
            Self::P99_99 => "p99.99",
            Self::Max => "max",
            Self::Mean => "mean",
        }
    }

    /// 100 is the maximum; the mean is none.
    const fn percentile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(50.0),
            Self::P90 => Some(90.0),
            Self::P95 => Some(95.0),
            Self::P99 => Some(99.0),
            Self::P99_9 => Some(99.9),
            Self::P99_99 => Some(99.99),
            Self::Max => Some(100.0),
            Self::Mean => None,
        }
    }
}

impl Figure {
    /// Every figure there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = Kind::ALL
            .into_iter()
            .flat_map(|kind| Statistic::ALL.into_iter().map(move |statistic| Self::Latency(kind, statistic)));
        let others = [
            Self::Errors,
            Self::Timeouts,
            Self::Lost,
            Self::Failed,
            Self::SynResent,
            Self::Recovery,
            Self::CompletedPerS,
        ];
        latencies.chain(others)
    }

    /// What it is counted in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Latency(..) | Self::Recovery => Unit::Ns,
            Self::Errors | Self::Timeouts => Unit::Fraction,
            Self::Lost | Self::Failed | Self::SynResent => Unit::Count,
            Self::CompletedPerS => Unit::PerSecond,
        }
    }
}

impl fmt::Display for Figure {
    /// As it is written in a rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(kind, statistic) => write!(f, "{}.{}", kind.name(), statistic.name()),
            Self::Errors => f.write_str("errors"),
            Self::Timeouts => f.write_str("timeouts"),
            Self::Lost => f.write_str("lost"),
            Self::Failed => f.write_str("failed"),
            Self::SynResent => f.write_str("syn_resent"),
            Self::Recovery => f.write_str("recovery"),
            Self::CompletedPerS => f.write_str("completed_per_s"),
        }
    }
}

impl Comparison {
    const ALL: [Self; 5] = [Self::Less, Self::AtMost, Self::Equal, Self::AtLeast, Self::Greater];

    const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        }
    }

    /// Whether a figure that compares like this to the limit keeps the rule.
    const fn holds(self, figure_to_limit: Ordering) -> bool {
        match self {
            Self::Less => figure_to_limit.is_lt(),
            Self::AtMost => figure_to_limit.is_le(),
            Self::Equal => figure_to_limit.is_eq(),
            Self::AtLeast => figure_to_limit.is_ge(),
            Self::Greater => figure_to_limit.is_gt(),
        }
    }

    /// Which of two figures is the harder to keep the rule with.
    fn worse(self, one: f64, other: f64) -> Ordering {
        match self {
            Self::Less | Self::AtMost | Self::Equal => one.total_cmp(&other),
            Self::AtLeast | Self::Greater => other.total_cmp(&one),
        }
    }
}

impl Unit {
    /// How many of a limit's smallest unit make one: limits are whole numbers, so that a rule comes back as it was written.
    const fn per_one(self) -> f64 {
        match self {
            Self::Ns | Self::Count => 1.0,
            Self::Fraction => 1e9,
            Self::PerSecond => 1e3,
        }
    }

    /// A figure as people read it.
    pub fn show(self, figure: f64) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "figures are neither negative nor near 2^64"
        )]
        let whole = figure.round() as u64;
        match self {
            Self::Ns => Ns(whole).to_string(),
            // Percent would round what most limits are about to nothing.
            Self::Fraction if figure > 0.0 && figure < 1e-3 => format!("{:.4} %", figure * 100.0),
            Self::Fraction => Percent(figure).to_string(),
            Self::Count => Count(whole).to_string(),
            Self::PerSecond => format!("{}/s", Count(whole)),
        }
    }
}

impl fmt::Display for Rule {
    /// In full, in one spelling: [`Rule::from_str`](std::str::FromStr) reads the same rule again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => f.write_str("all.")?,
            Scope::Population(name) => write!(f, "{name}.")?,
        }
        write!(f, "{} {} ", self.figure, self.comparison.sign())?;
        match self.figure.unit() {
            Unit::Ns => {
                let (unit, decimals) = decimal::unit_of_ns(self.limit);
                write!(f, "{}{unit}", Decimal(self.limit, decimals))
            }
            Unit::Fraction => write!(f, "{}%", Decimal(self.limit, decimal::PERCENT_DECIMALS)),
            Unit::Count => write!(f, "{}", self.limit),
            Unit::PerSecond => write!(f, "{}", Decimal(self.limit, decimal::RATE_DECIMALS)),
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a run measured of one population.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether its arrivals had intended times of their own.
    pub is_open_loop: bool,
    /// Everything recorded in the measured window.
    pub total: &'a Recording,
    /// How long that was.
    pub measured_s: f64,
    /// Whether that is all there will be.
    pub is_over: bool,
}

/// What there is of a figure.
enum Found {
    Value(f64),
    /// It has no value before something has come to its end.
    NotOver,
    /// Why it is not known.
    Unknown(String),
}

/// One rule, held against a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Judgement {
    /// The rule, in its one spelling.
    pub rule: String,
    /// The figure that it is about; `None` when nothing was measured of it, and of a recovery that was not over.
    pub actual: Option<f64>,
    /// What the figure is counted in.
    pub unit: Unit,
    /// Whether the rule was kept; `None` when that was not judged.
    pub ok: Option<bool>,
    /// Why it was not judged.
    pub not_judged_because: Option<String>,
}

impl Judgement {
    /// The figure as people read it.
    pub fn shown(&self) -> String {
        match self.actual {
            Some(actual) => self.unit.show(actual),
            None if self.ok.is_some() => "not over".to_owned(),
            None => "-".to_owned(),
        }
    }
}

/// All rules of a run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every rule was kept, or there is none.
    Kept,
    /// At least one was not.
    Violated,
    /// None is known to be violated, and at least one could not be judged.
    NotJudged,
}

impl Standing {
    /// What the judgements come to.
    pub fn of(judgements: &[Judgement]) -> Self {
        let has = |ok| judgements.iter().any(|judgement| judgement.ok == ok);
        match (has(Some(false)), has(None)) {
            (true, _) => Self::Violated,
            (false, true) => Self::NotJudged,
            (false, false) => Self::Kept,
        }
    }
}

/// Holds every rule against a run.
pub fn judge(rules: &[Rule], is_valid: bool, populations: &[Measured<'_>]) -> Vec<Judgement> {
    let judgements = rules.iter().map(|rule| {
        let mut judgement = rule.judge(populations);
        if !is_valid {
            judgement.ok = None;
            judgement.not_judged_because = Some("the run is INVALID".to_owned());
        }
        judgement
    });
    judgements.collect()
}

impl Rule {
    /// Whether it is about a population of this name.
    pub fn is_about(&self, population: &str) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Population(name) => name == population,
        }
    }

    fn judge(&self, populations: &[Measured<'_>]) -> Judgement {
        let concerned = populations.iter().filter(|population| self.is_about(population.name));
        let concerned: Vec<&Measured<'_>> = concerned.collect();
        let sum = |count: fn(&Recording) -> u64| -> u64 { concerned.iter().map(|of| count(of.total)).sum() };
        let share = |count| match sum(|total| total.account.scheduled) {
            0 => Found::Unknown("not one request fell due".to_owned()),
            scheduled => Found::Value(sum(count) as f64 / scheduled as f64),
        };
        let found = match self.figure {
            Figure::Latency(kind, statistic) => return self.judge_latency(kind, statistic, &concerned),
            Figure::Errors => share(|total| total.account.errored),
            Figure::Timeouts => share(|total| total.account.timed_out),
            Figure::Lost => Found::Value(sum(|total| total.connections.lost) as f64),
            Figure::Failed => Found::Value(sum(|total| total.connections.failed) as f64),
            Figure::SynResent => syn_resent(&concerned),
            Figure::Recovery => recovery_ns(&concerned),
            Figure::CompletedPerS => Found::Value(concerned.iter().map(|of| of.completed_per_s()).sum()),
        };
        match found {
            Found::Value(actual) => self.judged(Some(actual), Ok(self.is_kept_by(actual))),
            // What never came about keeps no rule.
            Found::NotOver if concerned.iter().all(|of| of.is_over) => self.judged(None, Ok(false)),
            Found::NotOver => self.judged(None, Err("not over yet".to_owned())),
            Found::Unknown(why) => self.judged(None, Err(why)),
        }
    }

    /// By the worst population; but one that is known to violate the rule is enough, whatever is not known of others.
    fn judge_latency(&self, kind: Kind, statistic: Statistic, concerned: &[&Measured<'_>]) -> Judgement {
        let figures = concerned.iter().filter_map(|of| Some((of.figure(kind, statistic)?, *of)));
        let mut figures: Vec<(f64, &Measured<'_>)> = figures.collect();
        figures.sort_by(|(one, _), (other, _)| self.comparison.worse(*other, *one));
        let distrust = |of: &Measured<'_>| of.distrust(kind, statistic);
        let violation =
            figures.iter().find(|(figure, of)| !self.is_kept_by(*figure) && distrust(of).is_none());
        if let Some((actual, _)) = violation {
            return self.judged(Some(*actual), Ok(false));
        }
        let Some((worst, _)) = figures.first() else {
            let closed_loop = matches!(kind, Kind::Lag | Kind::Wait)
                && concerned.iter().all(|of| !of.is_open_loop)
                && !concerned.is_empty();
            let why = if closed_loop { "a closed loop has none" } else { "none was measured" };
            return self.judged(None, Err(format!("{}: {why}", kind.name())));
        };
        let why = figures.iter().find_map(|(_, of)| distrust(of));
        self.judged(Some(*worst), why.map_or(Ok(true), Err))
    }

    fn is_kept_by(&self, actual: f64) -> bool {
        let limit = self.limit as f64 / self.figure.unit().per_one();
        self.comparison.holds(actual.total_cmp(&limit))
    }

    fn judged(&self, actual: Option<f64>, ok: Result<bool, String>) -> Judgement {
        let (ok, not_judged_because) = match ok {
            Ok(ok) => (Some(ok), None),
            Err(why) => (None, Some(why)),
        };
        Judgement { rule: self.to_string(), actual, unit: self.figure.unit(), ok, not_judged_because }
    }
}

/// Nothing when connections were opened and the kernel told of none of them.
fn syn_resent(concerned: &[&Measured<'_>]) -> Found {
    let is_untold =
        |of: &&Measured<'_>| of.total.connections.opened > 0 && of.total.handshakes.established == 0;
    if concerned.iter().any(is_untold) {
        return Found::Unknown("the kernel tells nothing of handshakes".to_owned());
    }
    let handshakes = concerned.iter().map(|of| &of.total.handshakes);
    Found::Value(handshakes.map(|it| it.syn_retransmitted + it.unanswered).sum::<u64>() as f64)
}

/// The longest.
fn recovery_ns(concerned: &[&Measured<'_>]) -> Found {
    let drops: Vec<_> = concerned.iter().flat_map(|of| of.total.drops.values()).collect();
    if drops.iter().any(|drop| drop.back < drop.dropped) {
        return Found::NotOver;
    }
    match drops.iter().map(|drop| drop.last_back_ns).max() {
        Some(longest_ns) => Found::Value(longest_ns as f64),
        None => Found::Unknown("no connection was dropped on purpose".to_owned()),
    }
}

impl Measured<'_> {
    fn completed_per_s(&self) -> f64 {
        if self.measured_s > 0.0 { self.total.completed_in_window as f64 / self.measured_s } else { 0.0 }
    }

    fn figure(&self, kind: Kind, statistic: Statistic) -> Option<f64> {
        let histogram = self.total.histogram(kind);
        if histogram.is_empty() {
            return None;
        }
        Some(match statistic.percentile() {
            None => histogram.mean(),
            Some(100.0..) => histogram.max() as f64,
            Some(percentile) => histogram.value_at_quantile(percentile / 100.0) as f64,
        })
    }

    /// Why a figure is not the target's alone, if so: only what contains the generator's own lag is in doubt, and only in
    /// an open loop is that known.
    fn distrust(&self, kind: Kind, statistic: Statistic) -> Option<String> {
        if !self.is_open_loop || !matches!(kind, Kind::Response | Kind::Service) {
            return None;
        }
        let Some(percentile) = statistic.percentile() else {
            let [lag_ns, of_ns] = [Kind::Lag, kind].map(|kind| self.total.histogram(kind).mean());
            let is_small = lag_ns <= LAG_FLOOR_NS as f64 || lag_ns <= of_ns * verdict::LAG_FRACTION_MAX;
            let why = || "the generator's own lag is more than a tenth of the mean".to_owned();
            return (!is_small).then(why);
        };
        match verdict::trust_limit(self.total) {
            Some(limit) if percentile <= limit => None,
            Some(limit) => Some(format!("the run is trusted only up to {}", Percentile(limit))),
            None => Some("the run is trusted nowhere".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Dropped;

    const MS: u64 = 1_000_000;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    /// 1000 requests, answered in 1 ms each, 20 of them taken up 200 us late and answered in 1.2 ms: trusted up to p95.
    fn recording() -> Recording {
        let mut total = Recording::new();
        for index in 0..1000 {
            let late_ns = if index < 20 { 200_000 } else { 1_000 };
            total.record(Kind::Response, MS + late_ns);
            total.record(Kind::Service, MS);
            total.record(Kind::Lag, late_ns);
            total.record(Kind::Wait, 0);
        }
        total.account.scheduled = 1000;
        total.account.completed = 990;
        total.account.errored = 8;
        total.account.timed_out = 2;
        total.completed_in_window = 990;
        total.connections.lost = 1;
        total.handshakes.syn_retransmitted = 3;
        total.handshakes.unanswered = 2;
        total
    }

    fn measured<'a>(name: &'a str, total: &'a Recording) -> Measured<'a> {
        Measured { name, is_open_loop: true, total, measured_s: 2.0, is_over: true }
    }

    fn ok(text: &str, populations: &[Measured<'_>]) -> Option<bool> {
        let [judgement] = &judge(&[rule(text)], true, populations)[..] else {
            panic!("one rule, one judgement")
        };
        assert_eq!(judgement.ok.is_none(), judgement.not_judged_because.is_some(), "{judgement:?}");
        judgement.ok
    }

    #[test]
    fn each_figure_is_the_one_of_its_name() {
        let total = recording();
        let of = [measured("main", &total)];
        for (text, expected) in [
            ("main.response.p50 < 1.01ms", true),
            ("main.response.p50 < 1ms", false),
            ("response.p95 <= 1.1ms", true),
            ("all.lag.max >= 200us", true),
            ("all.lag.p99.9 < 100us", false),
            ("errors <= 0.8%", true),
            ("errors < 0.8%", false),
            ("errors == 0.008", true),
            ("timeouts <= 0.2%", true),
            ("timeouts < 0.2%", false),
            ("lost == 1", true),
            ("lost == 0", false),
            ("failed == 0", true),
            ("syn_resent == 5", true),
            ("syn_resent <= 4", false),
            ("completed_per_s >= 495", true),
            ("completed_per_s > 495", false),
        ] {
            assert_eq!(ok(text, &of), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_recovery_is_the_longest_and_is_not_kept_before_it_is_over() {
        let mut total = recording();
        assert_eq!(ok("recovery < 3600s", &[measured("main", &total)]), None);
        let back = Dropped { dropped: 3, back: 3, last_back_ns: 70_000 * MS };
        total.drops = [(0, Dropped { last_back_ns: MS, ..back }), (1, back)].into();
        let of = [measured("main", &total)];
        assert_eq!((ok("recovery <= 70s", &of), ok("main.recovery < 70s", &of)), (Some(true), Some(false)));
        let quiet = recording();
        assert_eq!(ok("recovery <= 70s", &[of[0], measured("quiet", &quiet)]), Some(true));
        total.drops.insert(2, Dropped { back: 2, ..back });
        let of = [measured("main", &total)];
        for text in ["recovery < 3600s", "recovery > 1s"] {
            let told = &judge(&[rule(text)], true, &of)[0];
            assert_eq!((told.ok, told.shown().as_str()), (Some(false), "not over"), "{text}");
            assert_eq!(ok(text, &[Measured { is_over: false, ..of[0] }]), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_said_of_handshakes_that_the_kernel_did_not_tell_of() {
        let mut total = recording();
        total.connections.opened = 1;
        assert_eq!(ok("syn_resent == 5", &[measured("main", &total)]), None);
        total.handshakes.established = 1;
        assert_eq!(ok("syn_resent == 5", &[measured("main", &total)]), Some(true));
    }

    #[test]
    fn what_lies_above_the_limit_of_trust_is_not_judged() {
        let total = recording();
        let of = [measured("main", &total)];
        assert_eq!(verdict::trust_limit(&total), Some(95.0));
        assert_eq!(ok("response.p95 < 2ms", &of), Some(true));
        for text in ["response.p99 < 2ms", "response.p99 < 1us", "service.max < 2ms"] {
            assert_eq!(ok(text, &of), None, "{text}");
        }
        // The generator's lag is in neither of them, and 5 us at the mean is little.
        assert_eq!(ok("lag.p99.99 < 1s", &of), Some(true));
        assert_eq!(ok("wait.max < 1s", &of), Some(true));
        assert_eq!(ok("response.mean < 2ms", &of), Some(true));
        // A closed loop has no lag to judge by.
        let closed = [Measured { is_open_loop: false, ..of[0] }];
        assert_eq!(ok("response.max < 2ms", &closed), Some(true));
    }

    #[test]
    fn a_mean_that_the_generator_had_a_part_in_is_not_judged() {
        let mut total = Recording::new();
        total.record(Kind::Response, MS);
        total.record(Kind::Lag, 200_000);
        assert_eq!(ok("response.mean < 1s", &[measured("main", &total)]), None);
    }

    #[test]
    fn nothing_measured_is_not_judged() {
        let mut empty = Recording::new();
        for text in ["response.p50 < 1s", "errors == 0", "connect.max < 1s"] {
            assert_eq!(ok(text, &[measured("main", &empty)]), None, "{text}");
        }
        empty.record(Kind::Response, 1);
        let closed = Measured { is_open_loop: false, ..measured("main", &empty) };
        let told = judge(&[rule("lag.p50 < 1s")], true, &[closed]);
        assert_eq!(told[0].not_judged_because.as_deref(), Some("lag: a closed loop has none"));
    }

    #[test]
    fn an_invalid_run_keeps_no_rule_and_violates_none() {
        let total = recording();
        for text in ["lost == 0", "lost == 1", "response.p50 < 1s"] {
            let told = &judge(&[rule(text)], false, &[measured("main", &total)])[0];
            assert_eq!((told.ok, told.not_judged_because.as_deref()), (None, Some("the run is INVALID")));
            assert!(told.actual.is_some(), "the figure is told all the same: {told:?}");
        }
    }

    #[test]
    fn of_all_populations_the_worst_latency_counts_and_the_sum_of_all_else() {
        let (slow, mut fast, idle) = (recording(), Recording::new(), Recording::new());
        for _ in 0..100 {
            fast.record(Kind::Response, 1000);
            fast.record(Kind::Lag, 10);
        }
        fast.account.scheduled = 1000;
        fast.connections.lost = 2;
        let of = [measured("slow", &slow), measured("fast", &fast), measured("idle", &idle)];
        assert_eq!(ok("all.response.p50 < 100us", &of), Some(false));
        assert_eq!(ok("fast.response.p50 < 100us", &of), Some(true));
        assert_eq!(ok("all.response.p50 > 100us", &of), Some(false));
        assert_eq!(ok("all.lost == 3", &of), Some(true));
        assert_eq!(ok("all.errors == 0.4%", &of), Some(true));
        // Of the slow one p99 is not known; that does not save the rule from the fast one, nor the fast one from it.
        assert_eq!(ok("all.response.p99 < 500ns", &of), Some(false));
        assert_eq!(ok("all.response.p99 < 1s", &of), None);
    }

    #[test]
    fn rules_together_stand_as_the_worst_of_them() {
        let with = |oks: &[Option<bool>]| {
            let judgements =
                oks.iter().map(|&ok| Judgement { ok, ..rule("lost == 0").judged(None, Ok(true)) });
            Standing::of(&judgements.collect::<Vec<_>>())
        };
        assert_eq!(with(&[]), Standing::Kept);
        assert_eq!(with(&[Some(true), Some(true)]), Standing::Kept);
        assert_eq!(with(&[Some(true), None]), Standing::NotJudged);
        assert_eq!(with(&[None, Some(false)]), Standing::Violated);
    }

    #[test]
    fn figures_have_their_unit() {
        let shown = [
            Unit::Ns.show(412_000.4),
            Unit::Fraction.show(0.0),
            Unit::Fraction.show(0.000_05),
            Unit::Fraction.show(0.25),
            Unit::Count.show(12_345.0),
            Unit::PerSecond.show(1234.5),
        ];
        assert_eq!(shown, ["412 us", "0.00 %", "0.0050 %", "25.0 %", "12,345", "1,235/s"]);
    }
}
