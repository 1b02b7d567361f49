//! What took the CPU away from a running load generator, second by second: the hypervisor, which gave it to other machines, or
//! other programs of this one.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tidemark_host::proc::schedstat::{self, Schedstat};
use tidemark_host::proc::stat;

/// How the names of the load generator's worker threads begin. Its other threads have the CPU only when these do not want it.
const WORKER_THREADS: &str = "worker-";

/// Counters at one moment, since boot or since a thread's start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When.
    pub at: SystemTime,
    /// Time that the hypervisor gave to others, of the CPU that matters, or of all of them.
    pub stolen: Duration,
    /// Time that the workers were ready to run and had no CPU.
    pub waited: Duration,
    /// Time that the load generator's other threads ran. So much of the wait is its own doing and no disturbance.
    pub own: Duration,
}

impl Reading {
    /// Reads the counters of a running load generator; `cpu` is the one that it is pinned to.
    ///
    /// # Errors
    /// When they cannot be read, as when it has ended.
    pub fn take(pid: u32, cpu: Option<usize>) -> io::Result<Self> {
        let stolen_ticks = stat::read()?
            .iter()
            .filter(|times| cpu.is_none_or(|cpu| cpu == times.cpu))
            .map(|times| times.steal)
            .sum::<u64>();
        let (mut waited_ns, mut own_ns, mut workers) = (0, 0, 0);
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let Some((is_worker, account)) = thread(&entry?.path())? else { continue };
            if is_worker {
                workers += 1;
                waited_ns += account.wait_ns;
            } else {
                own_ns += account.run_ns;
            }
        }
        if workers == 0 {
            return Err(io::Error::new(ErrorKind::NotFound, "the load generator has no worker thread"));
        }
        Ok(Self {
            at: SystemTime::now(),
            stolen: Duration::from_secs_f64(stolen_ticks as f64 / stat::ticks_per_second() as f64),
            waited: Duration::from_nanos(waited_ns),
            own: Duration::from_nanos(own_ns),
        })
    }
}

/// Whether a thread is a worker, and its account; `None` when it has ended meanwhile.
fn thread(path: &Path) -> io::Result<Option<(bool, Schedstat)>> {
    let read = |name: &str| fs::read_to_string(path.join(name));
    match read("comm").and_then(|name| Ok((name, read("schedstat")?))) {
        Ok((name, text)) => Ok(Some((name.starts_with(WORKER_THREADS), schedstat::parse(&text)?))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // ESRCH: it ended between being opened and being read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What others took in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Taken {
    /// ms that the hypervisor gave to others.
    pub stolen_ms: f64,
    /// ms that workers waited for a CPU while others than the load generator had it.
    pub waited_ms: f64,
}

/// What others took in each second from `begin` on. What lies between two readings counts in every second that it
/// reaches into. A second that is not between readings from end to end is not known.
pub fn by_second(readings: &[Reading], begin: SystemTime, seconds: usize) -> Vec<Option<Taken>> {
    (0..seconds)
        .map(|second| {
            let from = begin + Duration::from_secs(second as u64);
            within(readings, from, from + Duration::from_secs(1))
        })
        .collect()
}

fn within(readings: &[Reading], from: SystemTime, until: SystemTime) -> Option<Taken> {
    let is_known = readings.first().is_some_and(|first| first.at <= from)
        && readings.last().is_some_and(|last| last.at >= until);
    let mut taken = Taken::default();
    for pair in readings.windows(2) {
        let (then, now) = (&pair[0], &pair[1]);
        if now.at <= from || then.at >= until {
            continue;
        }
        let since = |of: fn(&Reading) -> Duration| of(now).saturating_sub(of(then));
        let by_others = since(|reading| reading.waited).saturating_sub(since(|reading| reading.own));
        taken.stolen_ms += since(|reading| reading.stolen).as_secs_f64() * 1e3;
        taken.waited_ms += by_others.as_secs_f64() * 1e3;
    }
    is_known.then_some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: SystemTime = SystemTime::UNIX_EPOCH;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn reading(at_ms: u64, stolen_ms: u64, waited_ms: u64, own_ms: u64) -> Reading {
        Reading { at: BEGIN + ms(at_ms), stolen: ms(stolen_ms), waited: ms(waited_ms), own: ms(own_ms) }
    }

    #[test]
    fn what_is_taken_counts_in_the_second_that_it_was_taken_in() {
        let readings = [
            reading(0, 100, 5, 0),
            reading(500, 100, 5, 0),
            reading(1000, 110, 5, 0),
            reading(1500, 110, 5, 0),
            reading(2000, 110, 8, 0),
            reading(3000, 110, 8, 0),
        ];
        let expected = [(10.0, 0.0), (0.0, 3.0), (0.0, 0.0)]
            .map(|(stolen_ms, waited_ms)| Some(Taken { stolen_ms, waited_ms }));
        assert_eq!(by_second(&readings, BEGIN, 3), expected);
    }

    #[test]
    fn what_may_be_of_two_seconds_counts_in_both() {
        let readings =
            [reading(0, 0, 0, 0), reading(900, 0, 0, 0), reading(1100, 20, 0, 0), reading(2000, 20, 0, 0)];
        let taken = Some(Taken { stolen_ms: 20.0, waited_ms: 0.0 });
        assert_eq!(by_second(&readings, BEGIN, 2), [taken, taken]);
    }

    #[test]
    fn waiting_for_itself_is_the_load_generators_own_doing() {
        let readings = [reading(0, 0, 0, 0), reading(1000, 0, 4, 6), reading(2000, 0, 14, 9)];
        let waited: Vec<f64> =
            by_second(&readings, BEGIN, 2).iter().map(|taken| taken.unwrap().waited_ms).collect();
        assert_eq!(waited, [0.0, 7.0]);
    }

    #[test]
    fn a_second_without_readings_around_it_is_not_known() {
        let readings = [reading(500, 0, 0, 0), reading(2100, 0, 0, 0), reading(2900, 0, 0, 0)];
        let known: Vec<bool> = by_second(&readings, BEGIN, 3).iter().map(Option::is_some).collect();
        assert_eq!(known, [false, true, false]);
        assert_eq!(by_second(&[], BEGIN, 1), [None]);
    }

    #[test]
    fn workers_are_told_by_their_name() {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::Builder::new().name("worker-0".to_owned()).spawn(move || {
            ready.send(()).unwrap();
            let _ = ends.recv();
        });
        is_ready.recv().unwrap();
        let reading = Reading::take(std::process::id(), None).unwrap();
        assert!(reading.own > Duration::ZERO);
        drop(end);
        worker.unwrap().join().unwrap();
        let ended = Reading::take(u32::MAX, None).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::NotFound);
    }
}
