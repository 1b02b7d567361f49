//! The scenario file: TOML, in which nothing is ignored. What is wrong is told with its line and, where there is one, the name
//! that was probably meant.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use tidemark_host::cpu::CpuSet;
use toml::Spanned;

use super::{Event, PAYLOAD_BYTES, Population, Scenario};
use crate::capacity::WORKERS_MAX;
use crate::cli::{
    ArrivalArg, BUFFER_BYTES_MAX, DURATION_MAX, Linger, PAYLOAD_MAX, RATE_MAX, SocketArgs, Switch,
    parse_interval,
};
use crate::outstanding::DEPTH_MAX;
use crate::payload::Payload;
use crate::schedule::{Arrivals, RateRamp};
use crate::slo::{self, Rule};
use crate::target::{Protocol, Target};

/// A file that is larger is none of ours.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Each has its histograms on each worker.
const POPULATIONS_MAX: usize = 32;
/// It stands in tables.
const NAME_BYTES_MAX: usize = 32;
/// As many connections as are ever held.
const CONNECTIONS_MAX: u32 = 10_000_000;
/// Connections that visit may be open at once, unless the file says otherwise: as many as come within a second, between these.
const VISITING: (f64, f64) = (64.0, 65_536.0);
/// Different lengths of a weighted payload; more are a mistake.
const LENGTHS_MAX: usize = 1000;
/// All requests of an HTTP population are made beforehand, and may take so much memory.
const REQUESTS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What is wrong with a file, and where.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {source}; give --scenario the path of a TOML file")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path}: {bytes} bytes are no scenario; at most {FILE_BYTES_MAX} are read")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It does not say what it should.
    #[error("{path}:{line}: {why}")]
    Says {
        /// Which file.
        path: PathBuf,
        /// Where in it; counts from 1.
        line: usize,
        /// What is wrong, and how to mend it.
        why: String,
    },
}

/// Reads a file. A target of the command line takes the place of all that it names.
///
/// # Errors
/// One line with the place, what is wrong and how to mend it.
pub(super) fn read(path: &Path, target: Option<&Target>) -> Result<Scenario, FileError> {
    let cannot_read = |source| FileError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(cannot_read)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes });
    }
    let text = std::fs::read_to_string(path).map_err(cannot_read)?;
    parse(&text, target).map_err(|Wrong { at, why }| {
        let line = 1 + text.get(..at.start).unwrap_or_default().matches('\n').count();
        FileError::Says { path: path.to_owned(), line, why }
    })
}

/// A mistake and its place in the text.
#[derive(Debug)]
struct Wrong {
    at: Range<usize>,
    why: String,
}

impl Wrong {
    fn new(at: &Range<usize>, why: impl Into<String>) -> Self {
        Self { at: at.clone(), why: why.into() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "targets")]
    target: Option<Vec<Target>>,
    #[serde(default, deserialize_with = "duration")]
    duration: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    warmup: Option<Duration>,
    #[serde(default, deserialize_with = "interval")]
    interval: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    timeout: Option<Duration>,
    seed: Option<u64>,
    #[serde(default, deserialize_with = "workers")]
    workers: Option<u16>,
    #[serde(default, deserialize_with = "text")]
    pin: Option<CpuSet>,
    source: Option<String>,
    #[serde(default)]
    connect: FileConnect,
    #[serde(default)]
    socket: FileSocket,
    #[serde(default)]
    population: Vec<Spanned<FilePopulation>>,
    #[serde(default)]
    event: Vec<Spanned<FileEvent>>,
    #[serde(default)]
    slo: FileSlo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConnect {
    #[serde(default, deserialize_with = "rate")]
    rate: Option<f64>,
    #[serde(default, deserialize_with = "connections")]
    in_flight: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    timeout: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSocket {
    nodelay: Option<bool>,
    #[serde(default, deserialize_with = "buffer")]
    send_buffer: Option<u32>,
    #[serde(default, deserialize_with = "buffer")]
    receive_buffer: Option<u32>,
    linger: Option<Linger>,
}

impl From<FileSocket> for SocketArgs {
    fn from(file: FileSocket) -> Self {
        Self {
            nodelay: file.nodelay.map(|is_on| if is_on { Switch::On } else { Switch::Off }),
            send_buffer: file.send_buffer,
            receive_buffer: file.receive_buffer,
            linger: file.linger,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSlo {
    #[serde(default)]
    rules: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEvent {
    #[serde(deserialize_with = "some_duration")]
    at: Duration,
    #[serde(deserialize_with = "share")]
    drop: f64,
    population: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePopulation {
    name: Spanned<String>,
    #[serde(default, deserialize_with = "targets")]
    target: Option<Vec<Target>>,
    #[serde(default, deserialize_with = "connections")]
    connections: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    every: Option<Duration>,
    #[serde(default, deserialize_with = "rate")]
    rate: Option<f64>,
    arrival: Option<FileArrival>,
    ramp: Option<Spanned<FileRamp>>,
    #[serde(default, deserialize_with = "duration")]
    think: Option<Duration>,
    #[serde(default, deserialize_with = "rate")]
    connection_rate: Option<f64>,
    #[serde(default, deserialize_with = "requests")]
    requests_per_connection: Option<u16>,
    payload: Option<Spanned<FilePayload>>,
    #[serde(default, deserialize_with = "pipeline")]
    pipeline: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileArrival {
    Poisson,
    Constant,
    Closed,
}

impl From<FileArrival> for ArrivalArg {
    fn from(arrival: FileArrival) -> Self {
        match arrival {
            FileArrival::Poisson => Self::Poisson,
            FileArrival::Constant => Self::Constant,
            FileArrival::Closed => Self::Closed,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRamp {
    from: f64,
    #[serde(deserialize_with = "some_duration")]
    over: Duration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a payload is a number of bytes, { min = BYTES, max = BYTES }, or [[BYTES, WEIGHT], ...]"
)]
enum FilePayload {
    Fixed(u32),
    Uniform { min: u32, max: u32 },
    Weighted(Vec<(u32, f64)>),
}

fn parse(text: &str, target: Option<&Target>) -> Result<Scenario, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let why = told(error.message());
        // Of a value that is wrong by itself the parser does not say whose it is.
        let key = key_before(text, at.start).filter(|key| !why.contains(key));
        Wrong { why: key.map_or_else(|| why.clone(), |key| format!("{key}: {why}")), at }
    })?;
    let mut scenario = Scenario::empty();
    let set = |of: &mut Duration, value: Option<Duration>| *of = value.unwrap_or(*of);
    set(&mut scenario.duration, file.duration);
    set(&mut scenario.warmup, file.warmup);
    set(&mut scenario.interval, file.interval);
    set(&mut scenario.timeout, file.timeout);
    set(&mut scenario.connect.timeout, file.connect.timeout);
    scenario.connect.rate = file.connect.rate.unwrap_or(scenario.connect.rate);
    scenario.connect.in_flight = file.connect.in_flight.unwrap_or(scenario.connect.in_flight);
    scenario.sockets = file.socket.into();
    scenario.seed = file.seed.unwrap_or(scenario.seed);
    (scenario.workers, scenario.pin, scenario.source) = (file.workers, file.pin, file.source);
    let whole = 0..0;
    if file.population.is_empty() {
        return Err(Wrong::new(
            &whole,
            "there is no population; add [[population]] with a name and connections",
        ));
    }
    if file.population.len() > POPULATIONS_MAX {
        let why = format!("{} populations; at most {POPULATIONS_MAX} are run at once", file.population.len());
        return Err(Wrong::new(&whole, why));
    }
    for population in file.population {
        let at = population.span();
        let population = population.into_inner();
        check_name(&population.name, &scenario.populations)?;
        let given = target.map(|target| vec![target.clone()]);
        let Some(targets) = given.or(population.target.clone()).or(file.target.clone()) else {
            let why = "it has no target; add target = \"tcp://HOST:PORT\" to it or to the top of the file, or name one on the command line";
            return Err(Wrong::new(&at, why));
        };
        scenario.populations.push(self::population(population, &at, targets)?);
    }
    for event in file.event {
        let at = event.span();
        scenario.events.push(self::event(event.into_inner(), &at, &scenario)?);
    }
    for rule in file.slo.rules {
        let parsed =
            rule.get_ref().parse::<Rule>().map_err(|error| Wrong::new(&rule.span(), error.to_string()))?;
        let names = scenario.populations.iter().map(|population| population.name.as_str());
        if let Some(why) = slo::stranger(&parsed, names) {
            return Err(Wrong::new(&rule.span(), why));
        }
        scenario.slo.push(parsed);
    }
    Ok(scenario)
}

/// The key whose value is, or begins, at this place; none where there is no key on the line before it.
fn key_before(text: &str, at: usize) -> Option<&str> {
    let line = text.get(..at)?.rsplit('\n').next()?;
    let (key, _) = line.rsplit_once('=')?;
    let key = key.trim_end().rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).next()?;
    (!key.is_empty()).then_some(key)
}

/// What the parser says, with the name that was probably meant instead of all that there are.
fn told(message: &str) -> String {
    let line = message.lines().next().unwrap_or("this is no TOML");
    let (what, rest) = match (line.strip_prefix("unknown field `"), line.strip_prefix("unknown variant `")) {
        (Some(rest), _) => ("unknown key", rest),
        (_, Some(rest)) => ("unknown value", rest),
        _ => return line.to_owned(),
    };
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    match slo::nearest(unknown, known.iter().copied()) {
        Some(nearest) => format!("{what} '{unknown}'; did you mean {nearest}?"),
        None => format!("{what} '{unknown}'; there are: {}", known.join(", ")),
    }
}

/// Names stand in rules before a dot, in tags of the interval log and in file names.
fn check_name(name: &Spanned<String>, before: &[Population]) -> Result<(), Wrong> {
    let wrong = |why: String| Err(Wrong::new(&name.span(), why));
    let name = name.get_ref();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return wrong(format!(
            "'{name}' is no name; one has 1 to {NAME_BYTES_MAX} of the characters a-z, A-Z, 0-9, - and _"
        ));
    }
    if name == "all" {
        return wrong("'all' means all populations in rules; choose another name".to_owned());
    }
    if before.iter().any(|population| population.name == *name) {
        return wrong(format!("there are two populations called '{name}'; give each a name of its own"));
    }
    Ok(())
}

fn population(file: FilePopulation, at: &Range<usize>, targets: Vec<Target>) -> Result<Population, Wrong> {
    let wrong = |why: &str| Err(Wrong::new(at, why));
    let paces = [
        ("every", file.every.is_some()),
        ("rate", file.rate.is_some()),
        ("connection_rate", file.connection_rate.is_some()),
        ("think", file.think.is_some()),
    ];
    let mut given = paces.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        return wrong(&format!("{first} and {second} cannot both set the pace; keep one of them"));
    }
    let is_visited = file.connection_rate.is_some();
    if file.requests_per_connection.is_some() && !is_visited {
        return wrong("requests_per_connection belongs to connections that come and go: add connection_rate");
    }
    let connections = match (file.connections, file.connection_rate) {
        (Some(connections), _) => connections,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two numbers of connections"
        )]
        (None, Some(rate)) => rate.ceil().clamp(VISITING.0, VISITING.1) as u32,
        (None, None) => return wrong("how many connections? add connections = N"),
    };
    let arrivals = arrivals(&file, connections).map_err(|why| Wrong::new(at, why))?;
    if let (Arrivals::Idle, Some(payload)) = (arrivals, &file.payload) {
        let why = "nothing is sent without a pace; add every, rate, think, or arrival = \"closed\", or leave payload out";
        return Err(Wrong::new(&payload.span(), why));
    }
    let pipeline = file.pipeline.unwrap_or(1);
    if pipeline > 1
        && (is_visited || file.think.is_some() || matches!(arrivals, Arrivals::Idle | Arrivals::Every { .. }))
    {
        return wrong(
            "only connections with a rate, or in a closed loop without think time, can pipeline; leave pipeline out",
        );
    }
    let ramp = ramp(file.ramp.as_ref(), arrivals)?;
    let payload = payload(file.payload.as_ref(), &targets[0])?;
    Ok(Population {
        name: file.name.into_inner(),
        targets,
        connections,
        arrivals,
        ramp,
        think: file.think.unwrap_or_default(),
        requests_per_connection: is_visited.then(|| file.requests_per_connection.unwrap_or(1)),
        payload,
        pipeline,
    })
}

fn event(file: FileEvent, at: &Range<usize>, scenario: &Scenario) -> Result<Event, Wrong> {
    if file.at >= scenario.duration {
        let why = format!(
            "the event is at {}, and the measurement is over after {}",
            humantime::format_duration(file.at),
            humantime::format_duration(scenario.duration)
        );
        return Err(Wrong::new(at, why));
    }
    let Some(name) = file.population else {
        return Ok(Event { at: file.at, share: file.drop, population: None });
    };
    let meant = scenario.populations.iter().find(|population| population.name == *name.get_ref());
    match meant {
        None => {
            let names: Vec<&str> = scenario.populations.iter().map(|it| it.name.as_str()).collect();
            let hint = match slo::nearest(name.get_ref(), names.iter().copied()) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("there are: {}", names.join(", ")),
            };
            Err(Wrong::new(&name.span(), format!("no population is called '{}'; {hint}", name.get_ref())))
        }
        Some(population) if population.requests_per_connection.is_some() => Err(Wrong::new(
            &name.span(),
            "its connections come and go by themselves; name a population that holds them",
        )),
        Some(_) => Ok(Event { at: file.at, share: file.drop, population: Some(name.into_inner()) }),
    }
}

fn arrivals(file: &FilePopulation, connections: u32) -> Result<Arrivals, &'static str> {
    let rate = file.rate.or(file.connection_rate);
    match (file.arrival, rate, file.every, file.think) {
        (None | Some(FileArrival::Poisson), Some(rate), ..) => Ok(Arrivals::Poisson { rate }),
        (Some(FileArrival::Constant), Some(rate), ..) => Ok(Arrivals::Constant { rate }),
        (Some(FileArrival::Closed), Some(_), ..) => {
            Err("arrival = \"closed\" has no rate: replies set the pace; keep one of them")
        }
        (None, None, Some(period), _) => Ok(Arrivals::Every { period_s: period.as_secs_f64(), connections }),
        (Some(_), None, Some(_), _) => Err("every is its own kind of arrival; leave arrival out"),
        (None | Some(FileArrival::Closed), None, None, Some(_))
        | (Some(FileArrival::Closed), None, None, None) => Ok(Arrivals::Closed),
        (Some(_), None, None, _) => Err("an open loop needs a rate: add rate = PER_SECOND"),
        (None, None, None, None) => Ok(Arrivals::Idle),
    }
}

fn ramp(ramp: Option<&Spanned<FileRamp>>, arrivals: Arrivals) -> Result<Option<RateRamp>, Wrong> {
    let Some(ramp) = ramp else { return Ok(None) };
    let FileRamp { from, over } = *ramp.get_ref();
    if !matches!(arrivals, Arrivals::Poisson { .. } | Arrivals::Constant { .. }) {
        return Err(Wrong::new(
            &ramp.span(),
            "only a rate can be ramped; add rate or connection_rate, or leave ramp out",
        ));
    }
    if !(0.0..=RATE_MAX).contains(&from) {
        return Err(Wrong::new(&ramp.span(), format!("a ramp begins at a rate from 0 to {RATE_MAX}")));
    }
    Ok(Some(RateRamp { from, over_s: over.as_secs_f64() }))
}

fn payload(payload: Option<&Spanned<FilePayload>>, target: &Target) -> Result<Payload, Wrong> {
    let is_echo = target.protocol == Protocol::Echo;
    let Some(spanned) = payload else {
        return Ok(Payload::Fixed { bytes: if is_echo { PAYLOAD_BYTES } else { 0 } });
    };
    let wrong = |why: String| Err(Wrong::new(&spanned.span(), why));
    let payload = match spanned.get_ref().clone() {
        FilePayload::Fixed(bytes) => Payload::Fixed { bytes },
        FilePayload::Uniform { min, max } if min > max => {
            return wrong(format!("the range of the payload runs backwards: {min} to {max}"));
        }
        FilePayload::Uniform { min, max } => Payload::Uniform { min_bytes: min, max_bytes: max },
        FilePayload::Weighted(lengths) => {
            if lengths.is_empty() || !lengths.iter().all(|&(_, weight)| weight > 0.0 && weight.is_finite()) {
                return wrong(
                    "a weighted payload is a list of [BYTES, WEIGHT], each weight above 0".to_owned(),
                );
            }
            if lengths.len() > LENGTHS_MAX {
                return wrong(format!("{} lengths; a payload has at most {LENGTHS_MAX}", lengths.len()));
            }
            Payload::Weighted { lengths }
        }
    };
    if payload.max_bytes() > PAYLOAD_MAX {
        return wrong(format!("a payload has at most {PAYLOAD_MAX} bytes"));
    }
    if is_echo && payload.min_bytes() == 0 {
        return wrong("an echo request needs at least one byte to come back".to_owned());
    }
    let mut lengths = payload.turns(0);
    lengths.sort_unstable();
    lengths.dedup();
    let requests_bytes: u64 = lengths.iter().map(|&bytes| u64::from(bytes)).sum();
    if !is_echo && requests_bytes > REQUESTS_BYTES_MAX {
        return wrong(format!(
            "requests of all these lengths take {requests_bytes} bytes of memory; make them shorter"
        ));
    }
    Ok(payload)
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a target is a text such as \"tcp://127.0.0.1:7000\", or a list of such")]
enum Written {
    One(String),
    Many(Vec<String>),
}

fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Target>>, D::Error> {
    let texts = match Written::deserialize(deserializer)? {
        Written::One(text) => vec![text],
        Written::Many(texts) => texts,
    };
    let targets: Vec<Target> =
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(D::Error::custom)?;
    match targets.as_slice() {
        [] => Err(D::Error::custom("the list of targets is empty; name at least one")),
        [first, rest @ ..] if rest.iter().any(|target| target.protocol != first.protocol) => {
            Err(D::Error::custom("targets of one population speak the same protocol, and have the same path"))
        }
        _ => Ok(Some(targets)),
    }
}

/// A value that is written as a text.
fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err(D::Error::custom(format!("'{text}' is longer than a day"))),
        Err(error) => Err(D::Error::custom(format!(
            "'{text}' is no duration: {error}; write \"250ms\", \"10s\" or \"5m\""
        ))),
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    some_duration(deserializer).map(Some)
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    parse_interval(&String::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let rate = f64::deserialize(deserializer)?;
    if rate > 0.0 && rate <= RATE_MAX {
        return Ok(Some(rate));
    }
    Err(D::Error::custom(format!("a rate is a number above 0 and up to {RATE_MAX}, such as 20000")))
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err(D::Error::custom(format!("'{text}' is no part of the connections; write \"20%\""))),
    }
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    in_range(i64::deserialize(deserializer)?, CONNECTIONS_MAX)
}

fn requests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    in_range(i64::deserialize(deserializer)?, u16::MAX)
}

fn pipeline<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    in_range(i64::deserialize(deserializer)?, DEPTH_MAX)
}

fn buffer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    in_range(i64::deserialize(deserializer)?, BUFFER_BYTES_MAX)
}

fn workers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    in_range(i64::deserialize(deserializer)?, WORKERS_MAX)
}

fn in_range<T: TryFrom<i64> + Into<i64> + Copy, E: serde::de::Error>(
    number: i64,
    max: T,
) -> Result<Option<T>, E> {
    match T::try_from(number) {
        Ok(fits) if (1..=max.into()).contains(&number) => Ok(Some(fits)),
        _ => Err(E::custom(format!("{number} is not from 1 to {}", max.into()))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parsed(text: &str) -> Result<Scenario, String> {
        parse(text, None)
            .map_err(|Wrong { at, why }| format!("{}: {why}", 1 + text[..at.start].matches('\n').count()))
    }

    /// One population, with the keys that every one has.
    fn population(keys: &str) -> Result<Population, String> {
        let text = format!("target = \"127.0.0.1:7000\"\n[[population]]\nname = \"p\"\n{keys}");
        parsed(&text).map(|mut scenario| scenario.populations.remove(0))
    }

    #[test]
    fn a_file_that_says_the_least_is_as_a_run_without_flags() {
        let scenario =
            parsed("[[population]]\nname = \"p\"\ntarget = \"127.0.0.1:7000\"\nconnections = 3\nrate = 5")
                .unwrap();
        let empty = Scenario::empty();
        assert_eq!(
            (scenario.duration, scenario.warmup, scenario.seed),
            (empty.duration, empty.warmup, empty.seed)
        );
        let population = &scenario.populations[0];
        assert_eq!(population.arrivals, Arrivals::Poisson { rate: 5.0 });
        assert_eq!(population.payload, Payload::Fixed { bytes: 64 });
    }

    #[test]
    fn an_interval_is_one_that_the_log_can_tell() {
        let with = |interval: &str| {
            parsed(&format!(
                "target = \"127.0.0.1:7000\"\ninterval = \"{interval}\"\n[[population]]\nname = \"p\"\nconnections = 1"
            ))
        };
        assert_eq!(with("20ms").unwrap().interval, Duration::from_millis(20));
        for wrong in ["5ms", "10500us", "2m", "0s"] {
            let why = with(wrong).unwrap_err();
            assert!(why.starts_with("2: ") && why.contains("interval"), "{why}");
        }
    }

    #[test]
    fn keys_decide_what_a_population_does() {
        let arrivals = |keys: &str| population(keys).unwrap().arrivals;
        assert_eq!(arrivals("connections = 7"), Arrivals::Idle);
        assert_eq!(arrivals("connections = 7\narrival = \"closed\""), Arrivals::Closed);
        assert_eq!(arrivals("connections = 7\nthink = \"2s\""), Arrivals::Closed);
        assert_eq!(
            arrivals("connections = 7\nevery = \"14s\""),
            Arrivals::Every { period_s: 14.0, connections: 7 }
        );
        assert_eq!(
            arrivals("connections = 7\nrate = 2\narrival = \"constant\""),
            Arrivals::Constant { rate: 2.0 }
        );
        let churn = population("connection_rate = 200").unwrap();
        assert_eq!((churn.connections, churn.requests_per_connection), (200, Some(1)));
        let ramped = population("connections = 1\nrate = 9\nramp = { from = 0, over = \"3s\" }").unwrap();
        assert_eq!(ramped.ramp, Some(RateRamp { from: 0.0, over_s: 3.0 }));
    }

    #[test]
    fn sockets_are_as_the_file_says_unless_a_flag_does() {
        let text = "target = \"127.0.0.1:7000\"\n[socket]\nnodelay = false\nlinger = \"reset\"\nsend_buffer = 4096\n\
                    [[population]]\nname = \"p\"\nconnections = 1";
        let file = SocketArgs {
            nodelay: Some(Switch::Off),
            send_buffer: Some(4096),
            receive_buffer: None,
            linger: Some(Linger::Reset),
        };
        assert_eq!(parsed(text).unwrap().sockets, file);
        let mut scenario = parsed(text).unwrap();
        let words = "tidemark-loadgen run 127.0.0.1:7000 --linger fin --receive-buffer 9";
        let Command::Run(args) = Cli::try_parse_from(words.split(' ')).unwrap().command else {
            panic!("not a run")
        };
        scenario.take_over(&args.load);
        let both = SocketArgs { linger: Some(Linger::Fin), receive_buffer: Some(9), ..file };
        assert_eq!(scenario.sockets, both);
    }

    #[test]
    fn payloads_are_numbers_ranges_or_lists() {
        let payload =
            |text: &str| population(&format!("connections = 1\nrate = 1\npayload = {text}")).unwrap().payload;
        assert_eq!(payload("7"), Payload::Fixed { bytes: 7 });
        assert_eq!(payload("{ min = 1, max = 9 }"), Payload::Uniform { min_bytes: 1, max_bytes: 9 });
        assert_eq!(payload("[[1, 2], [3, 0.5]]"), Payload::Weighted { lengths: vec![(1, 2.0), (3, 0.5)] });
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_their_fix() {
        let top = "target = \"127.0.0.1:7000\"\n";
        let whole = [
            "",
            "target = 3",
            "target = \"127.0.0.1\"",
            "target = []",
            "target = [\"127.0.0.1:1\", \"http://127.0.0.1:2/\"]",
            "durration = \"10s\"",
            "duration = \"10\"",
            "workers = 0",
            "[connect]\nrat = 5",
            "[socket]\nlinger = \"rst\"",
            "[socket]\nsend_buffer = 0",
            "[socket]\nnodelay = \"off\"",
            "[[population]]\nname = \"p\"\nconnections = 1",
            "x = [",
        ];
        let keys = [
            "conections = 1",
            "rate = 5",
            "connections = 0",
            "connections = -3",
            "connections = 1\nrate = -5",
            "connections = 1\nrate = 5\nevery = \"1s\"",
            "connections = 1\nrate = 5\narrival = \"closed\"",
            "connections = 1\narrival = \"poisson\"",
            "connections = 1\narrival = \"poison\"",
            "connections = 1\nevery = \"1s\"\narrival = \"constant\"",
            "connections = 1\nevery = \"1s\"\npipeline = 2",
            "connections = 1\nrate = 1\npipeline = 65",
            "connections = 1\npayload = 5",
            "connections = 1\nrate = 1\npayload = 0",
            "connections = 1\nrate = 1\npayload = { min = 5, max = 1 }",
            "connections = 1\nrate = 1\npayload = [[5, 0]]",
            "connections = 1\nrate = 1\npayload = \"5\"",
            "connections = 1\nrate = 1\npayload = 99999999",
            "connections = 1\nrequests_per_connection = 3",
            "connections = 1\nthink = \"1s\"\nramp = { from = 0, over = \"1s\" }",
            "connections = 1\nrate = 1\nramp = { from = -1, over = \"1s\" }",
            "connections = 1\n[[population]]\nname = \"p\"\nconnections = 1",
            "connections = 1\n[[population]]\nname = \"all\"\nconnections = 1",
            "connections = 1\n[[population]]\nname = \"a b\"\nconnections = 1",
            "connections = 1\n[slo]\nrules = [\"q.lost == 0\"]",
            "connections = 1\n[slo]\nrules = [\"p.lots == 0\"]",
            "connections = 1\n[[event]]\nat = \"1s\"\ndrop = \"0%\"",
            "connections = 1\n[[event]]\nat = \"11s\"\ndrop = \"10%\"",
            "connections = 1\n[[event]]\nat = \"1s\"\ndrop = \"10%\"\npopulation = \"q\"",
            "connection_rate = 1\n[[event]]\nat = \"1s\"\ndrop = \"10%\"\npopulation = \"p\"",
            "connections = 1\n[[event]]\nat = \"1s\"",
        ];
        let of_keys = keys.map(|keys| format!("{top}[[population]]\nname = \"p\"\n{keys}"));
        let texts = whole.iter().map(|text| (*text).to_owned()).chain(of_keys);
        let told: Vec<String> = texts.map(|text| parsed(&text).unwrap_err()).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_target_of_the_command_line_takes_the_place_of_all() {
        let text = "target = \"127.0.0.1:1\"\n[[population]]\nname = \"p\"\ntarget = \"127.0.0.1:2\"\nconnections = 1";
        let target: Target = "127.0.0.1:3".parse().unwrap();
        assert_eq!(parse(text, Some(&target)).unwrap().populations[0].targets, [target]);
    }

    #[test]
    fn those_that_are_shipped_are_understood() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let paths: Vec<PathBuf> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(paths.len() >= 6);
        for path in paths {
            let scenario = read(&path, None).unwrap_or_else(|error| panic!("{error}"));
            assert!(!scenario.populations.is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([a-z_]{1,9}|[=\\[\\]\"'{}.,#\n é0-9-]){0,60}") {
            let _ = parse(&text, None);
        }
    }
}
