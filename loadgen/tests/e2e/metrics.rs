//! What a scraper sees of a run, over HTTP: while it goes, and afterwards, when it must agree with the report.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tidemark_loadgen::metrics::{Phase, TABLES};
use tidemark_loadgen::record::Kind;
use tidemark_loadgen::report::{Latency, Population, Report};

use crate::processes::{FaultyServer, Finished, Loadgen, Running};
use crate::results::{main_population, report};

const WELL: [&str; 3] = ["stall", "--every", "1h"];
/// Far longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(120);
/// An end that comes within [`DEADLINE`] was not waited for.
const LINGER: &str = "--metrics 127.0.0.1:0 --metrics-linger 1h";

/// One scrape: the series as they are written, with their values.
struct Scrape {
    text: String,
    series: BTreeMap<String, f64>,
}

impl Scrape {
    fn of(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, text) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let series: BTreeMap<String, f64> = samples
            .clone()
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
                (series.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
            })
            .collect();
        assert_eq!(series.len(), samples.count(), "no series is there twice");
        Self { text: text.to_owned(), series }
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in:\n{}", self.text))
    }

    /// A whole number.
    #[track_caller]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a short run")]
    fn count(&self, series: &str) -> u64 {
        let value = self.value(series);
        assert!(value.fract().abs() < f64::EPSILON, "{series}: {value}");
        value as u64
    }

    fn has_family(&self, name: &str) -> bool {
        self.text.contains(&format!("# TYPE {name} "))
    }

    /// The run's id, and the phase that it is in.
    fn phase(&self) -> (String, Phase) {
        let mut current = self
            .series
            .iter()
            .filter(|(series, value)| series.starts_with("tidemark_loadgen_phase{") && **value > 0.0);
        let (Some((series, _)), None) = (current.next(), current.next()) else { panic!("{}", self.text) };
        let label = |name: &str| series.split_once(&format!("{name}=\""))?.1.split('"').next();
        let phase = Phase::ALL.into_iter().find(|phase| Some(phase.name()) == label("phase"));
        (label("run").unwrap().to_owned(), phase.unwrap())
    }

    /// The cumulative buckets of a kind of latency: bounds in ns, and counts.
    fn buckets(&self, kind: Kind, of: &str) -> Vec<(f64, u64)> {
        let start = format!("tidemark_loadgen_{}_seconds_bucket{{{of},le=\"", kind.name());
        let edges = self.text.lines().filter_map(|line| line.strip_prefix(&start)?.split('"').next());
        edges
            .map(|bound| {
                // "+Inf" is a number to the parser, too.
                let upper_s: f64 = bound.parse().unwrap();
                ((upper_s * 1e9).round(), self.count(&format!("{start}{bound}\"}}")))
            })
            .collect()
    }
}

/// Scrapes again and again until `holds`.
#[track_caller]
fn scrape_until(address: &str, what: &str, mut holds: impl FnMut(&Scrape) -> bool) -> Scrape {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let scrape = Scrape::of(address);
        if holds(&scrape) {
            return scrape;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}; last:\n{}", scrape.text);
        park_timeout(Duration::from_millis(20));
    }
}

/// A run that tells nothing but where its metrics are.
fn start(loadgen: &Loadgen, target: &str, options: &str) -> (Running, String) {
    let args = ["run", target, "--live", "off"].into_iter().chain(options.split_whitespace());
    let mut running = loadgen.start(&args.collect::<Vec<_>>());
    let line = running.await_line("metrics at ");
    let address = line.strip_prefix("metrics at http://").and_then(|rest| rest.strip_suffix("/metrics\n"));
    let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
    (running, address)
}

/// Waits for the end of a run that lingers, takes its last figures and ends it.
fn end(running: Running, address: &str) -> (Scrape, Finished) {
    let last = scrape_until(address, "the run is over", |scrape| scrape.phase().1 == Phase::Done);
    running.signal(Signal::TERM);
    (last, running.finish())
}

#[track_caller]
fn assert_agrees(scrape: &Scrape, report: &Report) {
    let population = main_population(report);
    let of = format!("population=\"{}\",run=\"{}\"", population.name, report.run.id);
    let arrivals = serde_json::to_value(population.arrivals).unwrap();
    for (outcome, count) in arrivals.as_object().unwrap() {
        let series = format!("tidemark_loadgen_arrivals_total{{{of},outcome=\"{outcome}\"}}");
        assert_eq!(Some(scrape.count(&series)), count.as_u64(), "{outcome}");
    }
    let errors = format!("tidemark_loadgen_errors_total{{{of},kind=\"");
    let counted = scrape.series.keys().filter_map(|series| {
        let kind = series.strip_prefix(&errors)?.strip_suffix("\"}")?;
        Some((kind.to_owned(), scrape.count(series)))
    });
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), population.errors);
    for kind in Kind::ALL {
        assert_latency_agrees(scrape, kind, &of, population);
    }
    let valid = scrape.count(&format!("tidemark_loadgen_valid{{run=\"{}\"}}", report.run.id));
    assert_eq!(valid == 1, report.verdict.valid, "{:?}", report.verdict);
}

#[track_caller]
fn assert_latency_agrees(scrape: &Scrape, kind: Kind, of: &str, population: &Population) {
    let name = kind.name();
    let Latency { count, mean_ns, p50_ns, p99_ns, max_ns, .. } = *population.latency(kind);
    assert_eq!(scrape.count(&format!("tidemark_loadgen_{name}_seconds_count{{{of}}}")), count, "{name}");
    let sum_s = scrape.value(&format!("tidemark_loadgen_{name}_seconds_sum{{{of}}}"));
    let expected_s = mean_ns * count as f64 / 1e9;
    assert!((sum_s - expected_s).abs() <= expected_s * 1e-9, "{name}: {sum_s} and {expected_s}");
    let buckets = scrape.buckets(kind, of);
    assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name}: {buckets:?}");
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
    if count == 0 {
        return;
    }
    // Ranks as whole numbers: the first bucket that reaches one holds the value of that rank, and so its quantile.
    for (rank, value_ns) in
        [(count.div_ceil(2), p50_ns), ((count * 99).div_ceil(100), p99_ns), (count, max_ns)]
    {
        let index = buckets.iter().position(|&(_, below)| below >= rank).unwrap();
        let low_ns = if index == 0 { -1.0 } else { buckets[index - 1].0 };
        let in_bucket = low_ns < value_ns as f64 && value_ns as f64 <= buckets[index].0;
        assert!(
            in_bucket,
            "{name}: rank {rank} of {count} is {value_ns} ns, not in {low_ns}..={}",
            buckets[index].0
        );
    }
}

#[test]
fn the_figures_after_an_open_loop_are_those_of_its_report() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let options = format!("-r 500 -c 4 -d 2s --warmup 300ms {LINGER}");
    let (running, address) = start(&loadgen, &server.address, &options);
    let mut seen = vec![];
    let during = scrape_until(&address, "a measured second is told", |scrape| {
        let (run, phase) = scrape.phase();
        seen.push(phase as usize);
        scrape.value(&format!("tidemark_loadgen_valid{{run=\"{run}\"}}"));
        let of = format!("population=\"main\",run=\"{run}\"");
        assert_eq!(scrape.count(&format!("tidemark_loadgen_connections_target{{{of}}}")), 4);
        assert_eq!(scrape.count(&format!("tidemark_loadgen_arrivals_target_per_second{{{of}}}")), 500);
        scrape.count(&format!("tidemark_loadgen_arrivals_total{{{of},outcome=\"completed\"}}")) > 0
    });
    let run = during.phase().0;
    let of = format!("population=\"main\",run=\"{run}\"");
    for (kind, quantile) in [("response", "0.5"), ("service", "0.9999"), ("lag", "1"), ("wait", "0.99")] {
        let series = format!("tidemark_loadgen_{kind}_interval_seconds{{{of},quantile=\"{quantile}\"}}");
        assert!(during.value(&series) >= 0.0);
    }
    let (last, finished) = end(running, &address);
    seen.push(last.phase().1 as usize);
    assert!(seen.is_sorted(), "phases only go forward: {seen:?}");
    let starts = Phase::ALL.map(|phase| {
        let labels = format!("run=\"{run}\",phase=\"{}\"", phase.name());
        last.value(&format!("tidemark_loadgen_phase_start_timestamp_seconds{{{labels}}}"))
    });
    assert!(starts.is_sorted(), "{starts:?}");
    let report = report(&loadgen, &finished);
    assert_eq!(report.run.id, run);
    assert_agrees(&last, &report);
    let trusted = last.value(&format!("tidemark_loadgen_trusted_percentile{{run=\"{run}\"}}"));
    assert!((trusted - report.verdict.trusted_to.unwrap_or(0.0)).abs() < 1e-9, "{:?}", report.verdict);
    let told = last.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in told {
        assert!(TABLES.iter().any(|table| table.find(name).is_some()), "{name} is in no table");
    }
}

#[test]
fn errors_are_those_of_the_report() {
    let server = FaultyServer::start(&["wrong", "--every-reply", "10"]);
    let loadgen = Loadgen::new();
    let options = format!("-r 200 -c 4 -d 1s --warmup 0s {LINGER}");
    let (running, address) = start(&loadgen, &server.address, &options);
    let (last, finished) = end(running, &address);
    let report = report(&loadgen, &finished);
    assert!(!main_population(&report).errors.is_empty(), "{finished:?}");
    assert_agrees(&last, &report);
}

#[test]
fn a_closed_loop_has_neither_a_rate_nor_a_limit_of_trust() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let (running, address) = start(&loadgen, &server.address, &format!("-c 2 -d 300ms --warmup 0s {LINGER}"));
    let (last, finished) = end(running, &address);
    assert_agrees(&last, &report(&loadgen, &finished));
    for name in ["tidemark_loadgen_arrivals_target_per_second", "tidemark_loadgen_trusted_percentile"] {
        assert!(!last.has_family(name), "{name} in:\n{}", last.text);
    }
    assert!(last.has_family("tidemark_loadgen_arrivals_total"));
}

#[test]
fn rules_are_shown_as_the_report_judges_them() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let options =
        format!("-c 2 -d 1500ms --warmup 0s {LINGER} --slo lost==0 --slo service.p50<1ns --slo lag.p50<1s");
    let (running, address) = start(&loadgen, &server.address, &options);
    let (last, finished) = end(running, &address);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let of = format!("run=\"{}\"", last.phase().0);
    assert_eq!(last.count(&format!("tidemark_loadgen_slo_ok{{{of},rule=\"all.lost == 0\"}}")), 1);
    assert_eq!(last.count(&format!("tidemark_loadgen_slo_ok{{{of},rule=\"all.service.p50 < 1ns\"}}")), 0);
    assert!(!last.text.contains("all.lag.p50"), "{}", last.text);
}

#[test]
fn metrics_are_there_before_the_ramp_is_over() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    // One connection a second: the ramp outlasts any test.
    let options = "-r 100 -c 1000 --connect-rate 1 --metrics 127.0.0.1:0";
    let (running, address) = start(&loadgen, &server.address, options);
    let ramp = scrape_until(&address, "a connection is open", |scrape| {
        let (run, phase) = scrape.phase();
        assert_eq!(phase, Phase::Connect);
        let series = format!("tidemark_loadgen_connections_open{{population=\"main\",run=\"{run}\"}}");
        scrape.count(&series) > 0
    });
    let started = ramp.series.keys().filter(|series| series.contains("_phase_start_timestamp_seconds{"));
    assert_eq!(started.count(), 1, "no other phase has begun:\n{}", ramp.text);
    assert!(ramp.value("process_open_fds") >= 4.0);
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code, Some(3));
}

#[test]
fn a_run_that_a_signal_ended_does_not_linger() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let options = format!("-r 100 -c 2 -d 600s --warmup 0s {LINGER}");
    let mut running = loadgen.start_run(&server.address, &options);
    running.await_line("1/600 s");
    running.signal(Signal::TERM);
    report(&loadgen, &running.finish());
}

#[test]
fn the_time_after_the_run_is_over_by_itself() {
    let server = FaultyServer::start(&WELL);
    let loadgen = Loadgen::new();
    let options = "-c 2 -d 100ms --warmup 0s --metrics 127.0.0.1:0 --metrics-linger 1ms";
    report(&loadgen, &loadgen.run(&server.address, options));
}

#[test]
fn a_port_that_is_taken_is_told_before_the_run() {
    let server = FaultyServer::start(&WELL);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let loadgen = Loadgen::new();
    let finished = loadgen.run(&server.address, &format!("-c 2 -d 100ms --metrics {address}"));
    finished.assert_one_line(4, &["cannot serve metrics", &address, "--metrics"]);
    assert!(!loadgen.results().exists(), "nothing is left behind");
}
