//! `stall`: a server that stops for 100 ms in every second, measured in open loop beside the [law](crate::stalling) and beside
//! what wrk2 and oha say of it, and in closed loop, which asks each connection once per stop and so hides it.

use std::path::PathBuf;

use serde::Serialize;
use tidemark_program::Exit;

use crate::allowed::{Allowed, Apart};
use crate::cli::StallArgs;
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Load};
use crate::peers::{self, Peer};
use crate::results;
use crate::session::Session;
use crate::stalling::{PERIOD_MS, Protocol, Run, STALL_MS, Stalling, TAIL, Times, law_ms, pipeline};

/// How far a figure may be from the law, in percent.
const DEVIATION_MAX_PERCENT: f64 = 1.5;

/// The most that the median may be: the law says that it is nothing, and a reply over loopback takes a part of this.
const MEDIAN_MAX_MS: f64 = 0.3;

/// What is measured: every protocol at every rate over so many connections each.
#[derive(Clone, Debug, PartialEq)]
struct Grid {
    protocols: Vec<Protocol>,
    /// Requests per second. Evenly spaced, so that every stop catches the same share of them and a few runs are enough.
    rates: Vec<f64>,
    connections: Vec<u64>,
    runs: usize,
}

impl Grid {
    /// What the arguments name, and of the rest one cell or, with `--grid`, all.
    fn of(args: &StallArgs) -> Self {
        fn named<T: Copy>(given: &[T], one: &[T], all: &[T], is_grid: bool) -> Vec<T> {
            let chosen = if !given.is_empty() {
                given
            } else if is_grid {
                all
            } else {
                one
            };
            chosen.to_vec()
        }
        Self {
            protocols: named(
                &args.protocols,
                &[Protocol::Echo],
                &[Protocol::Echo, Protocol::Http],
                args.grid,
            ),
            rates: named(&args.rates, &[2000.0], &[1000.0, 2000.0, 4000.0], args.grid),
            connections: named(&args.connections, &[50], &[10, 100, 1000, 5000], args.grid),
            runs: args.runs.unwrap_or(if args.grid { 5 } else { 3 }),
        }
    }
}

#[derive(Debug, Serialize)]
struct Figures {
    deviation_max_percent: f64,
    median_max_ms: f64,
    tail: [f64; 3],
    /// ms, as the law has it.
    law_ms: [f64; 3],
    duration_s: f64,
    cells: Vec<Cell>,
    closed_loops: Vec<ClosedLoop>,
}

/// One protocol at one rate over so many connections.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    protocol: Protocol,
    rate: f64,
    connections: u64,
    /// Median of the runs.
    response: Times,
    deviation_percent: [f64; 3],
    /// Requests that could be in flight on one connection, so that each went out at its time.
    pipeline: u8,
    runs: Vec<Run>,
    peers: Vec<PeerSays>,
}

/// What a peer says of the same.
#[derive(Clone, Debug, Serialize)]
struct PeerSays {
    peer: Peer,
    response: Option<Times>,
    /// Why there are no figures.
    why_not: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct ClosedLoop {
    protocol: Protocol,
    connections: u64,
    run: Run,
}

impl Cell {
    fn new(protocol: Protocol, load: &Load, rate: f64, runs: Vec<Run>) -> Self {
        let response = Times::median(&runs.iter().map(|run| run.response).collect::<Vec<_>>());
        Self {
            protocol,
            rate,
            connections: load.connections,
            pipeline: load.pipeline,
            response,
            deviation_percent: response.deviation_percent(),
            runs,
            peers: Vec::new(),
        }
    }

    fn disturbed(&self) -> usize {
        self.runs.iter().filter(|run| !run.is_undisturbed()).count()
    }

    /// A miss counts only when most runs were undisturbed.
    fn judge(&self) -> Exit {
        let is_near = |deviation: &f64| deviation.abs() <= DEVIATION_MAX_PERCENT;
        let is_met = self.deviation_percent.iter().all(is_near) && self.response.p50_ms < MEDIAN_MAX_MS;
        if !is_met && self.disturbed() * 2 >= self.runs.len() {
            return Exit::NotTrustworthy;
        }
        Exit::judged(is_met)
    }
}

/// A miss that counts decides; then a cell that cannot be told.
fn judge(cells: &[Cell]) -> Exit {
    let is_any = |exit| cells.iter().any(|cell| cell.judge() == exit);
    [Exit::JudgedBad, Exit::NotTrustworthy].into_iter().find(|&exit| is_any(exit)).unwrap_or(Exit::Good)
}

/// Where load comes from, and for how long.
struct Bench<'a> {
    session: &'a Session,
    args: &'a StallArgs,
    apart: Option<Apart>,
    peers: Vec<(Peer, PathBuf)>,
}

/// Runs it.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &StallArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let grid = Grid::of(args);
    let peers = if grid.protocols.contains(&Protocol::Http) { find_peers(session) } else { Vec::new() };
    let bench = Bench { session, args, apart: allowed.apart(), peers };
    session.say(format_args!(
        "a server that stops for {STALL_MS} ms in every {PERIOD_MS} ms; response to evenly spaced requests, the median of {} runs of {}",
        grid.runs,
        humantime::format_duration(args.duration)
    ));
    session
        .say(format_args!("  {:<34}{:>8}{:>11}{:>19}{:>19}", "", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms"));
    say_times(session, "law", &Times { p50_ms: law_ms(0.5), tail_ms: TAIL.map(law_ms) }, "");
    let (mut cells, mut closed_loops) = (Vec::new(), Vec::new());
    for &protocol in &grid.protocols {
        let server = Stalling::start(session, &allowed, bench.apart, protocol)?;
        for &connections in &grid.connections {
            let closed_loop = bench.closed_loop(&server, protocol, connections)?;
            for &rate in &grid.rates {
                cells.push(bench.cell(&server, protocol, connections, rate, grid.runs)?);
            }
            closed_loops.push(closed_loop);
        }
        server.stop();
    }
    let exit = judge(&cells);
    session.say(verdict(exit, &cells));
    let figures = Figures {
        deviation_max_percent: DEVIATION_MAX_PERCENT,
        median_max_ms: MEDIAN_MAX_MS,
        tail: TAIL,
        law_ms: TAIL.map(law_ms),
        duration_s: args.duration.as_secs_f64(),
        cells,
        closed_loops,
    };
    results::keep(session, "stall", &figures)?;
    Ok(exit)
}

fn find_peers(session: &Session) -> Vec<(Peer, PathBuf)> {
    let mut found = Vec::new();
    for peer in Peer::ALL {
        match peer.find() {
            Some(program) => found.push((peer, program)),
            None => session.say(format_args!(
                "{} is not on the PATH and is left out ({})",
                peer.name(),
                peer.had_by()
            )),
        }
    }
    found
}

impl Bench<'_> {
    fn load(&self, server: &Stalling, connections: u64, pipeline: u8, arrivals: Arrivals) -> Load {
        Load {
            target: server.target,
            connections,
            pipeline,
            arrivals,
            warmup: None,
            duration: self.args.duration,
            interval: None,
            cpu: self.apart.map(|apart| apart.client),
            output: self.session.results.join("stall"),
        }
    }

    fn cell(
        &self,
        server: &Stalling,
        protocol: Protocol,
        connections: u64,
        rate: f64,
        runs: usize,
    ) -> Result<Cell, MeasureError> {
        let load = self.load(server, connections, pipeline(rate, connections), Arrivals::Constant(rate));
        let runs = (0..runs).map(|_| server.measure(self.session, &load)).collect::<Result<_, _>>()?;
        let mut cell = Cell::new(protocol, &load, rate, runs);
        let disturbed = match cell.disturbed() {
            0 => String::new(),
            count => format!(" ({count} of {} runs disturbed)", cell.runs.len()),
        };
        let name = format!("{}, {rate}/s, {connections} connections", protocol.name());
        say_times(
            self.session,
            &name,
            &cell.response,
            &format!("  {}{disturbed}", verdict_word(cell.judge())),
        );
        if protocol == Protocol::Http {
            cell.peers = self.peers_say(server, rate, connections)?;
        }
        Ok(cell)
    }

    fn peers_say(
        &self,
        server: &Stalling,
        rate: f64,
        connections: u64,
    ) -> Result<Vec<PeerSays>, MeasureError> {
        let load = peers::Load {
            target: server.target,
            rate,
            connections,
            duration: self.args.duration,
            cpu: self.apart.map(|apart| apart.client),
        };
        let say = |(peer, program): &(Peer, PathBuf)| {
            let said = match peer.measure(self.session, program, &load) {
                // One that fails is a figure less, and no reason to end.
                Err(error @ MeasureError::Client { .. }) => Err(error.to_string()),
                other => other?,
            };
            let name = format!("  {}", peer.name());
            match &said {
                Ok(times) => say_times(self.session, &name, times, ""),
                Err(why) => self.session.say(format_args!("  {name:<34} {why}")),
            }
            Ok(PeerSays { peer: *peer, response: said.as_ref().ok().copied(), why_not: said.err() })
        };
        self.peers.iter().map(say).collect()
    }

    fn closed_loop(
        &self,
        server: &Stalling,
        protocol: Protocol,
        connections: u64,
    ) -> Result<ClosedLoop, MeasureError> {
        let run = server.measure(self.session, &self.load(server, connections, 1, Arrivals::Closed))?;
        let name = format!("{}, closed loop, {connections} connections", protocol.name());
        say_times(self.session, &name, &run.service, "");
        Ok(ClosedLoop { protocol, connections, run })
    }
}

fn say_times(session: &Session, name: &str, times: &Times, remark: &str) {
    let [p95, p99, p99_9] = times.tail_ms;
    let [off_95, off_99, off_99_9] = times.deviation_percent();
    session.say(format_args!(
        "  {name:<34}{:>8.2}{p95:>10.2} {off_95:>+6.1} %{p99:>10.2} {off_99:>+6.1} %{p99_9:>10.2} {off_99_9:>+6.1} %{remark}",
        times.p50_ms
    ));
}

fn verdict_word(exit: Exit) -> &'static str {
    match exit {
        Exit::Good => "met",
        Exit::NotTrustworthy => "cannot be told",
        _ => "MISSED",
    }
}

fn verdict(exit: Exit, cells: &[Cell]) -> String {
    let met = cells.iter().filter(|cell| cell.judge() == Exit::Good).count();
    let why = match exit {
        Exit::NotTrustworthy => "; others used the CPUs of the server or of the load generator; run it again",
        _ => "",
    };
    format!(
        "within {DEVIATION_MAX_PERCENT} % of the law, and the median under {MEDIAN_MAX_MS} ms: {} ({met} of {}){why}",
        verdict_word(exit),
        cells.len()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::loadgen::Target;

    fn grid(flags: &str) -> Grid {
        let words = ["tidemark-measure", "stall"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Stall(args) => Grid::of(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_one_cell_or_the_grid_or_what_is_named() {
        let one = grid("");
        assert_eq!((one.rates, one.connections, one.runs), (vec![2000.0], vec![50], 3));
        let all = grid("--grid");
        assert_eq!(all.rates.len() * all.connections.len() * all.protocols.len(), 24);
        assert_eq!(all.runs, 5);
        let named = grid("--grid --rates 1000,4000 --protocols http --runs 1");
        assert_eq!((named.rates, named.protocols), (vec![1000.0, 4000.0], vec![Protocol::Http]));
        assert_eq!((named.connections, named.runs), (all.connections, 1));
    }

    fn run(p50_ms: f64, tail_ms: [f64; 3]) -> Run {
        let times = Times { p50_ms, tail_ms };
        Run {
            response: times,
            service: times,
            completed_per_s: 90_000.0,
            trusted_to: Some(100.0),
            server_late_ms: 0.1,
        }
    }

    fn cell(runs: &[Run]) -> Cell {
        let load = Load {
            target: Target::Echo("127.0.0.1:7".parse().unwrap()),
            connections: 50,
            pipeline: 8,
            arrivals: Arrivals::Constant(2000.0),
            warmup: None,
            duration: Duration::from_secs(10),
            interval: None,
            cpu: None,
            output: PathBuf::new(),
        };
        Cell::new(Protocol::Echo, &load, 2000.0, runs.to_vec())
    }

    #[test]
    fn one_disturbed_run_of_three_does_not_decide() {
        let good = run(0.1, [50.5, 89.0, 99.5]);
        let disturbed = run(0.1, [80.0, 120.0, 300.0]);
        assert_eq!(cell(&[good, disturbed, good]).judge(), Exit::Good);
        assert_eq!(cell(&[disturbed, good, disturbed]).judge(), Exit::JudgedBad);
        let untrusted = Run { trusted_to: Some(99.0), ..disturbed };
        assert_eq!(cell(&[untrusted, good, untrusted]).judge(), Exit::NotTrustworthy);
        let delayed = Run { server_late_ms: 1.5, ..disturbed };
        assert_eq!(cell(&[delayed, good, delayed]).judge(), Exit::NotTrustworthy);
        assert_eq!(cell(&[run(0.1, [0.1, 0.1, 99.0])]).judge(), Exit::JudgedBad);
    }

    #[test]
    fn the_bounds_are_a_hundredth_and_a_half_and_the_median() {
        assert_eq!(cell(&[run(0.29, [50.7, 91.3, 97.6])]).judge(), Exit::Good);
        assert_eq!(cell(&[run(0.29, [50.8, 90.0, 99.0])]).judge(), Exit::JudgedBad);
        assert_eq!(cell(&[run(0.29, [50.0, 90.0, 97.4])]).judge(), Exit::JudgedBad);
        assert_eq!(cell(&[run(0.3, [50.0, 90.0, 99.0])]).judge(), Exit::JudgedBad);
    }

    #[test]
    fn a_miss_weighs_more_than_a_cell_that_cannot_be_told() {
        let (good, missed) = (run(0.1, [50.0, 90.0, 99.0]), run(0.1, [60.0, 90.0, 99.0]));
        let unknown = Run { trusted_to: None, ..missed };
        let cells = |runs: &[Run]| runs.iter().map(|&run| cell(&[run])).collect::<Vec<_>>();
        assert_eq!(judge(&cells(&[good, good])), Exit::Good);
        assert_eq!(judge(&cells(&[good, unknown])), Exit::NotTrustworthy);
        assert_eq!(judge(&cells(&[unknown, missed, good])), Exit::JudgedBad);
        assert!(verdict(Exit::JudgedBad, &cells(&[good, missed])).ends_with("MISSED (1 of 2)"));
    }
}
