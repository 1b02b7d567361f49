//! CPU affinity of a thread.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::thread::{CpuSet as KernelCpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// The kernel interface used here has a mask of this many CPUs, so no higher id can be asked for.
const CPUS_MAX: usize = KernelCpuSet::MAX_CPU;

/// CPU ids, ascending, without repetition, never empty. Written as the kernel does: `0,2-3`. Serialized as that string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CpuSet(Vec<usize>);

/// Why a list of CPUs was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuSetError {
    /// Nothing was named.
    #[error("no CPU named: write a list such as 0,2-3")]
    Empty,
    /// A part is neither an id nor a range of ids.
    #[error("{part:?} is neither a CPU id nor a range: write a list such as 0,2-3")]
    NotAnId {
        /// The offending part of the list.
        part: String,
    },
    /// A range runs from high to low.
    #[error("the range {first}-{last} runs backwards")]
    Backwards {
        /// Where the range starts.
        first: usize,
        /// Where it ends.
        last: usize,
    },
    /// An id above what the kernel's mask holds.
    #[error("CPU {cpu} is out of range: ids go up to {}", CPUS_MAX - 1)]
    TooHigh {
        /// The offending id.
        cpu: usize,
    },
}

impl CpuSet {
    /// The set of these CPUs, in whatever order and however often they are named.
    ///
    /// # Errors
    /// When none is named, or one is out of the range that the kernel interface has.
    pub fn new(cpus: impl IntoIterator<Item = usize>) -> Result<Self, CpuSetError> {
        let mut mask = [false; CPUS_MAX];
        for cpu in cpus {
            *mask.get_mut(cpu).ok_or(CpuSetError::TooHigh { cpu })? = true;
        }
        let cpus: Vec<usize> = (0..CPUS_MAX).filter(|&cpu| mask[cpu]).collect();
        if cpus.is_empty() { Err(CpuSetError::Empty) } else { Ok(Self(cpus)) }
    }

    /// How many CPUs; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The ids, ascending.
    pub fn ids(&self) -> &[usize] {
        &self.0
    }

    /// Whether the CPU is in the set.
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.binary_search(&cpu).is_ok()
    }

    /// The one CPU for the worker with this index: workers take the CPUs in turn.
    #[must_use]
    pub fn for_worker(&self, index: usize) -> Self {
        Self(vec![self.0[index % self.0.len()]])
    }

    fn to_kernel(&self) -> KernelCpuSet {
        let mut mask = KernelCpuSet::new();
        for &cpu in &self.0 {
            mask.set(cpu);
        }
        mask
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.0.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [only] => write!(f, "{comma}{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(CpuSetError::Empty);
        }
        let mut cpus = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = parse_range(part)?;
            cpus.extend(first..=last);
            // Repeating a long range must not make the list grow without end.
            cpus.sort_unstable();
            cpus.dedup();
        }
        Self::new(cpus)
    }
}

/// One part of the list: `2` or `2-5`, both ends below [`CPUS_MAX`].
fn parse_range(part: &str) -> Result<(usize, usize), CpuSetError> {
    let id = |text: &str| {
        // `usize::from_str` would let a sign through.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CpuSetError::NotAnId { part: part.to_owned() });
        }
        // More digits than a usize holds are too high all the same.
        let cpu = text.parse().unwrap_or(usize::MAX);
        if cpu < CPUS_MAX { Ok(cpu) } else { Err(CpuSetError::TooHigh { cpu }) }
    };
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (id(first.trim())?, id(last.trim())?);
    if first > last { Err(CpuSetError::Backwards { first, last }) } else { Ok((first, last)) }
}

impl From<CpuSet> for String {
    fn from(cpus: CpuSet) -> Self {
        cpus.to_string()
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuSetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The CPUs on which the calling thread may run.
///
/// # Errors
/// `EINVAL` on a kernel that is configured for more CPUs than the mask used here holds.
pub fn allowed() -> io::Result<CpuSet> {
    let mask = sched_getaffinity(None)?;
    CpuSet::new((0..CPUS_MAX).filter(|&cpu| mask.is_set(cpu))).map_err(io::Error::other)
}

/// Lets the calling thread run on these CPUs only. Threads that it starts afterwards inherit that.
///
/// # Errors
/// When not all of them can be used (absent, offline, or outside the container's cpuset). The affinity is then as it
/// was: the kernel would silently run on what remains.
pub fn pin(cpus: &CpuSet) -> io::Result<()> {
    let before = sched_getaffinity(None)?;
    let refused = |usable: &str| {
        let message = format!("cannot run on CPUs {cpus}: {usable}");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    match sched_setaffinity(None, &cpus.to_kernel()) {
        Ok(()) => {}
        Err(rustix::io::Errno::INVAL) => return Err(refused("none of them can be used here")),
        Err(error) => return Err(error.into()),
    }
    let now = allowed()?;
    if now == *cpus {
        return Ok(());
    }
    sched_setaffinity(None, &before)?;
    Err(refused(&format!("of these only {now} can be used here")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_lists_as_the_kernel_does() {
        for (text, ids, canonical) in [
            ("0", &[0][..], "0"),
            ("0,2-3", &[0, 2, 3], "0,2-3"),
            (" 3 , 1 - 2 ", &[1, 2, 3], "1-3"),
            ("5,5,4-5", &[4, 5], "4-5"),
            ("1023", &[1023], "1023"),
        ] {
            let cpus: CpuSet = text.parse().expect(text);
            assert_eq!(cpus.ids(), ids, "{text}");
            assert_eq!(cpus.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_list_and_says_why() {
        for (text, message) in [
            ("", "no CPU named: write a list such as 0,2-3"),
            ("  ", "no CPU named: write a list such as 0,2-3"),
            ("0,,1", "\"\" is neither a CPU id nor a range: write a list such as 0,2-3"),
            ("-1", "\"-1\" is neither a CPU id nor a range: write a list such as 0,2-3"),
            ("+1", "\"+1\" is neither a CPU id nor a range: write a list such as 0,2-3"),
            ("0-1-2", "\"0-1-2\" is neither a CPU id nor a range: write a list such as 0,2-3"),
            ("all", "\"all\" is neither a CPU id nor a range: write a list such as 0,2-3"),
            ("3-1", "the range 3-1 runs backwards"),
            ("1024", "CPU 1024 is out of range: ids go up to 1023"),
            ("0-4294967295", "CPU 4294967295 is out of range: ids go up to 1023"),
        ] {
            assert_eq!(text.parse::<CpuSet>().expect_err(text).to_string(), message);
        }
        let beyond_usize = "9".repeat(40);
        assert!(matches!(beyond_usize.parse::<CpuSet>(), Err(CpuSetError::TooHigh { .. })));
    }

    #[test]
    fn workers_take_the_cpus_in_turn() {
        let cpus: CpuSet = "1,4".parse().expect("list");
        let taken: Vec<String> = (0..5).map(|worker| cpus.for_worker(worker).to_string()).collect();
        assert_eq!(taken, ["1", "4", "1", "4", "1"]);
    }

    #[test]
    fn pinning_holds_for_the_thread_and_a_partly_absent_set_changes_nothing() {
        // Affinity is per thread, so a thread of its own keeps it from the other tests.
        let check = || {
            let all = allowed().expect("affinity");
            let one = all.for_worker(all.len() - 1);
            pin(&one).expect("an allowed CPU");
            assert_eq!(allowed().expect("affinity"), one);
            let absent = (0..CPUS_MAX).rev().find(|&cpu| !all.contains(cpu)).expect("fewer than 1024 CPUs");
            let mixed = CpuSet::new([one.ids()[0], absent]).expect("set");
            assert_eq!(pin(&mixed).expect_err("absent").kind(), io::ErrorKind::InvalidInput);
            let missing = CpuSet::new([absent]).expect("set");
            assert_eq!(pin(&missing).expect_err("absent").kind(), io::ErrorKind::InvalidInput);
            assert_eq!(allowed().expect("affinity"), one);
        };
        std::thread::spawn(check).join().expect("no panic");
    }

    proptest! {
        #[test]
        fn text_round_trips(ids in proptest::collection::vec(0..CPUS_MAX, 1..50)) {
            let cpus = CpuSet::new(ids).expect("in range");
            prop_assert_eq!(&cpus.to_string().parse::<CpuSet>().expect("own text"), &cpus);
            prop_assert!(cpus.ids().is_sorted());
        }

        #[test]
        fn any_text_is_a_set_or_an_error(text in "[0-9, -]{0,40}|.{0,40}") {
            if let Ok(cpus) = text.parse::<CpuSet>() {
                prop_assert!(cpus.len() >= 1 && cpus.len() <= CPUS_MAX);
            }
        }
    }
}
