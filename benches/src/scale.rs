//! `scale`: many connections on both ends, nearly all of them quiet. Are they all held, what does each cost, and what do those feel
//! that ask something meanwhile?

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use tidemark_host::proc::smaps_rollup;
use tidemark_loadgen::report::units::Count;
use tidemark_loadgen::report::{Report, table};
use tidemark_program::Exit;

use crate::allowed::Allowed;
use crate::cli::ScaleArgs;
use crate::cpu_time;
use crate::error::MeasureError;
use crate::loadgen::{self, Running};
use crate::results;
use crate::scrape;
use crate::server::{CONNECTIONS_SPARE, Options, Server};
use crate::session::Session;

/// How often both ends are looked at: to read their memory holds them up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Between the last connection and the measurement, so that the end of the ramp is not part of it.
const WARMUP: Duration = Duration::from_secs(5);

/// The gauge that the server is asked for.
const OPEN: &str = "tidemark_connections_open";

/// What a connection may take of either program's own memory, and how many it takes for the rest of them to be nothing beside it.
const SERVER_BYTES_MAX: f64 = 64.0;
const CLIENT_BYTES_MAX: f64 = 160.0;
const MEMORY_JUDGED_FROM: u64 = 1_000_000;

/// The most of a CPU that it may take to hold connections that say nothing.
const SILENT_CPU_MAX: f64 = 0.005;

#[derive(Debug, Serialize)]
struct Figures {
    connections: u64,
    nofile_per_table: u64,
    /// How long it took to open them.
    ramp_s: f64,
    /// The most that the server said it had.
    server_open: u64,
    /// The most that the load generator had.
    client_open: u64,
    client_lost: u64,
    /// Resident, while all are open.
    server_rss_bytes: u64,
    server_rss_bytes_before: u64,
    client_rss_bytes: u64,
    /// Of a CPU, while all are open and after the warm-up.
    server_cpu: Option<f64>,
    client_cpu: Option<f64>,
    is_silent: bool,
    valid: bool,
}

impl Figures {
    fn server_bytes_per_connection(&self) -> f64 {
        self.server_rss_bytes.saturating_sub(self.server_rss_bytes_before) as f64 / self.connections as f64
    }

    /// With all that it has besides, as it cannot be looked at before it begins to connect.
    fn client_bytes_per_connection(&self) -> f64 {
        self.client_rss_bytes as f64 / self.connections as f64
    }

    /// What was missed, in words; empty when nothing was.
    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let wanted = self.connections;
        for (open, end) in [(self.server_open, "the server"), (self.client_open, "the load generator")] {
            if open < wanted {
                missed.push(format!("{} of {} open at {end}", Count(open), Count(wanted)));
            }
        }
        if self.client_lost > 0 {
            missed.push(format!("{} lost", Count(self.client_lost)));
        }
        let judged = wanted >= MEMORY_JUDGED_FROM;
        let memory = [
            (self.server_bytes_per_connection(), SERVER_BYTES_MAX, "the server"),
            (self.client_bytes_per_connection(), CLIENT_BYTES_MAX, "the load generator"),
        ];
        for (bytes, most, end) in memory.into_iter().filter(|(bytes, most, _)| judged && bytes > most) {
            missed.push(format!("{bytes:.1} bytes per connection of {end}, allowed are {most}"));
        }
        match self.server_cpu {
            Some(cpu) if self.is_silent && cpu > SILENT_CPU_MAX => missed.push(format!(
                "{:.2} % of a CPU to hold them, allowed are {} %",
                100.0 * cpu,
                100.0 * SILENT_CPU_MAX
            )),
            None if self.is_silent => {
                missed
                    .push("what it takes to hold them was not measured: use a longer --duration".to_owned());
            }
            _ => {}
        }
        missed
    }
}

/// Runs it.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &ScaleArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let server = Server::start(
        session,
        Options {
            // Nothing is pinned: of so many threads the scheduler makes more than a fixed place for each end does.
            cpu: None,
            max_connections: Some(args.connections + CONNECTIONS_SPARE),
            ..Options::default()
        },
    )?;
    let server_rss_bytes_before = rss_bytes(server.pid())?;
    let scenario = write_scenario(session, args, &server)?;
    session.say(format_args!(
        "{} connections{}; a descriptor table holds {}",
        Count(args.connections),
        if args.silent {
            ", silent".to_owned()
        } else {
            format!(
                ", a heartbeat of each every {}, {} probes a second",
                humantime::format_duration(args.every),
                args.rate
            )
        },
        Count(allowed.nofile)
    ));
    let mut load: Vec<OsString> = vec!["run".into(), "--scenario".into(), scenario.into()];
    load.extend(["--output".into(), session.results.clone().into()]);
    let running = loadgen::start(session, &load)?;
    let (report, looks) = watch(session, args.connections, &server, running)?;
    server.stop();
    session.say(table::render(&report).trim_end());
    let figures = figures(args, &allowed, &report, &looks, server_rss_bytes_before);
    say(session, &figures);
    results::keep(session, "scale", &figures)?;
    let missed = figures.missed();
    for what in &missed {
        session.say(format_args!("MISSED: {what}"));
    }
    // Counts hold whatever the latencies are worth.
    Ok(if missed.is_empty() && !figures.valid {
        Exit::NotTrustworthy
    } else {
        Exit::judged(missed.is_empty())
    })
}

fn write_scenario(session: &Session, args: &ScaleArgs, server: &Server) -> Result<PathBuf, MeasureError> {
    let path = session.results.join("scale.toml");
    fs::create_dir_all(&session.results)
        .and_then(|()| fs::write(&path, scenario(args, &format!("tcp://{}", server.echo))))
        .map_err(MeasureError::io(format!("write {}", path.display())))?;
    Ok(path)
}

/// The scenario, as a user would write it.
fn scenario(args: &ScaleArgs, target: &str) -> String {
    let duration = |duration| humantime::format_duration(duration).to_string().replace(' ', "");
    let mut text = format!(
        "target = \"{target}\"\nduration = \"{}\"\nwarmup = \"{}\"\n",
        duration(args.duration),
        duration(WARMUP)
    );
    // Writing into a String cannot fail.
    if let Some(rate) = args.connect_rate {
        let _ = write!(text, "\n[connect]\nrate = {rate}\n");
    }
    let probes = if args.silent { 0 } else { args.probes.min(args.connections / 2) };
    let quiet = args.connections - probes;
    let (name, pace) = if args.silent {
        ("idle", String::new())
    } else {
        ("heartbeat", format!("every = \"{}\"\npayload = 32\n", duration(args.every)))
    };
    let _ = write!(text, "\n[[population]]\nname = \"{name}\"\nconnections = {quiet}\n{pace}");
    if probes > 0 {
        let _ = write!(
            text,
            "\n[[population]]\nname = \"probe\"\nconnections = {probes}\nrate = {}\npayload = 64\n",
            args.rate
        );
    }
    text
}

/// What was seen of both ends at one time.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    server_open: u64,
    server_rss_bytes: u64,
    client_rss_bytes: u64,
    server_cpu_ns: u64,
    client_cpu_ns: u64,
}

impl Look {
    fn take(server: &Server, running: &Running) -> Result<Self, MeasureError> {
        let open =
            scrape::metric(server.admin, OPEN).map_err(MeasureError::io("read the server's metrics"))?;
        Ok(Self {
            at: Instant::now(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count; as saturates"
            )]
            server_open: open as u64,
            server_rss_bytes: rss_bytes(server.pid())?,
            server_cpu_ns: cpu_time::spent_ns(server.pid())?,
            // Nothing when it has ended meanwhile: then this is no look at a time when all are open.
            client_rss_bytes: rss_bytes(running.pid()).unwrap_or(0),
            client_cpu_ns: cpu_time::spent_ns(running.pid()).unwrap_or(0),
        })
    }
}

fn rss_bytes(pid: u32) -> Result<u64, MeasureError> {
    let memory = smaps_rollup::read(pid).map_err(MeasureError::io("read a program's memory"))?;
    Ok(memory.rss_bytes)
}

/// Looks at both ends until the load is over.
fn watch(
    session: &Session,
    wanted: u64,
    server: &Server,
    mut running: Running,
) -> Result<(Report, Vec<Look>), MeasureError> {
    let began = Instant::now();
    let mut looks = vec![Look::take(server, &running)?];
    loop {
        if let Some(status) = running.wait(&session.interrupt, Some(LOOK_EVERY))? {
            return Ok((running.report(status)?, looks));
        }
        let look = Look::take(server, &running)?;
        let was_full = looks.last().is_some_and(|last| last.server_open >= wanted);
        if !was_full {
            session.say(format_args!(
                "  {:>4.0} s  {} open",
                began.elapsed().as_secs_f64(),
                Count(look.server_open)
            ));
        }
        looks.push(look);
    }
}

fn figures(
    args: &ScaleArgs,
    allowed: &Allowed,
    report: &Report,
    looks: &[Look],
    server_rss_bytes_before: u64,
) -> Figures {
    let connections = report.populations.iter().map(|population| population.connections);
    let full: Vec<&Look> = looks.iter().filter(|look| look.server_open >= args.connections).collect();
    let first_full = full.first();
    // The last one may be of a load generator that had ended.
    let held: Vec<&Look> = full
        .iter()
        .copied()
        .filter(|look| {
            look.client_rss_bytes > 0 && first_full.is_some_and(|first| look.at >= first.at + WARMUP)
        })
        .collect();
    let most = |bytes: fn(&Look) -> u64| full.iter().map(|look| bytes(look)).max().unwrap_or(0);
    let cpu = |spent_ns: fn(&Look) -> u64| match held.as_slice() {
        [first, .., last] => {
            let elapsed = (last.at - first.at).as_nanos() as f64;
            Some(spent_ns(last).saturating_sub(spent_ns(first)) as f64 / elapsed)
        }
        _ => None,
    };
    Figures {
        connections: args.connections,
        nofile_per_table: allowed.nofile,
        ramp_s: report.run.ramp_s,
        server_open: looks.iter().map(|look| look.server_open).max().unwrap_or(0),
        client_open: connections.clone().map(|counts| counts.peak_open).sum(),
        client_lost: connections.map(|counts| counts.lost).sum(),
        server_rss_bytes: most(|look| look.server_rss_bytes),
        server_rss_bytes_before,
        client_rss_bytes: most(|look| look.client_rss_bytes),
        server_cpu: cpu(|look| look.server_cpu_ns),
        client_cpu: cpu(|look| look.client_cpu_ns),
        is_silent: args.silent,
        valid: report.verdict.valid,
    }
}

fn say(session: &Session, figures: &Figures) {
    session.say(format_args!(
        "open at once: {} at the server, {} at the load generator; lost: {}",
        Count(figures.server_open),
        Count(figures.client_open),
        Count(figures.client_lost)
    ));
    session.say(format_args!(
        "all open after {:.1} s: {:.0} a second",
        figures.ramp_s,
        figures.connections as f64 / figures.ramp_s
    ));
    session.say(format_args!(
        "memory per connection: server {:.1} bytes, load generator {:.1} bytes (all it has, {} MB, by {})",
        figures.server_bytes_per_connection(),
        figures.client_bytes_per_connection(),
        figures.client_rss_bytes / 1_000_000,
        Count(figures.connections)
    ));
    if let (Some(server), Some(client)) = (figures.server_cpu, figures.client_cpu) {
        session.say(format_args!(
            "CPU while they are held: server {:.2} % of one, load generator {:.2} %",
            100.0 * server,
            100.0 * client
        ));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(flags: &str) -> ScaleArgs {
        let words = ["tidemark-measure", "scale"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Scale(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_scenario_is_one_that_a_user_could_have_written() {
        insta::assert_snapshot!(scenario(&args("1000000 --connect-rate 15000"), "tcp://127.0.0.1:7000"), @r#"
        target = "tcp://127.0.0.1:7000"
        duration = "1m"
        warmup = "5s"

        [connect]
        rate = 15000

        [[population]]
        name = "heartbeat"
        connections = 999000
        every = "1m"
        payload = 32

        [[population]]
        name = "probe"
        connections = 1000
        rate = 1000
        payload = 64
        "#);
        insta::assert_snapshot!(scenario(&args("500 --silent"), "tcp://127.0.0.1:7000"), @r#"
        target = "tcp://127.0.0.1:7000"
        duration = "1m"
        warmup = "5s"

        [[population]]
        name = "idle"
        connections = 500
        "#);
    }

    fn good() -> Figures {
        Figures {
            connections: 1_000_000,
            nofile_per_table: 20_000,
            ramp_s: 80.0,
            server_open: 1_000_001,
            client_open: 1_000_000,
            client_lost: 0,
            server_rss_bytes: 70_000_000,
            server_rss_bytes_before: 10_000_000,
            client_rss_bytes: 150_000_000,
            server_cpu: Some(0.004),
            client_cpu: Some(0.1),
            is_silent: true,
            valid: true,
        }
    }

    #[test]
    fn all_must_be_there_at_both_ends_and_cost_little() {
        assert_eq!(good().missed(), Vec::<String>::new());
        for bad in [
            Figures { server_open: 999_999, ..good() },
            Figures { client_open: 999_999, ..good() },
            Figures { client_lost: 1, ..good() },
            Figures { server_rss_bytes: 75_000_000, ..good() },
            Figures { client_rss_bytes: 161_000_000, ..good() },
            Figures { server_cpu: Some(0.0051), ..good() },
            Figures { server_cpu: None, ..good() },
        ] {
            assert_eq!(bad.missed().len(), 1, "{bad:?}");
        }
        let busy = Figures { server_cpu: Some(0.5), is_silent: false, ..good() };
        assert_eq!(busy.missed(), Vec::<String>::new());
        let few = Figures { connections: 1000, server_rss_bytes: 75_000_000, ..good() };
        assert_eq!(few.missed(), Vec::<String>::new(), "what the programs have besides is most of it");
    }
}
