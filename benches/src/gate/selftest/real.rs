//! Runs that are measured: of one build against itself, of which head is told to be slower.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tidemark_host::cpu::{self, CpuSet};

use super::{Expected, Row};
use crate::error::MeasureError;
use crate::gate::build::Build;
use crate::gate::cli::{RunArgs, SelftestArgs, Tier};
use crate::gate::decision::Verdict;
use crate::gate::metric::Metric;
use crate::gate::present::figures::{Change, count};
use crate::gate::report::Report;
use crate::gate::run::{Builds, Comparison, compare, say};
use crate::interrupt::Interrupt;
use crate::statistics::median;

/// What is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Nothing.
    Same,
    /// Nothing, while a busy loop runs on every CPU.
    Busy,
    /// 1 % more instructions per request.
    Instructions,
    /// One more system call per request.
    Syscall,
    /// One more allocation per request.
    Allocation,
    /// 100 bytes more per connection.
    Memory,
    /// 5 % more CPU time per request.
    Cpu,
    /// A median of the response time that is 10 % longer.
    P50,
}

/// What a run of a case is.
struct Setting {
    words: String,
    expected: Expected,
    tier: Tier,
    metrics: Vec<Metric>,
    base: Vec<String>,
    head: Vec<String>,
}

/// Median figures of the machine, ns, for faults that are a part of them.
struct Scale {
    cpu_per_echo: f64,
    response_p50: f64,
}

impl Case {
    const fn is_a_part_of_a_time(self) -> bool {
        matches!(self, Self::Cpu | Self::P50)
    }

    fn setting(self, args: &SelftestArgs, scale: &Scale) -> Setting {
        let flags = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let counts = |words: &str, base: &str, head: &str| Setting {
            words: words.to_owned(),
            expected: Expected::AlwaysFail,
            tier: Tier::A,
            metrics: args.metrics.clone(),
            base: flags(base),
            head: flags(head),
        };
        let times = |words: &str, expected, metrics: &[Metric], head: String| Setting {
            words: words.to_owned(),
            expected,
            tier: Tier::B,
            metrics: metrics.to_vec(),
            base: Vec::new(),
            head: flags(&head),
        };
        let spin = |ns: f64| format!("--fault-spin-ns {ns:.0}");
        match self {
            Self::Same => Setting {
                tier: Tier::Both,
                ..times("the same build", Expected::NeverFail, &args.metrics, String::new())
            },
            Self::Busy => times(
                "the same build, a busy loop on every CPU",
                Expected::NeverFail,
                &args.metrics,
                String::new(),
            ),
            // Of both sides something is injected, so that only the turns of the loop differ, and not the way to it.
            Self::Instructions => counts("1 % more instructions", "--fault-loops 1", "--fault-loops 3"),
            Self::Syscall => counts("1 system call more", "", "--fault-syscalls 1"),
            Self::Allocation => counts("1 allocation more", "", "--fault-allocations 1"),
            Self::Memory => counts("100 bytes more per connection", "", "--fault-connection-bytes 100"),
            Self::Cpu => {
                // The loop that spins reads the clock about twice besides.
                let ns = (0.05 * scale.cpu_per_echo - 2.0 * clock_read_ns()).max(1.0);
                let metrics = [Metric::CpuPerEcho, Metric::CpuPerHttpRequest];
                times("5 % more CPU time per request", Expected::FailInMost, &metrics, spin(ns))
            }
            Self::P50 => times(
                "10 % more response_p50",
                Expected::FailInMost,
                &[Metric::ResponseP50],
                spin(0.10 * scale.response_p50),
            ),
        }
    }
}

/// Runs the cases of the command line.
///
/// # Errors
/// When one cannot be measured.
pub fn run(args: &SelftestArgs, build: &Path, interrupt: &Interrupt) -> Result<Vec<Row>, MeasureError> {
    let build = Build::in_directory(build)?.with_loadgen()?;
    let scale = if args.cases.iter().any(|case| case.is_a_part_of_a_time()) {
        scale(args, &build, interrupt)?
    } else {
        Scale { cpu_per_echo: 0.0, response_p50: 0.0 }
    };
    let mut rows = Vec::new();
    for &case in &args.cases {
        let setting = case.setting(args, &scale);
        let mut row = Row::new(setting.words.clone(), setting.expected);
        for number in 1..=args.runs {
            let _busy = if case == Case::Busy { Some(Busy::everywhere()?) } else { None };
            let name = case.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            let began = Instant::now();
            let report = one(args, &build, &setting, &format!("{name}-{number}"), interrupt)?;
            say(&format!(
                "{}, {number} of {}: {} after {:.0} s: {}",
                setting.words,
                args.runs,
                report.verdict,
                began.elapsed().as_secs_f64(),
                report.why
            ));
            row.count(report.verdict);
            row.seen.push(seen(&report));
        }
        rows.push(row);
    }
    let path = args.output.join("selftest.json");
    let json = serde_json::to_string_pretty(&rows)? + "\n";
    fs::write(&path, json).map_err(MeasureError::io(format!("write {}", path.display())))?;
    Ok(rows)
}

fn one(
    args: &SelftestArgs,
    build: &Build,
    setting: &Setting,
    name: &str,
    interrupt: &Interrupt,
) -> Result<Report, MeasureError> {
    let comparison = Comparison {
        args: RunArgs {
            base: build.server.clone(),
            head: build.server.clone(),
            base_name: "base".to_owned(),
            head_name: "head".to_owned(),
            tier: setting.tier,
            budget: args.budget,
            metrics: setting.metrics.clone(),
            seed: None,
            output: args.output.join(name),
            work: args.work,
        },
        builds: Builds { base: build.clone(), head: build.clone() },
        flags: [setting.base.clone(), setting.head.clone()],
    };
    compare(&comparison, interrupt, &mut |_| {})
}

/// Measures one block of the build as it is.
fn scale(args: &SelftestArgs, build: &Build, interrupt: &Interrupt) -> Result<Scale, MeasureError> {
    let setting = Setting {
        words: String::new(),
        expected: Expected::NeverFail,
        tier: Tier::B,
        metrics: vec![Metric::CpuPerEcho, Metric::ResponseP50],
        base: Vec::new(),
        head: Vec::new(),
    };
    let args = SelftestArgs { budget: Duration::from_nanos(1), ..args.clone() };
    let report = one(&args, build, &setting, "scale", interrupt)?;
    let slots = report.times.map(|times| times.slots).unwrap_or_default();
    let of = |metric| {
        let figures: Vec<f64> =
            slots.iter().filter_map(|slot| slot.slot.figures.get(&metric).copied()).collect();
        median(&figures)
    };
    Ok(Scale { cpu_per_echo: of(Metric::CpuPerEcho), response_p50: of(Metric::ResponseP50) })
}

/// What the gate found above what is allowed.
fn seen(report: &Report) -> String {
    let counts = report.counts.iter().flat_map(|counts| &counts.rows);
    let counts = counts
        .filter(|row| row.verdict == Verdict::Fail)
        .map(|row| format!("{} {} instead of {}", row.name, count(row.head), count(row.base)));
    let times = report.times.iter().flat_map(|times| &times.decision.metrics);
    let times = times.map(|metric| format!("{} {}", metric.metric.name(), Change(metric.change)));
    counts.chain(times).collect::<Vec<_>>().join(", ")
}

/// What a look at the clock costs, ns.
fn clock_read_ns() -> f64 {
    const READS: u32 = 10_000;
    let began = Instant::now();
    for _ in 0..READS {
        std::hint::black_box(Instant::now());
    }
    began.elapsed().as_nanos() as f64 / f64::from(READS)
}

/// A busy loop on every CPU of this process, until it is dropped.
struct Busy {
    is_over: Arc<AtomicBool>,
    loops: Vec<JoinHandle<()>>,
}

impl Busy {
    fn everywhere() -> Result<Self, MeasureError> {
        let cpus = cpu::allowed().map_err(MeasureError::io("read the CPUs of this process"))?;
        let mut busy = Self { is_over: Arc::default(), loops: Vec::new() };
        for &id in cpus.ids() {
            let cpu = CpuSet::new([id]).map_err(|error| MeasureError::Host(error.to_string()))?;
            let is_over = Arc::clone(&busy.is_over);
            let spin = move || {
                // Unpinned it is busy all the same.
                drop(cpu::pin(&cpu));
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            let thread = std::thread::Builder::new().name("busy".to_owned()).spawn(spin);
            busy.loops.push(thread.map_err(MeasureError::io("start a thread"))?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for busy in self.loops.drain(..) {
            // It does nothing that could panic.
            drop(busy.join());
        }
    }
}
