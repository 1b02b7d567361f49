//! `echo`: the server under Poisson load, in the load generator's own words.

use tidemark_program::Exit;

use crate::allowed::{Allowed, scale};
use crate::cli::EchoArgs;
use crate::error::MeasureError;
use crate::loadgen::{Arrivals, Load, Target};
use crate::server::{CONNECTIONS_SPARE, Options, Server};
use crate::session::Session;

/// Runs it.
///
/// # Errors
/// When it could not run. A run that cannot be trusted is an [`Exit`].
pub fn run(session: &Session, args: &EchoArgs) -> Result<Exit, MeasureError> {
    let allowed = Allowed::read().map_err(MeasureError::io("read the CPUs of this process"))?;
    let scaled = scale(args.connections, args.rate, &allowed);
    for note in &scaled.notes {
        session.say(format_args!("scaled down: {note}"));
    }
    let server = Server::start(
        session,
        Options {
            cpu: scaled.apart.map(|apart| apart.server),
            max_connections: Some(scaled.connections + CONNECTIONS_SPARE),
            ..Options::default()
        },
    )?;
    let pins = scaled.apart.map_or_else(String::new, |apart| {
        format!("; server on CPU {}, load generator on CPU {}", apart.server, apart.client)
    });
    session.say(format_args!(
        "{} connections, {} echoes per second (Poisson), {}{pins}",
        scaled.connections,
        scaled.rate,
        humantime::format_duration(args.duration)
    ));
    let load = Load {
        target: Target::Echo(server.echo),
        connections: scaled.connections,
        pipeline: 1,
        arrivals: Arrivals::Poisson(scaled.rate),
        warmup: None,
        duration: args.duration,
        interval: None,
        cpu: scaled.apart.map(|apart| apart.client),
        output: session.results.clone(),
    };
    let exit = load.show(session)?;
    server.stop();
    if matches!(exit, Exit::Good | Exit::NotTrustworthy) {
        let latest = session.results.join("latest");
        session.say(format_args!(
            "the newest run is always in {0}/: report.json and latency.hlog",
            latest.display()
        ));
    }
    Ok(exit)
}
