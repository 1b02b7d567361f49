//! A validated plan: everything a run does, decided before it starts, and part of its report.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Serialize, Serializer};
use thiserror::Error;
use tidemark_host::cpu::CpuSet;

use crate::capacity::{self, Machine, Towards};
use crate::cli::{Linger, LoadArgs, RunArgs};
use crate::dispatch::Pace;
use crate::pacer::{SHARED_SPIN_NS, SPIN_NS};
use crate::payload::Payload;
use crate::resolve;
use crate::scenario::{Event, FileError, Population, Scenario};
use crate::schedule::{Arrivals, RateRamp, Schedule};
use crate::slo::{self, Rule};
use crate::socket;
use crate::target::{Target, TargetError};
use crate::verdict::Usage;

/// How long the replies to the last requests are waited for; the request timeout where that is shorter.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Intervals of a run: those of a day at one second each, and of a quarter of an hour at ten milliseconds.
const INTERVALS_MAX: u64 = 100_000;
/// How long the port of a connection that this end closed is not free again, seconds: the kernel's `TCP_TIMEWAIT_LEN`.
const TIME_WAIT_S: f64 = 60.0;

/// A plan that has been checked against the machine.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The target of the first population, as the user wrote it.
    #[serde(serialize_with = "display")]
    pub target: Target,
    /// Length of the measured window.
    #[serde(rename = "duration_s", serialize_with = "seconds")]
    pub duration: Duration,
    /// Load before the measured window.
    #[serde(rename = "warmup_s", serialize_with = "seconds")]
    pub warmup: Duration,
    /// Length of an interval of the series and the interval log.
    #[serde(rename = "interval_s", serialize_with = "seconds")]
    pub interval: Duration,
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
    /// How long before a deadline a worker spins, ns: less when workers share CPUs; 0 when the machine has only one.
    pub spin_ns: u64,
    /// Who does what.
    pub populations: Vec<PopulationPlan>,
    /// What is done to their connections meanwhile, in the order of time.
    pub events: Vec<EventPlan>,
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

/// Connections are dropped, and come back as after a failure.
#[derive(Clone, Debug, Serialize)]
pub struct EventPlan {
    /// When, after the measurement has begun.
    #[serde(rename = "at_s", serialize_with = "seconds")]
    pub at: Duration,
    /// Which part of the connections, 0 to 1.
    #[serde(rename = "drop")]
    pub share: f64,
    /// Of which populations; their indices.
    pub populations: Vec<usize>,
}

/// One kind of user.
#[derive(Clone, Debug, Serialize)]
pub struct PopulationPlan {
    /// Its name in every table and file.
    pub name: String,
    /// What it talks to, as the user wrote it.
    #[serde(rename = "target", serialize_with = "display")]
    pub target: Target,
    /// The addresses of all its targets, one for each port.
    #[serde(skip)]
    pub addresses: Vec<SocketAddr>,
    /// Connections it holds; the most that are open at once when they visit.
    pub connections: u32,
    /// How its requests, or its visits, arrive.
    pub arrivals: Arrivals,
    /// How the rate of these begins.
    pub ramp: Option<RateRamp>,
    /// Between a reply and the next request in a closed loop.
    #[serde(rename = "think_s", serialize_with = "seconds")]
    pub think: Duration,
    /// Its connections are opened for so many requests each, and closed.
    pub requests_per_connection: Option<u16>,
    /// Length of an echo request or of an HTTP body.
    pub payload: Payload,
    /// Requests that may be in flight on one connection.
    pub pipeline: u8,
}

impl LoadArgs {
    /// Where a run is to be shown.
    pub fn metrics_plan(&self) -> Option<MetricsPlan> {
        Some(MetricsPlan { address: self.metrics?, linger: self.metrics_linger })
    }
}

impl PopulationPlan {
    /// Whether its requests, or visits, have intended times beforehand.
    pub fn is_open_loop(&self) -> bool {
        self.arrivals.rate().is_some()
    }

    /// The rate of Poisson arrivals that have the same one throughout; none of others.
    pub fn poisson_rate(&self) -> Option<f64> {
        self.arrivals.poisson_rate().filter(|_| self.ramp.is_none())
    }

    /// What its connections are for.
    pub fn usage(&self) -> Usage {
        match (self.arrivals, self.requests_per_connection) {
            (Arrivals::Idle, _) => Usage::Nothing,
            (_, Some(_)) => Usage::Visits,
            (_, None) => Usage::Requests,
        }
    }

    /// Its rate of requests, or visits, so long after the start of the schedule.
    pub fn rate_at(&self, after: Duration) -> Option<f64> {
        let rate = self.arrivals.rate()?;
        let Some(RateRamp { from, over_s }) = self.ramp else { return Some(rate) };
        let part = (after.as_secs_f64() / over_s).min(1.0);
        Some(from + (rate - from) * part)
    }

    /// The intended times of all its requests, or visits; none without such.
    pub fn schedule(&self, seed: u64, index: usize) -> Option<Schedule> {
        Some(Schedule::new(self.arrivals, seed, index)?.ramped(self.ramp))
    }

    /// What sets the pace of the part of it that worker `worker` of `workers` has. The connections are dealt to the first workers;
    /// where there are fewer of them than of these, the others have none.
    pub fn pace(&self, seed: u64, index: usize, worker: usize, workers: usize) -> Pace {
        let workers = workers.min(self.connections as usize);
        let schedule = self.schedule(seed, index).filter(|_| worker < workers);
        let Some(share) = schedule.map(|schedule| schedule.share(worker, workers)) else {
            return match self.arrivals {
                Arrivals::Closed => Pace::Closed { think_ns: ns(self.think) },
                _ => Pace::Idle,
            };
        };
        match (self.arrivals, self.requests_per_connection) {
            (Arrivals::Every { .. }, _) => Pace::Turns(share),
            (_, Some(requests)) => Pace::Visits { share, requests },
            (_, None) => Pace::Any(share),
        }
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
    /// The scenario file is not what it should be.
    #[error(transparent)]
    Scenario(#[from] FileError),
    /// Flags that contradict each other, or a value that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The machine does not allow it.
    #[error("{0}")]
    Host(String),
}

impl Plan {
    /// Checks the arguments, and the scenario that they name, against each other and against the machine.
    ///
    /// # Errors
    /// When they contradict each other, or the machine cannot hold the connections: then with what would help.
    pub fn new(args: &RunArgs, machine: &Machine) -> Result<Self, PlanError> {
        Self::of(Scenario::new(args)?, args.load.metrics_plan(), machine)
    }

    /// Checks a scenario against the machine.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn of(
        scenario: Scenario,
        metrics: Option<MetricsPlan>,
        machine: &Machine,
    ) -> Result<Self, PlanError> {
        if let Some(pin) = &scenario.pin
            && let Some(&cpu) = pin.ids().iter().find(|&&cpu| !machine.cpus.contains(cpu))
        {
            let why = format!("--pin: CPU {cpu} is not among those this process may use ({})", machine.cpus);
            return Err(PlanError::Usage(why));
        }
        // The file is checked by itself, but a flag may have made the run shorter.
        if let Some(event) = scenario.events.iter().find(|event| event.at >= scenario.duration) {
            return Err(PlanError::Usage(format!(
                "the scenario has an event at {}, and the measurement is over after {}; measure longer (--duration)",
                humantime::format_duration(event.at),
                humantime::format_duration(scenario.duration)
            )));
        }
        check_intervals(scenario.duration, scenario.interval)?;
        let mut notes = Vec::new();
        let populations: Vec<PopulationPlan> = scenario
            .populations
            .iter()
            .map(|population| PopulationPlan::new(population, &scenario, &mut notes))
            .collect::<Result<_, _>>()?;
        let socket = socket_options(&scenario, &mut notes)?;
        let mut addresses = populations.iter().flat_map(|population| &population.addresses);
        let is_local = addresses.all(|address| address.ip().is_loopback());
        let (workers, private_fd_tables) = capacity::workers(&scenario, machine, is_local, &mut notes)?;
        let towards = towards(&populations, &socket);
        let sources = capacity::sources(scenario.source.as_deref(), machine, &towards, &mut notes)?;
        let cpus = scenario.pin.as_ref().unwrap_or(&machine.cpus);
        check_rules(&scenario.slo, &populations)?;
        Ok(Self {
            target: populations[0].target.clone(),
            duration: scenario.duration,
            warmup: scenario.warmup,
            interval: scenario.interval,
            drain: DRAIN_MAX.min(scenario.timeout),
            timeout: scenario.timeout,
            seed: scenario.seed,
            connect: ConnectPlan {
                rate: scenario.connect.rate,
                in_flight: scenario.connect.in_flight as usize,
                timeout: scenario.connect.timeout,
                sources,
                socket,
            },
            workers,
            private_fd_tables,
            spin_ns: spin_ns(workers, cpus, &machine.cpus),
            pin: scenario.pin,
            events: events(&scenario.events, &populations),
            populations,
            slo: scenario.slo,
            metrics,
            notes,
        })
    }

    /// Intervals of the measured window, of which the last may be cut short.
    pub fn intervals(&self) -> u64 {
        intervals(self.duration, self.interval)
    }

    /// The connections that are opened before the load begins.
    pub fn held_connections(&self) -> u64 {
        let held = self.populations.iter().filter(|population| population.requests_per_connection.is_none());
        held.map(|population| u64::from(population.connections)).sum()
    }

    /// All connections of the run.
    pub fn connections(&self) -> u64 {
        self.populations.iter().map(|population| u64::from(population.connections)).sum()
    }
}

fn intervals(duration: Duration, interval: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(interval.as_nanos().max(1))).unwrap_or(u64::MAX)
}

/// A row of each interval is kept until the end, and is in the report.
fn check_intervals(duration: Duration, interval: Duration) -> Result<(), PlanError> {
    let count = intervals(duration, interval);
    if count <= INTERVALS_MAX {
        return Ok(());
    }
    Err(PlanError::Usage(format!(
        "{} at an interval of {} are {count} intervals, of which at most {INTERVALS_MAX} are kept; give a longer interval \
         (--interval), or measure shorter",
        humantime::format_duration(duration),
        humantime::format_duration(interval),
    )))
}

impl PopulationPlan {
    fn new(population: &Population, scenario: &Scenario, notes: &mut Vec<String>) -> Result<Self, PlanError> {
        let mut addresses = Vec::new();
        for target in &population.targets {
            let source = scenario.source.as_deref();
            addresses.extend(resolve::addresses(target, source, scenario.connect.timeout, notes)?);
        }
        let Population {
            name,
            targets,
            connections,
            arrivals,
            ramp,
            think,
            requests_per_connection,
            payload,
            pipeline,
        } = population.clone();
        let Some(target) = targets.into_iter().next() else {
            return Err(PlanError::Usage(format!("population '{name}' has no target; name one")));
        };
        Ok(Self {
            name,
            target,
            addresses,
            connections,
            arrivals,
            ramp,
            think,
            requests_per_connection,
            payload,
            pipeline,
        })
    }

    /// One for tests, called "main".
    #[cfg(test)]
    pub(crate) fn example(connections: u32, arrivals: Arrivals) -> Self {
        Self {
            name: "main".to_owned(),
            target: "127.0.0.1:7".parse().unwrap(),
            addresses: vec![([127, 0, 0, 1], 7).into()],
            connections,
            arrivals,
            ramp: None,
            think: Duration::ZERO,
            requests_per_connection: None,
            payload: Payload::Fixed { bytes: 64 },
            pipeline: 1,
        }
    }

    /// Ports that it needs at once: where connections come and go also those that are not free again yet.
    fn ports(&self, socket: &socket::Options) -> u64 {
        let visits_per_s = match socket.linger {
            Linger::Fin => self.requests_per_connection.and(self.arrivals.rate()).unwrap_or(0.0),
            Linger::Reset => 0.0,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and bounded")]
        let in_time_wait = (visits_per_s * TIME_WAIT_S) as u64;
        u64::from(self.connections) + in_time_wait
    }
}

/// How long before a deadline each of so many workers on `cpus` spins. What it spins for it takes from those that share its CPU, and from
/// a target that has no other.
fn spin_ns(workers: usize, cpus: &CpuSet, machine: &CpuSet) -> u64 {
    if machine.len() == 1 {
        0
    } else if workers > cpus.len() {
        SHARED_SPIN_NS
    } else {
        SPIN_NS
    }
}

/// Events in the order of time. One that names no population is of all that hold connections.
fn events(events: &[Event], populations: &[PopulationPlan]) -> Vec<EventPlan> {
    let concerned = |event: &Event| {
        let held = |of: &PopulationPlan| of.requests_per_connection.is_none();
        let is_meant =
            |of: &PopulationPlan| event.population.as_ref().map_or_else(|| held(of), |name| *name == of.name);
        populations.iter().enumerate().filter(|(_, of)| is_meant(of)).map(|(index, _)| index).collect()
    };
    let mut plans: Vec<EventPlan> = events
        .iter()
        .map(|event| EventPlan { at: event.at, share: event.share, populations: concerned(event) })
        .collect();
    plans.sort_by_key(|plan| plan.at);
    plans
}

/// The populations by their addresses: those of one compete for ports.
fn towards<'a>(populations: &'a [PopulationPlan], socket: &socket::Options) -> Vec<Towards<'a>> {
    let mut all: Vec<Towards<'_>> = Vec::new();
    for population in populations {
        match all.iter_mut().find(|it| it.addresses == population.addresses) {
            Some(it) => it.connections += population.ports(socket),
            None => {
                all.push(Towards { addresses: &population.addresses, connections: population.ports(socket) });
            }
        }
    }
    all
}

fn socket_options(scenario: &Scenario, notes: &mut Vec<String>) -> Result<socket::Options, PlanError> {
    let options = socket::Options::new(&scenario.sockets)
        .map_err(|error| PlanError::Host(format!("cannot make a socket: {error}")))?;
    notes.extend(options.notes());
    Ok(options)
}

/// Every rule is about populations that there are.
fn check_rules(rules: &[Rule], populations: &[PopulationPlan]) -> Result<(), PlanError> {
    for rule in rules {
        let names = populations.iter().map(|population| population.name.as_str());
        if let Some(why) = slo::stranger(rule, names) {
            return Err(PlanError::Usage(format!("--slo '{rule}': {why}")));
        }
    }
    Ok(())
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
        assert_eq!((many.workers, many.private_fd_tables, many.spin_ns), (6, true, SHARED_SPIN_NS));
        assert_eq!(many.notes.len(), 2);
        let alone = Machine { cpus: "0".parse().unwrap(), ..machine(20_000, true) };
        assert_eq!(plan_on(&alone, "127.0.0.1:7 -c 10").unwrap().spin_ns, 0, "the target has no other CPU");
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
        assert!(plan("127.0.0.1:7 -c 12000").unwrap().connect.sources.is_empty());
        let sources = plan("127.0.0.1:7 -c 40000").unwrap().connect.sources;
        assert_eq!(
            sources,
            ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
        assert!(plan("127.0.0.1:7000-7003 -c 40000").unwrap().connect.sources.is_empty());
    }
}
