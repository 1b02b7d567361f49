//! `compare`: the server's engines beside other servers under the same load, and the load generator beside others against the same
//! server, all of them in turn within one run.
//!
//! What is compared is what an absolute time of a shared machine cannot tell: ratios, taken within each round to the figure that ours
//! has in the same round.

mod candidate;
mod haproxy;
mod peer;
mod rounds;

pub use peer::PeerCommand;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use serde::Serialize;
use tidemark_program::Exit;

use self::candidate::{Candidate, Speaks};
use self::rounds::{Row, in_rounds};
use crate::allowed::{Allowed, Apart};
use crate::cli::CompareArgs;
use crate::closed_loop::ClosedLoop;
use crate::cpu_time;
use crate::engine::Engine;
use crate::error::MeasureError;
use crate::exchange::Exchange;
use crate::loadgen::{Arrivals, HTTP_PATH, Load, Target};
use crate::peers::{self, Peer};
use crate::pinned;
use crate::results;
use crate::server::{Options, Server};
use crate::session::Session;
use crate::wrk;

#[derive(Debug, Serialize)]
struct Figures {
    rounds: usize,
    connections: usize,
    requests_per_slot: u64,
    /// CPU time of a request, ns, with echoes of 64 bytes.
    echo: Vec<Row>,
    /// The same with HTTP.
    http: Vec<Row>,
    /// Requests per second of load generators on one CPU in closed loop.
    generators: Vec<Row>,
    /// What could not take part, and why.
    left_out: Vec<String>,
}

/// Bytes of an echo.
const PAYLOAD_BYTES: usize = 64;

/// What takes part in the comparison of load generators.
#[derive(Clone, Copy, Debug)]
enum Generator {
    Tidemark,
    Wrk,
    Oha,
}

struct Bench<'a> {
    session: &'a Session,
    args: &'a CompareArgs,
    allowed: &'a Allowed,
    apart: Apart,
    left_out: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When it could not run, also where there is only one CPU: the two ends would then measure each other.
pub fn run(session: &Session, args: &CompareArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let apart = allowed.apart().ok_or_else(|| {
        MeasureError::Host("compare needs two CPUs, one for the server and one for its client".to_owned())
    })?;
    let mut bench = Bench { session, args, allowed: &allowed, apart, left_out: Vec::new() };
    session.say(format_args!(
        "{} rounds, in each every candidate once; servers on CPU {}, clients on CPU {}, {} connections",
        args.rounds, apart.server, apart.client, args.connections
    ));
    let echo = bench.servers(Speaks::Echo)?;
    let http = bench.servers(Speaks::Http)?;
    let generators = bench.generators()?;
    let figures = Figures {
        rounds: args.rounds,
        connections: args.connections,
        requests_per_slot: args.requests,
        echo,
        http,
        generators,
        left_out: bench.left_out,
    };
    let text = markdown(&figures);
    session.say(format_args!("\n{}", text.trim_end()));
    let path = session.results.join("compare.md");
    fs::create_dir_all(&session.results)
        .and_then(|()| fs::write(&path, &text))
        .map_err(MeasureError::io(format!("write {}", path.display())))?;
    results::keep(session, "compare", &figures)?;
    Ok(Exit::Good)
}

impl Bench<'_> {
    /// Servers, by the CPU time that a request takes them.
    fn servers(&mut self, speaks: Speaks) -> Result<Vec<Row>, MeasureError> {
        let (candidates, left_out) = candidate::all(speaks, &self.args.peers);
        self.left_out.extend(left_out);
        let names = candidates.iter().map(Candidate::name).collect();
        self.session.say(format_args!("\nCPU time per {} request, ns", speaks.name()));
        in_rounds(self.session, names, self.args.rounds, |index| self.slot(&candidates[index], speaks))
    }

    fn slot(&self, candidate: &Candidate, speaks: Speaks) -> Result<f64, MeasureError> {
        let started = pinned::start(&self.allowed.cpus, Some(self.apart.server), || {
            candidate.start(self.session, speaks, self.apart)
        })?;
        let ns = self.ns_per_request(&candidate.name(), started.pid(), started.target(), speaks)?;
        started.stop();
        Ok(ns)
    }

    /// CPU time of the server and the processes it started, per request.
    fn ns_per_request(
        &self,
        name: &str,
        pid: u32,
        target: SocketAddr,
        speaks: Speaks,
    ) -> Result<f64, MeasureError> {
        let error =
            |error: std::io::Error| MeasureError::Client { program: name.to_owned(), why: error.to_string() };
        let connect = || {
            let exchange = match speaks {
                Speaks::Echo => Exchange::echo(PAYLOAD_BYTES),
                Speaks::Http => Exchange::get(target, HTTP_PATH),
            };
            ClosedLoop::connect(target, self.args.connections, exchange?)
        };
        let at_rest_ns = || cpu_time::group_at_rest_ns(pid, &self.session.interrupt);
        cpu_time::per_exchange_ns(self.apart.client, connect, self.args.requests, at_rest_ns, error)
    }

    /// Load generators, by the requests per second that one CPU makes in closed loop.
    fn generators(&mut self) -> Result<Vec<Row>, MeasureError> {
        let mut generators = vec![Generator::Tidemark];
        for (generator, name, had_by) in [
            (Generator::Wrk, "wrk", "apt-get install wrk"),
            (Generator::Oha, Peer::Oha.name(), Peer::Oha.had_by()),
        ] {
            if peers::find(name).is_some() {
                generators.push(generator);
            } else {
                self.left_out.push(format!("{name} is not on the PATH ({had_by})"));
            }
        }
        let names = generators.iter().map(|generator| generator.name().to_owned()).collect();
        self.session.say("\nHTTP requests per second of a load generator on one CPU, in closed loop");
        let server = Server::start(
            self.session,
            Options {
                cpu: Some(self.apart.server),
                workers: Some(1),
                engine: Some(Engine::Epoll),
                http: true,
                ..Options::default()
            },
        )?;
        let target =
            server.http.ok_or_else(|| MeasureError::Host("the server does not serve HTTP".to_owned()))?;
        let rows = in_rounds(self.session, names, self.args.rounds, |index| {
            generators[index].requests_per_s(self, target)
        })?;
        server.stop();
        Ok(rows)
    }
}

impl Generator {
    const fn name(self) -> &'static str {
        match self {
            Self::Tidemark => "tidemark-loadgen",
            Self::Wrk => "wrk -t1",
            Self::Oha => "oha",
        }
    }

    /// Each warms up as it can: ours does by itself, the others in a run of a second that does not count.
    fn requests_per_s(self, bench: &Bench<'_>, target: SocketAddr) -> Result<f64, MeasureError> {
        let Bench { session, args, apart, .. } = *bench;
        match self {
            Self::Tidemark => {
                let load = Load {
                    target: Target::Http(target),
                    connections: args.connections as u64,
                    pipeline: 1,
                    arrivals: Arrivals::Closed,
                    warmup: None,
                    duration: std::time::Duration::from_secs(args.seconds),
                    interval: None,
                    cpu: Some(apart.client),
                    output: session.results.join("compare"),
                };
                let report = load.report(session)?;
                Ok(report.populations.iter().map(|population| population.completed_per_s).sum())
            }
            Self::Wrk => {
                let run = |seconds| wrk::run(session, apart.client, args.connections, seconds, target);
                run(1)?;
                Ok(run(args.seconds)?.requests_per_s)
            }
            Self::Oha => {
                let run = |seconds| {
                    peers::oha_requests_per_s(session, apart.client, args.connections, seconds, target)
                };
                run(1)?;
                run(args.seconds)
            }
        }
    }
}

/// The tables, for a README or a pull request.
fn markdown(figures: &Figures) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let mut table = |title: &str, unit: &str, note: &str, rows: &[Row]| {
        let _ = write!(
            text,
            "## {title}\n\n| | {unit} | of ours | half of the rounds | all |\n|---|---:|---:|---:|---:|\n"
        );
        for Row { name, figure, ratio, .. } in rows {
            let _ = writeln!(
                text,
                "| {name} | {:.0} | {:.3} | {:.3} to {:.3} | {:.3} to {:.3} |",
                figure.median, ratio.median, ratio.lower_quartile, ratio.upper_quartile, ratio.min, ratio.max
            );
        }
        let _ = writeln!(text, "\n{note}\n");
    };
    let less =
        "CPU time of the server alone, by the kernel's account; more than 1 takes more of it than ours.";
    table("Servers, echo of 64 bytes", "CPU ns per request", less, &figures.echo);
    table("Servers, HTTP", "CPU ns per request", less, &figures.http);
    let more = "On one CPU, against our server on the other; less than 1 makes fewer requests than ours.";
    table("Load generators, HTTP", "requests per second", more, &figures.generators);
    let _ = writeln!(
        text,
        "{} rounds with {} connections; ratios within each round, their median first.",
        figures.rounds, figures.connections
    );
    for what in &figures.left_out {
        let _ = writeln!(text, "Left out: {what}.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Spread;

    #[test]
    fn the_tables_say_who_took_how_much() {
        let row = |name: &str, figures: &[f64], ratios: &[f64]| Row {
            name: name.to_owned(),
            figure: Spread::of(figures),
            ratio: Spread::of(ratios),
            rounds: figures.to_vec(),
        };
        let rows = vec![
            row("tidemark-server, epoll", &[3000.0, 3100.0, 2900.0], &[1.0, 1.0, 1.0]),
            row("bare epoll loop", &[2900.0, 3000.0, 2800.0], &[0.96, 0.97, 0.95]),
        ];
        let figures = Figures {
            rounds: 3,
            connections: 100,
            requests_per_slot: 100_000,
            echo: rows.clone(),
            http: Vec::new(),
            generators: Vec::new(),
            left_out: vec!["haproxy is not on the PATH (apt-get install haproxy)".to_owned()],
        };
        insta::assert_snapshot!(markdown(&figures));
    }
}
