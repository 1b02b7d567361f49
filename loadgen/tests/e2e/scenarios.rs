//! Several kinds of users in one run, from a file.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use tidemark_loadgen::report::{Population, Report};
use tidemark_loadgen::schedule::{Arrivals, Schedule};
use tidemark_loadgen::search::curve::Curve;
use tidemark_loadgen::slo::Judgement;
use tidemark_server::config::FdTables;
use tidemark_server::{Config, Running, Server};

use crate::processes::{Finished, Loadgen};
use crate::results::{failed_checks, report};

/// The server, in this process, for echo and for HTTP.
fn start() -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::start(Config {
        echo: vec![any.into()],
        http: vec![any.into()],
        admin: any,
        fd_tables: FdTables::Shared,
        ..Config::default()
    })
    .unwrap()
}

fn run_file(loadgen: &Loadgen, text: &str, more: &[&str]) -> Finished {
    fs::write(loadgen.dir().join("scenario.toml"), text).unwrap();
    let args = ["run", "--scenario", "scenario.toml", "--live", "off"];
    loadgen.invoke(&[&args, more].concat())
}

fn population<'a>(report: &'a Report, name: &str) -> &'a Population {
    report.populations.iter().find(|population| population.name == name).unwrap()
}

/// What a schedule has in the second after a warm-up of half a second.
fn expected(arrivals: Arrivals, index: usize) -> u64 {
    Schedule::new(arrivals, 5, index).unwrap().count_between(500_000_000, 1_500_000_000)
}

/// A scenario with a population of each kind.
fn every_kind(server: &Running) -> String {
    format!(
        r#"
        target = "tcp://{}"
        duration = "1s"
        warmup = "500ms"
        seed = 5
        [[population]]
        name = "idle"
        connections = 50
        [[population]]
        name = "heartbeat"
        connections = 30
        every = "250ms"
        payload = 16
        [[population]]
        name = "active"
        connections = 10
        rate = 300
        payload = {{ min = 1, max = 3000 }}
        [[population]]
        name = "people"
        connections = 10
        think = "100ms"
        [[population]]
        name = "churn"
        connection_rate = 40
        requests_per_connection = 3
        [[population]]
        name = "api"
        target = "http://{}/echo"
        connections = 5
        rate = 100
        ramp = {{ from = 20, over = "500ms" }}
        payload = [[100, 1], [700, 2]]
        [slo]
        rules = ["idle.lost == 0", "all.errors < 50%"]
        "#,
        server.echo_addrs()[0],
        server.http_addrs()[0],
    )
}

#[test]
fn every_kind_of_user_in_one_run() {
    let server = start();
    let text = every_kind(&server);
    let loadgen = Loadgen::new();
    let finished = run_file(&loadgen, &text, &["--workers", "3"]);
    let report = report(&loadgen, &finished);
    assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");

    let idle = population(&report, "idle");
    assert_eq!((idle.connections.opened, idle.arrivals.scheduled, idle.response.count), (50, 0, 0));
    assert_eq!(idle.connections.peak_open, 50);
    let heartbeat = population(&report, "heartbeat");
    assert_eq!(
        heartbeat.arrivals.scheduled,
        expected(Arrivals::Every { period_s: 0.25, connections: 30 }, 1)
    );
    let active = population(&report, "active");
    assert_eq!(active.arrivals.scheduled, expected(Arrivals::Poisson { rate: 300.0 }, 2));
    let people = population(&report, "people");
    // Each asks at most once in 100 ms.
    assert!((1..=110).contains(&people.arrivals.scheduled), "{people:?}");
    let churn = population(&report, "churn");
    let visits = expected(Arrivals::Poisson { rate: 40.0 }, 4);
    assert!(churn.arrivals.scheduled > visits && churn.arrivals.scheduled <= 3 * visits + 9, "{churn:?}");
    assert!(churn.connections.closed > 0 && churn.connections.failed == 0, "{churn:?}");
    let api = population(&report, "api");
    assert_eq!(
        (api.target.as_str(), api.arrivals.errored),
        (format!("http://{}/echo", server.http_addrs()[0]).as_str(), 0)
    );
    for population in [heartbeat, active, people, churn, api] {
        assert_eq!(population.arrivals.completed, population.arrivals.scheduled, "{}", population.name);
        assert!(population.errors.is_empty(), "{population:?}");
    }
    // A machine that is busy with other things makes the run invalid, and then rules are not judged.
    let is_kept = |judgement: &Judgement| judgement.actual == Some(0.0) && judgement.ok != Some(false);
    assert!(report.slo.len() == 2 && report.slo.iter().all(is_kept), "{:?}", report.slo);
}

#[test]
fn a_visit_that_is_refused_is_an_error_and_the_next_one_is_made_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "target = \"{}\"\nduration = \"500ms\"\nwarmup = \"0s\"\n[[population]]\nname = \"holder\"\nconnections = 1\n\
         [[population]]\nname = \"churn\"\nconnection_rate = 100\n",
        listener.local_addr().unwrap()
    );
    let loadgen = Loadgen::new();
    let finished = std::thread::scope(|scope| {
        // Answers the one exchange before the run, lets the holder in, and then nobody any more.
        let serving = scope.spawn(move || {
            let (looked, mut asked) = (listener.accept().unwrap(), listener.accept().unwrap().0);
            let mut request = [0; 64];
            asked.read_exact(&mut request).unwrap();
            asked.write_all(&request).unwrap();
            drop(looked);
            listener.accept().unwrap().0
        });
        let finished = run_file(&loadgen, &text, &[]);
        drop(serving.join());
        finished
    });
    let report = report(&loadgen, &finished);
    let churn = population(&report, "churn");
    assert!(churn.arrivals.scheduled > 10 && churn.arrivals.completed == 0, "{churn:?}");
    assert_eq!(churn.arrivals.errored, churn.arrivals.scheduled);
    assert_eq!(churn.errors.get("refused"), Some(&churn.arrivals.errored), "{churn:?}");
    assert_eq!(churn.connections.failed, 0, "no visit is tried again");
    assert!(failed_checks(&report).contains(&"errored"), "{finished:?}");
}

#[test]
fn flags_win_over_the_file() {
    let server = start();
    let text = "duration = \"1h\"\nwarmup = \"1h\"\nseed = 9\n[[population]]\nname = \"p\"\nconnections = 2\nrate = 100\n\
                [slo]\nrules = [\"p.response.p50 < 1ns\"]";
    let loadgen = Loadgen::new();
    let target = server.echo_addrs()[0].to_string();
    let flags = [&target, "-d", "300ms", "--warmup", "0s", "--seed", "4", "--slo", "p.lost == 0"];
    let finished = run_file(&loadgen, text, &flags);
    let report = report(&loadgen, &finished);
    assert_eq!((report.run.duration_s, report.run.seed), (0.3, 4));
    assert_eq!(report.slo.len(), 1);
    assert_eq!(report.target, format!("tcp://{target}"));
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_line() {
    let loadgen = Loadgen::new();
    let text = "target = \"127.0.0.1:1\"\n[[population]]\nname = \"p\"\nconections = 5\n";
    run_file(&loadgen, text, &[]).assert_one_line(2, &["scenario.toml:4: ", "did you mean connections?"]);
    let missing = loadgen.invoke(&["run", "--scenario", "nowhere.toml"]);
    missing.assert_one_line(2, &["nowhere.toml: ", "--scenario"]);
    let both = loadgen.invoke(&["run", "--scenario", "scenario.toml", "-r", "5"]);
    assert_eq!(both.code, Some(2), "{both:?}");
    assert!(both.stderr.contains("--scenario") && both.stderr.contains("--rate"), "{both:?}");
}

#[test]
fn a_search_scales_the_rates_of_a_scenario() {
    let server = start();
    let text = "[[population]]\nname = \"one\"\nconnections = 2\nrate = 10\n\
                [[population]]\nname = \"other\"\nconnections = 2\nrate = 30\n[slo]\nrules = [\"all.errors < 1%\"]";
    let loadgen = Loadgen::new();
    fs::write(loadgen.dir().join("scenario.toml"), text).unwrap();
    let target = server.echo_addrs()[0].to_string();
    let search = ["search", &target, "--scenario", "scenario.toml", "--find", "rate", "--live", "off"];
    let finished = loadgen
        .invoke(&[&search[..], &["--from", "200", "--max", "200", "-d", "300ms", "--warmup", "0s"]].concat());
    let dir = loadgen.results().join("latest");
    let text =
        fs::read_to_string(dir.join("search.json")).unwrap_or_else(|error| panic!("{error}: {finished:?}"));
    let curve: Curve = serde_json::from_str(&text).unwrap();
    assert_eq!(curve.slo, ["all.errors < 1%"]);
    let report = fs::read_to_string(dir.join(curve.steps[0].report.as_ref().unwrap())).unwrap();
    let report: Report = serde_json::from_str(&report).unwrap();
    // 50 and 150 a second for 0.3 s, by a fixed seed.
    let expected = |rate, index| {
        Schedule::new(Arrivals::Poisson { rate }, 1, index).unwrap().count_between(0, 300_000_000)
    };
    let scheduled = |name| population(&report, name).arrivals.scheduled;
    assert_eq!((scheduled("one"), scheduled("other")), (expected(50.0, 0), expected(150.0, 1)));
}

#[test]
fn dropped_connections_come_back_and_it_is_told_after_how_long() {
    let server = start();
    let text = format!(
        r#"
        target = "tcp://{}"
        duration = "1500ms"
        warmup = "0s"
        [[population]]
        name = "idle"
        connections = 100
        [[population]]
        name = "active"
        connections = 10
        rate = 100
        [[event]]
        at = "300ms"
        drop = "20%"
        population = "idle"
        "#,
        server.echo_addrs()[0]
    );
    let loadgen = Loadgen::new();
    let finished = run_file(&loadgen, &text, &["--workers", "2"]);
    let report = report(&loadgen, &finished);
    let idle = population(&report, "idle");
    assert_eq!((idle.drops.len(), idle.drops[0].dropped, idle.drops[0].at_s), (1, 20, 0.3), "{idle:?}");
    assert_eq!((idle.drops[0].back, idle.connections.opened, idle.connections.lost), (20, 120, 0));
    assert!(idle.drops[0].recovered_after_s.is_some());
    assert!(population(&report, "active").drops.is_empty());
    assert!(finished.stdout.contains("dropped      20 at 0.3 s, all back after "), "{}", finished.stdout);
}

#[test]
fn requests_are_pipelined_as_deep_as_they_may_be_and_each_is_answered() {
    let server = start();
    let echo = format!("tcp://{}", server.echo_addrs()[0]);
    let http = format!("http://{}/echo", server.http_addrs()[0]);
    for target in [echo, http] {
        let text = format!(
            r#"
            target = "{target}"
            duration = "500ms"
            warmup = "0s"
            [[population]]
            name = "closed"
            connections = 3
            arrival = "closed"
            pipeline = 8
            payload = [[1, 1], [3000, 1], [90000, 1]]
            [[population]]
            name = "open"
            connections = 1
            rate = 2000
            pipeline = 64
            payload = 200
            "#
        );
        let loadgen = Loadgen::new();
        let finished = run_file(&loadgen, &text, &[]);
        let report = report(&loadgen, &finished);
        for name in ["closed", "open"] {
            let population = population(&report, name);
            assert!(population.arrivals.completed > 0, "{population:?}");
            assert!(population.errors.is_empty(), "{population:?}");
            assert_eq!(population.connections.lost, 0, "{population:?}");
        }
    }
}

#[test]
fn a_connection_has_as_many_requests_in_flight_as_it_may() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let loadgen = Loadgen::new();
    let finished = std::thread::scope(|scope| {
        // Answers the one exchange before the run, and then nobody any more.
        let serving = scope.spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            first.read_exact(&mut request).unwrap();
            first.write_all(&request).unwrap();
            listener.accept().unwrap().0
        });
        let finished = loadgen.run(&target, "-c 1 --pipeline 8 -d 300ms --warmup 0s --timeout 30s");
        drop(serving.join());
        finished
    });
    let report = report(&loadgen, &finished);
    let arrivals = &report.populations[0].arrivals;
    assert_eq!((arrivals.scheduled, arrivals.in_flight_at_end), (8, 8), "{finished:?}");
}

#[test]
fn visitors_alone_are_a_run_too() {
    let server = start();
    let text = "duration = \"500ms\"\nwarmup = \"0s\"\n[[population]]\nname = \"visitors\"\nconnection_rate = 50\narrival = \"constant\"";
    let loadgen = Loadgen::new();
    let finished = run_file(&loadgen, text, &[&server.echo_addrs()[0].to_string()]);
    let report = report(&loadgen, &finished);
    let visitors = population(&report, "visitors");
    assert_eq!((visitors.arrivals.completed, visitors.connections.closed), (25, 25), "{finished:?}");
    assert_eq!(failed_checks(&report), [""; 0], "{finished:?}");
}

#[test]
fn an_event_that_a_flag_makes_too_late_is_told() {
    let loadgen = Loadgen::new();
    let text = "target = \"127.0.0.1:1\"\n[[population]]\nname = \"p\"\nconnections = 1\n[[event]]\nat = \"5s\"\ndrop = \"10%\"";
    let told = run_file(&loadgen, text, &["-d", "5s"]);
    told.assert_one_line(2, &["event at 5s", "--duration"]);
}
