//! `connections`: many connections, counted at both ends while a light load goes over them.

use std::time::Duration;

use serde::Serialize;
use tidemark_loadgen::report::{Report, table};
use tidemark_program::Exit;

use crate::cli::ConnectionsArgs;
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Load, Target};
use crate::results;
use crate::scale::{Allowed, scale};
use crate::scrape;
use crate::server::{Options, Server};
use crate::session::Session;

/// Beyond those that are measured: the load generator tries the target once before it begins.
const CONNECTIONS_SPARE: u64 = 100;

/// How often the server is asked for its count.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The gauge that it is asked for.
const OPEN: &str = "tidemark_connections_open";

#[derive(Debug, Serialize)]
struct Figures {
    connections_wanted: u64,
    nofile_per_table: u64,
    private_tables: bool,
    /// The most that the server said it had.
    server_open: u64,
    /// The most that the load generator had.
    client_open: u64,
    client_lost: u64,
    valid: bool,
}

/// Runs it.
///
/// # Errors
/// When it could not run.
pub fn run(session: &Session, args: &ConnectionsArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let scaled = scale(args.connections, args.rate, &allowed);
    for note in &scaled.notes {
        session.say(format_args!("scaled down: {note}"));
    }
    let server = Server::start(
        session,
        Options {
            cpu: scaled.apart.map(|apart| apart.server),
            workers: None,
            max_connections: Some(scaled.connections + CONNECTIONS_SPARE),
            http: false,
            engine: None,
        },
    )?;
    session.say(format_args!(
        "{} connections with {} echoes per second; a descriptor table holds {}",
        scaled.connections, scaled.rate, allowed.nofile
    ));
    let load = Load {
        target: Target::Echo(server.echo),
        connections: scaled.connections,
        arrivals: Arrivals::Poisson(scaled.rate),
        warmup: None,
        duration: args.duration,
        cpu: scaled.apart.map(|apart| apart.client),
        output: session.results.clone(),
    };
    let (report, server_open) = watch(session, &server, &load)?;
    server.stop();
    session.say(table::render(&report).trim_end());
    let figures = figures(scaled.connections, &allowed, &report, server_open);
    session.say(format_args!(
        "open at once: {} at the server, {} at the load generator; lost: {}",
        figures.server_open, figures.client_open, figures.client_lost
    ));
    results::keep(session, "connections", &figures)?;
    Ok(judge(&figures))
}

/// Runs the load and asks the server meanwhile how many connections it has. Gives the most.
fn watch(session: &Session, server: &Server, load: &Load) -> Result<(Report, u64), MeasureError> {
    let mut running = load.start(session)?;
    let mut server_open = 0;
    loop {
        if let Some(status) = running.wait(&session.interrupt, Some(COUNT_EVERY))? {
            return Ok((running.report(status)?, server_open));
        }
        let open =
            scrape::metric(server.admin, OPEN).map_err(MeasureError::io("read the server's metrics"))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count; as saturates")]
        let open = open as u64;
        server_open = server_open.max(open);
    }
}

fn figures(connections_wanted: u64, allowed: &Allowed, report: &Report, server_open: u64) -> Figures {
    let connections = report.populations.iter().map(|population| population.connections);
    Figures {
        connections_wanted,
        nofile_per_table: allowed.nofile,
        private_tables: connections_wanted > allowed.per_table(),
        server_open,
        client_open: connections.clone().map(|counts| counts.peak_open).sum(),
        client_lost: connections.map(|counts| counts.lost).sum(),
        valid: report.verdict.valid,
    }
}

/// All of them at both ends, in a run that can be trusted.
fn judge(figures: &Figures) -> Exit {
    if !figures.valid {
        return Exit::NotTrustworthy;
    }
    let wanted = figures.connections_wanted;
    Exit::judged(figures.server_open >= wanted && figures.client_open >= wanted && figures.client_lost == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_must_be_there_at_both_ends() {
        let good = || Figures {
            connections_wanted: 40_000,
            nofile_per_table: 20_000,
            private_tables: true,
            server_open: 40_001,
            client_open: 40_000,
            client_lost: 0,
            valid: true,
        };
        assert_eq!(judge(&good()), Exit::Good);
        for bad in [
            Figures { server_open: 39_999, ..good() },
            Figures { client_open: 39_999, ..good() },
            Figures { client_lost: 1, ..good() },
        ] {
            assert_eq!(judge(&bad), Exit::JudgedBad, "{bad:?}");
        }
        assert_eq!(judge(&Figures { valid: false, ..good() }), Exit::NotTrustworthy);
    }
}
