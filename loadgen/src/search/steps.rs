//! Runs the steps that a search asks for, each in a directory of its own, and writes the curve after each.

use std::path::PathBuf;
use std::time::SystemTime;

use thiserror::Error;

use super::blame::outcome_of;
use super::curve::{self, Answer, Curve, Step};
use super::{Ended, Outcome, Range, Search};
use crate::capacity::Machine;
use crate::cli::{ArrivalArg, CONNECTIONS, Find, RunArgs, SearchArgs};
use crate::interrupt::Interrupts;
use crate::live::Live;
use crate::plan::{Plan, PlanError};
use crate::report::Report;
use crate::report::files::RunDir;
use crate::report::units::Count;
use crate::run::{self, Completed, RunError};
use crate::scenario::Scenario;
use crate::verdict;

/// Where a search for a rate begins unless the user says otherwise. That for connections begins at [`CONNECTIONS`].
const RATE_FROM: u64 = 1000;

/// Why a step, and with it the search, could not be run.
#[derive(Debug, Error)]
pub enum StepError {
    /// There is no plan for it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no result of it.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A search that is over.
#[derive(Debug)]
pub struct Finished {
    /// What came out of it.
    pub curve: Curve,
    /// Its directory.
    pub dir: PathBuf,
    /// What broke it off.
    pub failure: Option<StepError>,
    last: Option<Ran>,
    /// Held so that a signal ends the lingering.
    _interrupts: Interrupts,
}

impl Finished {
    /// Shows the figures of the last step to scrapers for as long as the user wants.
    pub fn linger(self, live: &Live) {
        if let Some(Ran { plan, completed, report }) = self.last {
            completed.linger(&plan, &report, live);
        }
    }
}

/// Runs a whole search. What was found out before it is broken off is kept.
///
/// # Errors
/// When not even the first step came to anything.
pub fn run(args: &SearchArgs, machine: &Machine) -> Result<Finished, StepError> {
    let mut search = Search::new(range(args)?);
    // What is wrong with every step is told before there is a directory.
    let first = plan(args, args.first_load(), machine)?;
    if first.slo.is_empty() {
        let why =
            "a search needs a rule to keep: add --slo 'response.p99 < 2ms', or another (see run --help)";
        return Err(PlanError::Usage(why.to_owned()).into());
    }
    run::check(&first)?;
    let interrupts = Interrupts::listen().map_err(run::no_signals)?;
    let now = SystemTime::now();
    let output = &args.load.output;
    let dir = RunDir::create(output, now).map_err(|source| run::output_error(output, source))?;
    let steps = Steps { args, machine, interrupts: &interrupts, dir: &dir };
    let mut curve = new_curve(args, &first, &dir, now);
    let mut last = None;
    let mut failure = None;
    while let Some(load) = search.next() {
        // The endpoint of the step before must be gone, for its address is that of the next.
        drop(last.take());
        match steps.run(load, curve.steps.len()) {
            Ok(stepped) => {
                curve.steps.extend(record(&mut search, load, &stepped));
                if let Stepped::Ran(ran) = stepped {
                    last = Some(*ran);
                }
            }
            Err(error) => {
                search.stop(Ended::Failed);
                failure = Some(error);
            }
        }
        if !curve.steps.is_empty() {
            // After each step: whatever ends the program, the curve so far is there.
            curve.result = Answer::from(&search);
            let written = dir.write("search.json", &curve).and_then(|()| dir.point_latest());
            written.map_err(|(path, source)| run::output_error(&path, source))?;
        }
    }
    if curve.steps.is_empty() {
        dir.discard_if_empty();
        return Err(failure.unwrap_or(StepError::Run(RunError::Interrupted)));
    }
    Ok(Finished { curve, dir: dir.path, failure, last, _interrupts: interrupts })
}

/// What every step needs.
struct Steps<'a> {
    args: &'a SearchArgs,
    machine: &'a Machine,
    interrupts: &'a Interrupts,
    dir: &'a RunDir,
}

/// A step that came to a report.
#[derive(Debug)]
struct Ran {
    plan: Plan,
    completed: Completed,
    report: Report,
}

/// What a step comes to.
enum Stepped {
    Ran(Box<Ran>),
    /// It says something about the target, or the generator, all the same.
    WithoutRun(Outcome, String),
    Interrupted,
}

impl Steps<'_> {
    /// Runs the step after `earlier` others.
    fn run(&self, load: u64, earlier: usize) -> Result<Stepped, StepError> {
        let live = Live::new(self.args.load.live);
        live.say(&format!("step {}: {} {}", earlier + 1, Count(load), self.args.find.unit()));
        let is_first = earlier == 0;
        let plan = match plan(self.args, load, self.machine) {
            Err(PlanError::Host(why)) if !is_first => return Ok(Stepped::WithoutRun(Outcome::Invalid, why)),
            plan => plan?,
        };
        if is_first {
            for note in &plan.notes {
                live.say(note);
            }
        }
        // The first has been checked already.
        let checked = if is_first { Ok(()) } else { run::check(&plan) };
        match checked.and_then(|()| self.run_apart(&plan, &live)) {
            Ok(completed) => {
                let argv = std::env::args().collect();
                let report = Report::new(&plan, &completed.outcome, &completed.dir.id, argv);
                let written = completed.dir.finish(&report, &completed.outcome.totals());
                written.map_err(|(path, source)| run::output_error(&path, source))?;
                Ok(Stepped::Ran(Box::new(Ran { plan, completed, report })))
            }
            Err(RunError::Interrupted) => Ok(Stepped::Interrupted),
            // It did answer before: what it was asked for since was too much for it.
            Err(error @ (RunError::Preflight(_) | RunError::NoConnection { .. })) if !is_first => {
                Ok(Stepped::WithoutRun(Outcome::Violated, error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs a plan in a thread of its own. A run makes the thread that collects nicer, and for good: workers that were
    /// started from it the next time would inherit that.
    fn run_apart(&self, plan: &Plan, live: &Live) -> Result<Completed, RunError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("step".to_owned());
            let running =
                thread.spawn_scoped(scope, || run::run(plan, &self.dir.path, live, self.interrupts));
            let running =
                running.map_err(|source| RunError::Host { what: "start a thread for a step", source })?;
            running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Tells the search of a step, and makes its row in the curve.
fn record(search: &mut Search, load: u64, stepped: &Stepped) -> Option<Step> {
    match stepped {
        Stepped::Ran(ran) => {
            let (outcome, reasons) = outcome_of(&ran.report);
            if ran.report.run.ended == verdict::Ended::Interrupted {
                search.stop(Ended::Interrupted);
            }
            search.record(outcome);
            Some(Step::of(load, outcome, reasons, &ran.report))
        }
        Stepped::WithoutRun(outcome, why) => {
            search.record(*outcome);
            Some(Step::without_run(load, *outcome, why.clone()))
        }
        Stepped::Interrupted => {
            search.stop(Ended::Interrupted);
            None
        }
    }
}

/// The range of a search, from arguments that do not contradict each other.
fn range(args: &SearchArgs) -> Result<Range, PlanError> {
    let usage = |why: &str| Err(PlanError::Usage(why.to_owned()));
    match args.find {
        Find::Rate if args.rate.is_some() => usage(
            "--rate is what --find rate looks for: say where it begins with --from, and leave --rate out",
        ),
        Find::Rate if args.load.arrival == Some(ArrivalArg::Closed) => usage(
            "--arrival closed has no rate to find: replies set the pace; leave --arrival out, or --find connections",
        ),
        Find::Connections if args.connections.is_some() => usage(
            "--connections is what --find connections looks for: say where it begins with --from, and leave it out",
        ),
        _ if args.first_load() > args.max => {
            let from = args.first_load();
            Err(PlanError::Usage(format!(
                "--max {} is below the first load, {from}; lower --from, or raise --max",
                args.max
            )))
        }
        _ => Ok(Range { from: args.first_load(), max: args.max, resolution: args.resolution }),
    }
}

/// The plan of the step at this load.
fn plan(args: &SearchArgs, load: u64, machine: &Machine) -> Result<Plan, PlanError> {
    let (connections, rate) = match args.find {
        Find::Rate => (args.connections.unwrap_or(CONNECTIONS), Some(load as f64)),
        Find::Connections => (u32::try_from(load).unwrap_or(u32::MAX), args.rate),
    };
    let step = RunArgs {
        connections: Some(connections),
        rate,
        duration: Some(args.step_duration),
        slo: args.slo.clone(),
        load: args.load.clone(),
        json: None,
    };
    if args.load.scenario.is_none() {
        return Plan::new(&step, machine);
    }
    let mut scenario = Scenario::new(&step)?;
    match args.find {
        Find::Rate => scenario.scale_rates(load as f64)?,
        Find::Connections => scenario.scale_connections(load),
    }
    Plan::of(scenario, step.load.metrics_plan(), machine)
}

impl SearchArgs {
    fn first_load(&self) -> u64 {
        self.from.unwrap_or(match self.find {
            Find::Rate => RATE_FROM,
            Find::Connections => u64::from(CONNECTIONS),
        })
    }
}

fn new_curve(args: &SearchArgs, first: &Plan, dir: &RunDir, now: SystemTime) -> Curve {
    Curve {
        schema_version: curve::SCHEMA_VERSION,
        id: dir.id.clone(),
        started_at: humantime::format_rfc3339_millis(now).to_string(),
        argv: std::env::args().collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        target: first.target.to_string(),
        find: args.find,
        slo: first.slo.iter().map(ToString::to_string).collect(),
        from: args.first_load(),
        max: args.max,
        resolution: args.resolution,
        step_duration_s: args.step_duration.as_secs_f64(),
        result: Answer::default(),
        steps: Vec::new(),
    }
}
