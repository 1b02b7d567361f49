//! What a run is to do, from the command line or from a file that it overrides. [`crate::plan`] makes a checked plan of it.

mod file;

use std::path::Path;
use std::time::Duration;

use tidemark_host::cpu::CpuSet;

pub use file::FileError;

use crate::cli::{ArrivalArg, CONNECTIONS, LoadArgs, RunArgs, SocketArgs};
use crate::payload::Payload;
use crate::plan::PlanError;
use crate::schedule::{Arrivals, RateRamp};
use crate::slo::Rule;
use crate::target::{Protocol, Target};

/// What holds unless a file or a flag says otherwise.
const DURATION: Duration = Duration::from_secs(10);
const WARMUP: Duration = Duration::from_secs(1);
/// Of the series and the interval log.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Workers wake, and the run so far is written down, at the end of each interval: that is to be rare beside requests.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A run that is killed loses its last interval.
const INTERVAL_MAX: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_RATE: f64 = 20_000.0;
/// Handshakes under way at once, over all workers: a quarter of the usual listen backlog.
const CONNECTS_IN_FLIGHT: u32 = 1024;
const SEED: u64 = 1;
/// Bytes of an echo request.
const PAYLOAD_BYTES: u32 = 64;

/// What a run is to do.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Length of the measured window.
    pub duration: Duration,
    /// Load before it.
    pub warmup: Duration,
    /// Length of an interval of the series and the interval log.
    pub interval: Duration,
    /// When a request counts as timed out.
    pub timeout: Duration,
    /// Seed of all that is random.
    pub seed: u64,
    /// How connections are opened.
    pub connect: Connect,
    /// Worker threads; `None` lets the plan choose.
    pub workers: Option<u16>,
    /// CPUs to run on.
    pub pin: Option<CpuSet>,
    /// Local addresses, as they were written.
    pub source: Option<String>,
    /// What is set on the sockets.
    pub sockets: SocketArgs,
    /// Who does what; at least one.
    pub populations: Vec<Population>,
    /// What is done to their connections meanwhile.
    pub events: Vec<Event>,
    /// Rules to keep.
    pub slo: Vec<Rule>,
}

/// Connections are dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, after the measurement has begun.
    pub at: Duration,
    /// Which part of them, above 0 and up to 1.
    pub share: f64,
    /// Of which population; of all that hold connections when it names none.
    pub population: Option<String>,
}

/// How connections are opened.
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    /// Attempts per second.
    pub rate: f64,
    /// Handshakes under way at once.
    pub in_flight: u32,
    /// A handshake that takes longer has failed.
    pub timeout: Duration,
}

/// One kind of user.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// Its name in every table and file.
    pub name: String,
    /// What it talks to; at least one, and all of the same protocol.
    pub targets: Vec<Target>,
    /// Connections that it holds; the most that are open at once when they visit.
    pub connections: u32,
    /// How its requests, or its visits, arrive.
    pub arrivals: Arrivals,
    /// How the rate of these begins.
    pub ramp: Option<RateRamp>,
    /// Between a reply and the next request, in a closed loop.
    pub think: Duration,
    /// Its connections are opened for so many requests each, and closed.
    pub requests_per_connection: Option<u16>,
    /// Length of its requests.
    pub payload: Payload,
    /// Requests that may be in flight on one connection.
    pub pipeline: u8,
}

impl Scenario {
    /// What the arguments ask for, of the file that they name or by themselves.
    ///
    /// # Errors
    /// When they contradict each other, or the file is not what it should be.
    pub fn new(args: &RunArgs) -> Result<Self, PlanError> {
        match &args.load.scenario {
            Some(path) => Self::from_file(path, args),
            None => Self::from_flags(args),
        }
    }

    fn from_file(path: &Path, args: &RunArgs) -> Result<Self, PlanError> {
        let mut scenario = file::read(path, args.load.target.as_ref())?;
        scenario.take_over(&args.load);
        if let Some(duration) = args.duration {
            scenario.duration = duration;
        }
        if !args.slo.is_empty() {
            scenario.slo.clone_from(&args.slo);
        }
        Ok(scenario)
    }

    fn from_flags(args: &RunArgs) -> Result<Self, PlanError> {
        let Some(target) = args.load.target.clone() else {
            let why = "what is to be measured? give a target, such as 127.0.0.1:7000, or --scenario FILE";
            return Err(PlanError::Usage(why.to_owned()));
        };
        let bytes = payload_bytes(&target, args.load.payload)?;
        let mut scenario = Self {
            duration: args.duration.unwrap_or(DURATION),
            slo: args.slo.clone(),
            populations: vec![Population {
                name: "main".to_owned(),
                targets: vec![target],
                connections: args.connections.unwrap_or(CONNECTIONS),
                arrivals: arrivals(args)?,
                ramp: None,
                think: Duration::ZERO,
                requests_per_connection: None,
                payload: Payload::Fixed { bytes },
                pipeline: args.load.pipeline.unwrap_or(1),
            }],
            ..Self::empty()
        };
        scenario.take_over(&args.load);
        Ok(scenario)
    }

    /// One without populations, in which everything is as it is unless it is said otherwise.
    fn empty() -> Self {
        Self {
            duration: DURATION,
            warmup: WARMUP,
            interval: INTERVAL,
            timeout: TIMEOUT,
            seed: SEED,
            connect: Connect { rate: CONNECT_RATE, in_flight: CONNECTS_IN_FLIGHT, timeout: CONNECT_TIMEOUT },
            workers: None,
            pin: None,
            source: None,
            sockets: SocketArgs::default(),
            populations: Vec::new(),
            events: Vec::new(),
            slo: Vec::new(),
        }
    }

    /// Flags win.
    fn take_over(&mut self, load: &LoadArgs) {
        let set = |of: &mut Duration, flag: Option<Duration>| *of = flag.unwrap_or(*of);
        set(&mut self.warmup, load.warmup);
        set(&mut self.interval, load.interval);
        set(&mut self.timeout, load.timeout);
        set(&mut self.connect.timeout, load.connect_timeout);
        self.connect.rate = load.connect_rate.unwrap_or(self.connect.rate);
        self.seed = load.seed.unwrap_or(self.seed);
        self.workers = load.workers.or(self.workers);
        self.pin = load.pin.clone().or(self.pin.take());
        self.source = load.source.clone().or(self.source.take());
        self.sockets = load.sockets.or(self.sockets);
    }

    /// Changes all rates alike, so that those of requests, not of visits, come to this many per second.
    ///
    /// # Errors
    /// When there is no such rate.
    pub fn scale_rates(&mut self, per_second: f64) -> Result<(), PlanError> {
        let rated = |population: &Population| match (population.arrivals, population.requests_per_connection)
        {
            (Arrivals::Poisson { rate } | Arrivals::Constant { rate }, None) => rate,
            _ => 0.0,
        };
        let before: f64 = self.populations.iter().map(rated).sum();
        if before <= 0.0 {
            let why = "the scenario has no rate to find: give a population rate = PER_SECOND, or --find connections";
            return Err(PlanError::Usage(why.to_owned()));
        }
        let factor = per_second / before;
        for population in self.populations.iter_mut().filter(|population| rated(population) > 0.0) {
            if let Arrivals::Poisson { rate } | Arrivals::Constant { rate } = &mut population.arrivals {
                *rate *= factor;
            }
            if let Some(ramp) = &mut population.ramp {
                ramp.from *= factor;
            }
        }
        Ok(())
    }

    /// Changes the connections that are held, of all populations alike, so that they come to this many. None loses its last.
    pub fn scale_connections(&mut self, all: u64) {
        let held = |population: &Population| population.requests_per_connection.is_none();
        let before: u64 =
            self.populations.iter().filter(|it| held(it)).map(|it| u64::from(it.connections)).sum();
        for population in self.populations.iter_mut().filter(|it| held(it)) {
            let scaled = u128::from(population.connections) * u128::from(all) / u128::from(before.max(1));
            population.connections = u32::try_from(scaled).unwrap_or(u32::MAX).max(1);
            if let Arrivals::Every { connections, .. } = &mut population.arrivals {
                *connections = population.connections;
            }
        }
    }

    /// Those of its largest population.
    pub fn most_connections(&self) -> u64 {
        self.populations.iter().map(|population| u64::from(population.connections)).max().unwrap_or(0)
    }

    /// All connections that it holds, or has open at once.
    pub fn connections(&self) -> u64 {
        self.populations.iter().map(|population| u64::from(population.connections)).sum()
    }
}

/// Whether an interval may be as long as this. The interval log tells times to the millisecond.
pub(crate) fn is_interval(length: Duration) -> bool {
    (INTERVAL_MIN..=INTERVAL_MAX).contains(&length) && length.subsec_nanos().is_multiple_of(1_000_000)
}

/// The bytes of a request when only a number was given, or none.
fn payload_bytes(target: &Target, payload: Option<u32>) -> Result<u32, PlanError> {
    match (&target.protocol, payload) {
        (Protocol::Echo, Some(0)) => Err(PlanError::Usage(
            "--payload 0: an echo request needs at least one byte to come back".to_owned(),
        )),
        (Protocol::Echo, payload) => Ok(payload.unwrap_or(PAYLOAD_BYTES)),
        (Protocol::Http { .. }, payload) => Ok(payload.unwrap_or(0)),
    }
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
