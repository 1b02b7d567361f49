//! Why a generator was late: CPU time that the host gave to others, CPU time that other threads had, or its own work.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BUSY_FRACTION_MAX;
use crate::observe::{Observed, run_queue_fraction};
use crate::report::units::Percent;
use crate::worker::WorkerStats;

/// Stolen or waited-for CPU beyond this part is named as a cause of lateness.
const CAUSE_FRACTION_MIN: f64 = 0.001;

/// What most of the lateness is put down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The hypervisor ran other machines.
    Stolen,
    /// The kernel ran other threads.
    RunQueue,
    /// Neither: the generator itself was busy, or slow to wake up.
    OwnWork,
}

/// Where a late generator's time went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lateness {
    /// What most of it is put down to.
    pub cause: Cause,
    /// The part of this machine's CPU time that the hypervisor gave to others (`/proc/stat`).
    pub stolen_fraction: f64,
    /// The part of its time that a worker was ready to run and had no CPU (`schedstat`), of the worker that had it worst.
    pub run_queue_fraction: f64,
    /// The part of its time that a worker was at work, less what was taken from it, of the worker that had most to do.
    pub own_fraction: f64,
}

impl Lateness {
    /// Explains the lateness of these workers.
    pub fn of(workers: &[WorkerStats], observed: &Observed) -> Self {
        let stolen = observed.steal_fraction;
        let waited = |worker: &WorkerStats| run_queue_fraction(&worker.sched, worker.elapsed_ns);
        let own = |worker: &WorkerStats| {
            let at_work = worker.busy_ns as f64 / worker.elapsed_ns.max(1) as f64;
            // What was taken away was taken in the midst of work, where there is a lot of it.
            (at_work - waited(worker) - stolen).max(0.0)
        };
        let worst = |fraction: &dyn Fn(&WorkerStats) -> f64| workers.iter().map(fraction).fold(0.0, f64::max);
        let (waited, own) = (worst(&waited), worst(&own));
        let cause = match stolen.max(waited) {
            _ if own >= BUSY_FRACTION_MAX => Cause::OwnWork,
            ..CAUSE_FRACTION_MIN => Cause::OwnWork,
            _ if stolen > waited => Cause::Stolen,
            _ => Cause::RunQueue,
        };
        Self { cause, stolen_fraction: stolen, run_queue_fraction: waited, own_fraction: own }
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stolen_fraction >= CAUSE_FRACTION_MIN {
            write!(f, "the host took away {} of the CPU time; ", Percent(self.stolen_fraction))?;
        }
        if self.run_queue_fraction >= CAUSE_FRACTION_MIN {
            let waited = Percent(self.run_queue_fraction);
            write!(f, "a worker waited {waited} of its time for a CPU that others used; ")?;
        }
        let own = Percent(self.own_fraction);
        match self.cause {
            Cause::Stolen => f.write_str("measure when the host is quieter"),
            Cause::RunQueue => f.write_str("give the workers CPUs that nothing else uses (--pin)"),
            Cause::OwnWork if self.own_fraction >= BUSY_FRACTION_MAX => {
                write!(f, "a worker was at work {own} of its time: use more workers or a lower rate")
            }
            Cause::OwnWork => {
                write!(f, "nothing else had its CPU: its own work ({own} of its time), or a slow wake-up")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_host::proc::schedstat::Schedstat;

    use super::*;

    const MS: u64 = 1_000_000;

    fn worker(busy_ms: u64, waited_ms: u64) -> WorkerStats {
        let sched = Schedstat { run_ns: 1000 * MS, wait_ns: waited_ms * MS, slices: 1 };
        WorkerStats { elapsed_ns: 1000 * MS, busy_ns: busy_ms * MS, sched }
    }

    fn lateness(steal_fraction: f64, workers: &[WorkerStats]) -> Lateness {
        Lateness::of(workers, &Observed { steal_fraction, ..Observed::default() })
    }

    #[test]
    fn the_cause_is_what_took_most() {
        assert_eq!(lateness(0.05, &[worker(300, 10)]).cause, Cause::Stolen);
        assert_eq!(lateness(0.01, &[worker(300, 50)]).cause, Cause::RunQueue);
        assert_eq!(lateness(0.0, &[worker(300, 0)]).cause, Cause::OwnWork);
        assert_eq!(lateness(0.0, &[]).cause, Cause::OwnWork);
    }

    #[test]
    fn work_is_no_cause_while_its_cpu_was_taken_from_it() {
        // At work all the time, by the clock; three quarters of it others had the CPU.
        let starved = lateness(0.0, &[worker(1000, 750)]);
        assert_eq!(starved.cause, Cause::RunQueue);
        assert!((starved.own_fraction - 0.25).abs() < 1e-9);
        assert_eq!(lateness(0.02, &[worker(1000, 20)]).cause, Cause::OwnWork);
    }

    #[test]
    fn it_is_told_with_its_figures_and_what_to_do() {
        let told = [
            lateness(0.02, &[worker(950, 10), worker(100, 5)]),
            lateness(0.02, &[worker(300, 10)]),
            lateness(0.0, &[worker(1000, 750)]),
            lateness(0.0, &[worker(412, 0)]),
        ];
        insta::assert_snapshot!(told.map(|lateness| lateness.to_string()).join("\n"));
    }
}
