//! Tier A: what can be counted, and comes out the same each time.
//!
//! Every figure is a slope between two amounts of work, so that what a program does anyway (start, stop, a look at the clock every
//! second) is not in it. Base and head are counted one after the other, in the same surroundings, and held against
//! [`budgets`]. What is above its limit is counted again, and the lowest of each build's figures stands: whatever disturbs a count
//! adds to it, so that this hides no regression and spares a false alarm.

pub mod budgets;
pub mod callgrind;
pub mod counting;
pub mod quantity;
pub mod subject;

use std::collections::BTreeMap;
use std::path::Path;

use self::budgets::Budgets;
use self::quantity::Quantity;
use self::subject::Subject;
use super::decision::Verdict;
use super::report::{Count, Counts, NotCounted, Part};
use crate::error::MeasureError;
use crate::interrupt::Interrupt;
use crate::statistics::Side;

/// How often a figure that is above its limit is counted in all.
const COUNTED_MAX: u32 = 3;

/// What one probe of one build yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Each quantity, per unit of work.
    pub values: BTreeMap<Quantity, f64>,
    /// What a quantity is made up of, such as system calls by name.
    pub parts: BTreeMap<Quantity, BTreeMap<String, f64>>,
}

impl Figures {
    /// Of two counts of the same, the lower ones.
    fn lower(&mut self, other: Self) {
        for (quantity, value) in other.values {
            let lowest = self.values.entry(quantity).or_insert(value);
            if value < *lowest {
                *lowest = value;
                if let Some(parts) = other.parts.get(&quantity) {
                    self.parts.insert(quantity, parts.clone());
                }
            }
        }
    }
}

/// What is needed to count.
#[derive(Debug)]
pub struct Bench<'a> {
    /// What head is held against.
    pub base: Subject,
    /// What is judged.
    pub head: Subject,
    /// How much more head may need.
    pub budgets: &'a Budgets,
    /// A directory for what tools write.
    pub scratch: &'a Path,
    /// Ctrl-C and SIGTERM.
    pub interrupt: &'a Interrupt,
}

/// One way of counting. Each starts programs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Raw echo in the server, under callgrind.
    Echo,
    /// HTTP in the server, under callgrind.
    Http,
    /// The load generator's core, under callgrind.
    Loadgen,
    /// The server that counts its allocations.
    Allocations,
    /// Idle connections in the server.
    Memory,
}

impl Probe {
    const ALL: [Self; 5] = [Self::Echo, Self::Http, Self::Loadgen, Self::Allocations, Self::Memory];

    const fn what(self) -> &'static str {
        match self {
            Self::Echo => "instructions and system calls per echo",
            Self::Http => "instructions and system calls per HTTP request",
            Self::Loadgen => "instructions per request of the load generator",
            Self::Allocations => "allocations per request, heap per idle connection",
            Self::Memory => "private memory per idle connection",
        }
    }

    /// Why it cannot be done with these two; none when it can.
    fn obstacle(self, base: &Subject, head: &Subject) -> Option<String> {
        let of = |what: fn(&Subject) -> bool| match (what(base), what(head)) {
            (true, true) => None,
            (false, true) => Some("base"),
            (true, false) => Some("head"),
            (false, false) => Some("neither build"),
        };
        let lacks = |program: &str, who: &str| match who {
            "neither build" => format!("neither build has {program}"),
            who => format!("{who} has no {program}"),
        };
        let valgrind = || {
            (!callgrind::is_installed())
                .then(|| "valgrind is not installed (apt-get install valgrind)".to_owned())
        };
        match self {
            Self::Echo | Self::Http => valgrind(),
            Self::Loadgen => of(|subject| subject.build.hot_loop.is_some())
                .map(|who| lacks("hot-loop", who))
                .or_else(valgrind),
            Self::Allocations => of(|subject| subject.build.server_counting.is_some())
                .map(|who| lacks("tidemark-server-counting", who)),
            Self::Memory => None,
        }
    }

    fn count(self, subject: &Subject, bench: &Bench<'_>) -> Result<Figures, MeasureError> {
        match self {
            Self::Echo => callgrind::echo(subject, bench.scratch, bench.interrupt),
            Self::Http => callgrind::http(subject, bench.scratch, bench.interrupt),
            Self::Loadgen => callgrind::loadgen(subject, bench.scratch, bench.interrupt),
            Self::Allocations => counting::allocations(subject, bench.interrupt),
            Self::Memory => counting::private_memory(subject, bench.interrupt),
        }
    }
}

impl Bench<'_> {
    /// Counts and judges.
    ///
    /// # Errors
    /// When a program or a tool fails. That is never a verdict.
    pub fn count(&self, mut say: impl FnMut(&str)) -> Result<Counts, MeasureError> {
        let mut counts = Counts::default();
        for probe in Probe::ALL {
            if let Some(why) = probe.obstacle(&self.base, &self.head) {
                say(&format!("not counted: {}: {why}", probe.what()));
                counts.not_counted.push(NotCounted { what: probe.what().to_owned(), why });
                continue;
            }
            say(&format!("counting {}", probe.what()));
            counts.rows.extend(self.judged(probe)?);
        }
        Ok(counts)
    }

    fn judged(&self, probe: Probe) -> Result<Vec<Count>, MeasureError> {
        let count = |side, subject| {
            probe
                .count(subject, self)
                .map_err(|error| error.in_slot(&format!("counting {}", probe.what()), side))
        };
        let (mut base, mut head) = (count(Side::Base, &self.base)?, count(Side::Head, &self.head)?);
        let mut rows = rows(&base, &head, self.budgets);
        for _ in 1..COUNTED_MAX {
            if rows.iter().all(|row| row.verdict == Verdict::Pass) {
                break;
            }
            base.lower(count(Side::Base, &self.base)?);
            head.lower(count(Side::Head, &self.head)?);
            rows = self::rows(&base, &head, self.budgets);
        }
        Ok(rows)
    }
}

/// Head against base. Pure.
fn rows(base: &Figures, head: &Figures, budgets: &Budgets) -> Vec<Count> {
    let row = |(&quantity, &head_value): (&Quantity, &f64)| {
        let base_value = *base.values.get(&quantity)?;
        let limit = budgets.of(quantity).limit(base_value);
        Some(Count {
            name: quantity.name().to_owned(),
            base: base_value,
            head: head_value,
            limit,
            verdict: if head_value <= limit { Verdict::Pass } else { Verdict::Fail },
            parts: parts(base.parts.get(&quantity), head.parts.get(&quantity)),
        })
    };
    head.values.iter().filter_map(row).collect()
}

/// What the two are made up of, side by side; what only one has is zero in the other.
fn parts(base: Option<&BTreeMap<String, f64>>, head: Option<&BTreeMap<String, f64>>) -> Vec<Part> {
    let mut parts: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (name, &value) in base.into_iter().flatten() {
        parts.entry(name).or_default().0 = value;
    }
    for (name, &value) in head.into_iter().flatten() {
        parts.entry(name).or_default().1 = value;
    }
    parts.into_iter().map(|(name, (base, head))| Part { name: name.to_owned(), base, head }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(quantity: Quantity, value: f64, parts: &[(&str, f64)]) -> Figures {
        Figures {
            values: BTreeMap::from([(quantity, value)]),
            parts: BTreeMap::from([(
                quantity,
                parts.iter().map(|&(name, count)| (name.to_owned(), count)).collect(),
            )]),
        }
    }

    #[test]
    fn one_system_call_more_fails_and_another_one_instead_does_not() {
        let budgets = Budgets::built_in();
        let base =
            figures(Quantity::SyscallsPerEcho, 3.0, &[("epoll_wait", 1.0), ("read", 1.0), ("write", 1.0)]);
        let more =
            figures(Quantity::SyscallsPerEcho, 4.0, &[("epoll_wait", 1.0), ("read", 2.0), ("write", 1.0)]);
        let other = figures(
            Quantity::SyscallsPerEcho,
            3.0,
            &[("epoll_wait", 1.0), ("recvfrom", 1.0), ("write", 1.0)],
        );
        assert_eq!(rows(&base, &more, &budgets)[0].verdict, Verdict::Fail);
        let row = rows(&base, &other, &budgets).remove(0);
        assert_eq!(row.verdict, Verdict::Pass);
        let shown: Vec<_> = row.parts.iter().map(|part| (part.name.as_str(), part.base, part.head)).collect();
        assert_eq!(
            shown,
            [("epoll_wait", 1.0, 1.0), ("read", 1.0, 0.0), ("recvfrom", 0.0, 1.0), ("write", 1.0, 1.0)]
        );
    }

    #[test]
    fn of_two_counts_the_lower_stands_with_its_parts() {
        let mut figures_of_first = figures(Quantity::SyscallsPerEcho, 3.1, &[("read", 1.1)]);
        figures_of_first.lower(figures(Quantity::SyscallsPerEcho, 3.0, &[("read", 1.0)]));
        figures_of_first.lower(figures(Quantity::SyscallsPerEcho, 3.2, &[("read", 1.2)]));
        assert_eq!(figures_of_first, figures(Quantity::SyscallsPerEcho, 3.0, &[("read", 1.0)]));
    }
}
