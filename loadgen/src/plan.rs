//! A validated plan: everything a run does, decided before it starts, and part of its report.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;
use tidemark_host::cpu::CpuSet;

use crate::capacity::{self, Machine};
use crate::cli::{ArrivalArg, RunArgs};
use crate::pacer::SPIN_NS;
use crate::resolve;
use crate::schedule::Arrivals;
use crate::slo::{self, Rule, Scope};
use crate::socket;
use crate::target::{Protocol, Target, TargetError};

/// Handshakes under way at once, over all workers: a quarter of the usual listen backlog.
const CONNECTS_IN_FLIGHT: usize = 1024;
/// How long the replies to the last requests are waited for; the request timeout where that is shorter.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Bytes of an echo request unless the user says otherwise.
const PAYLOAD_BYTES: u32 = 64;

/// A plan that has been checked against the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The target as the user wrote it.
    #[serde(serialize_with = "display")]
    pub target: Target,
    /// Its addresses, one for each port.
    #[serde(skip)]
    pub addresses: Vec<SocketAddr>,
    /// Length of the measured window.
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub duration: Duration,
    /// Load before the measured window.
    #[serde(rename = "warmup_s", serialize_with = "seconds")]
    pub warmup: Duration,
    /// The longest wait for outstanding replies after it.
    #[serde(rename = "drain_s", serialize_with = "seconds")]
    pub drain: Duration,
    /// When a request counts as timed out.
    #[serde(rename = "timeout_s", serialize_with = "seconds")]
    pub timeout: Duration,
    /// Seed of the arrival times.
    pub seed: u64,
    /// How connections are opened.
    pub connect: ConnectPlan,
    /// Worker threads.
    pub workers: usize,
    /// The CPUs they are pinned to, in turn.
    pub pin: Option<CpuSet>,
    /// Whether each worker has a descriptor table of its own.
    pub private_fd_tables: bool,
    /// How long before a deadline a worker spins, ns; 0 when workers share CPUs.
    pub spin_ns: u64,
    /// Who does what.
    pub populations: Vec<PopulationPlan>,
    /// What it must keep.
    pub slo: Vec<Rule>,
    /// Where the run is shown to a scraper. It changes nothing that is measured, and so is no part of the report.
    #[serde(skip)]
    pub metrics: Option<MetricsPlan>,
    /// What was decided for the user, and why.
    pub notes: Vec<String>,
}

/// Where a run is shown to a scraper.
#[derive(Clone, Copy, Debug)]
pub struct MetricsPlan {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// For how long after the run.
    pub linger: Duration,
}

/// How connections are opened.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectPlan {
    /// Attempts per second.
    pub rate: f64,
    /// Handshakes under way at once.
    pub in_flight: usize,
    /// A handshake that takes longer has failed.
    #[serde(rename = "timeout_s", serialize_with = "seconds")]
    pub timeout: Duration,
    /// Local addresses; empty leaves it to the kernel.
    pub sources: Vec<IpAddr>,
    /// What is set on the sockets.
    pub socket: socket::Options,
}

/// One kind of user.
#[derive(Clone, Debug, Serialize)]
pub struct PopulationPlan {
    /// Its name in every table and file.
    pub name: String,
    /// Connections it holds.
    pub connections: u32,
    /// How its requests arrive.
    pub arrivals: Arrivals,
    /// Length of an echo request or of an HTTP body.
    pub payload_bytes: u32,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn display<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// Why there is no plan.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The target cannot be understood or resolved.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Flags that contradict each other, or a value that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The machine does not allow it.
    #[error("{0}")]
    Host(String),
}

impl Plan {
    /// Checks the arguments against each other and against the machine.
    ///
    /// # Errors
    /// When they contradict each other, or the machine cannot hold the connections: then with what would help.
    pub fn new(args: &RunArgs, machine: &Machine) -> Result<Self, PlanError> {
        let arrivals = arrivals(args)?;
        let payload_bytes = payload_bytes(args)?;
        if let Some(pin) = &args.load.pin
            && let Some(&cpu) = pin.ids().iter().find(|&&cpu| !machine.cpus.contains(cpu))
        {
            let why = format!("--pin: CPU {cpu} is not among those this process may use ({})", machine.cpus);
            return Err(PlanError::Usage(why));
        }
        let mut notes = Vec::new();
        let addresses = resolve::addresses(&args.load, &mut notes)?;
        let socket = socket_options(args, &mut notes)?;
        let is_local = addresses.iter().all(|address| address.ip().is_loopback());
        let (workers, private_fd_tables) = capacity::workers(args, machine, is_local, &mut notes)?;
        let sources = capacity::sources(args, machine, &addresses, &mut notes)?;
        let cpus = args.load.pin.as_ref().unwrap_or(&machine.cpus);
        let population = PopulationPlan {
            name: "main".to_owned(),
            connections: args.connections,
            arrivals,
            payload_bytes,
        };
        check_rules(&args.slo, &[&population.name])?;
        Ok(Self {
            target: args.load.target.clone(),
            addresses,
            duration: args.duration,
            warmup: args.load.warmup,
            drain: DRAIN_MAX.min(args.load.timeout),
            timeout: args.load.timeout,
            seed: args.load.seed,
            connect: ConnectPlan {
                rate: args.load.connect_rate,
                in_flight: CONNECTS_IN_FLIGHT,
                timeout: args.load.connect_timeout,
                sources,
                socket,
            },
            workers,
            pin: args.load.pin.clone(),
            private_fd_tables,
            // A spinning worker would take the CPU from the others that share it, or from a target that has no other.
            spin_ns: if workers <= cpus.len() && machine.cpus.len() > 1 { SPIN_NS } else { 0 },
            populations: vec![population],
            slo: args.slo.clone(),
            metrics: args
                .load
                .metrics
                .map(|address| MetricsPlan { address, linger: args.load.metrics_linger }),
            notes,
        })
    }

    /// All connections of the run.
    pub fn connections(&self) -> u64 {
        self.populations.iter().map(|population| u64::from(population.connections)).sum()
    }
}

/// Every rule is about populations that there are.
fn check_rules(rules: &[Rule], populations: &[&str]) -> Result<(), PlanError> {
    let is_none = |rule: &&Rule| !populations.iter().any(|population| rule.is_about(population));
    let Some(rule) = rules.iter().find(is_none) else { return Ok(()) };
    let names = populations.iter().copied().chain(["all"]);
    let Scope::Population(name) = &rule.scope else { return Ok(()) };
    let hint = match slo::nearest(name, names.clone()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("there are: {}", names.collect::<Vec<_>>().join(", ")),
    };
    Err(PlanError::Usage(format!("--slo '{rule}': no population is called '{name}'; {hint}")))
}

fn arrivals(args: &RunArgs) -> Result<Arrivals, PlanError> {
    let usage = |text: &str| Err(PlanError::Usage(text.to_owned()));
    match (args.load.arrival, args.rate) {
        (None | Some(ArrivalArg::Poisson), Some(rate)) => Ok(Arrivals::Poisson { rate }),
        (Some(ArrivalArg::Constant), Some(rate)) => Ok(Arrivals::Constant { rate }),
        (None | Some(ArrivalArg::Closed), None) => Ok(Arrivals::Closed),
        (Some(ArrivalArg::Closed), Some(_)) => {
            usage("--arrival closed has no rate: replies set the pace; leave --rate or --arrival out")
        }
        (Some(_), None) => usage("an open loop needs a rate: add --rate PER_SECOND, or leave --arrival out"),
    }
}

fn socket_options(args: &RunArgs, notes: &mut Vec<String>) -> Result<socket::Options, PlanError> {
    let options = socket::Options::new(&args.load.sockets)
        .map_err(|error| PlanError::Host(format!("cannot make a socket: {error}")))?;
    notes.extend(options.notes());
    Ok(options)
}

fn payload_bytes(args: &RunArgs) -> Result<u32, PlanError> {
    match (&args.load.target.protocol, args.load.payload) {
        (Protocol::Echo, Some(0)) => Err(PlanError::Usage(
            "--payload 0: an echo request needs at least one byte to come back".to_owned(),
        )),
        (Protocol::Echo, payload) => Ok(payload.unwrap_or(PAYLOAD_BYTES)),
        (Protocol::Http { .. }, payload) => Ok(payload.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::capacity::PORT_RANGE_DEFAULT;
    use crate::cli::{Cli, Command};

    fn machine(nofile: u64, private_fd_tables: bool) -> Machine {
        let cpus = "0-3".parse().unwrap();
        Machine { cpus, nofile, private_fd_tables, port_range: PORT_RANGE_DEFAULT }
    }

    fn plan_on(machine: &Machine, flags: &str) -> Result<Plan, PlanError> {
        let words = "tidemark-loadgen run".split(' ').chain(flags.split(' '));
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else { panic!("not a run") };
        Plan::new(&args, machine)
    }

    fn plan(flags: &str) -> Result<Plan, PlanError> {
        plan_on(&machine(20_000, true), flags)
    }

    #[test]
    fn a_rate_makes_an_open_loop_and_its_absence_a_closed_one() {
        let arrivals = |flags| plan(flags).unwrap().populations[0].arrivals;
        assert_eq!(arrivals("127.0.0.1:7 -r 5"), Arrivals::Poisson { rate: 5.0 });
        assert_eq!(arrivals("127.0.0.1:7 -r 5 --arrival constant"), Arrivals::Constant { rate: 5.0 });
        assert_eq!(arrivals("127.0.0.1:7"), Arrivals::Closed);
    }

    #[test]
    fn contradictions_are_told_with_their_fix() {
        let told: Vec<String> = [
            "127.0.0.1:7 --arrival poisson",
            "127.0.0.1:7 --arrival closed -r 5",
            "127.0.0.1:7 --payload 0",
            "127.0.0.1:7 --pin 9",
            "127.0.0.1:7 --source ::1",
            "127.0.0.1:7 --source 10.0.0.9-10.0.0.2",
            "127.0.0.1:7 --source 10.0.0.0-11.0.0.0",
            "127.0.0.1:7 --source x",
            "127.0.0.1:7 --source 127.0.0.1 -c 50000",
            "127.0.0.1:7 -c 50000 --workers 2",
            "[::1]:7 -c 50000",
            "127.0.0.1:7 --slo mian.lost==0",
            "127.0.0.1:7 --slo heartbeat.lost==0",
        ]
        .iter()
        .map(|flags| plan(flags).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn workers_and_tables_grow_with_the_connections() {
        let few = plan("127.0.0.1:7 -c 10000").unwrap();
        assert_eq!((few.workers, few.private_fd_tables, few.spin_ns), (2, false, SPIN_NS));
        let many = plan("127.0.0.1:7 -c 100000").unwrap();
        assert_eq!((many.workers, many.private_fd_tables, many.spin_ns), (6, true, 0));
        assert_eq!(many.notes.len(), 2);
        let remote = plan("192.0.2.1:7 -c 100").unwrap();
        assert_eq!(remote.workers, 4);
        assert_eq!(plan("127.0.0.1:7 -c 1").unwrap().workers, 1);
    }

    #[test]
    fn without_private_tables_the_limit_is_told() {
        let error = plan_on(&machine(1024, false), "127.0.0.1:7 -c 2000").unwrap_err();
        assert!(matches!(&error, PlanError::Host(why) if why.contains("ulimit -n")), "{error}");
    }

    #[test]
    fn loopback_sources_are_added_when_ports_run_out() {
        assert!(plan("127.0.0.1:7 -c 19000").unwrap().connect.sources.is_empty());
        let sources = plan("127.0.0.1:7 -c 40000").unwrap().connect.sources;
        assert_eq!(sources, ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert!(plan("127.0.0.1:7000-7003 -c 40000").unwrap().connect.sources.is_empty());
    }
}
