//! What each subcommand does, and how it ends.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tidemark_host::{doctor, limits};
use tidemark_program::Exit;
use tidemark_program::doctor::DoctorFlags;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::capacity::{self, Allowed, Wanted};
use crate::cli::{Command, LogFormat, Parsed, Refusal};
use crate::config::{Config, DEFAULT_BACKLOG, FdTables};
use crate::engine::Engine;
use crate::healthcheck;
use crate::inherited::{self, Inherited};
use crate::server::{Outcome, Server, StartError, Stopper};

/// Runs what the command line asks for.
pub fn run(Parsed { cli, settings }: Parsed) -> ExitCode {
    start_logs(cli.log);
    let exit = match cli.command {
        Command::Serve(args) if args.print_config => print_settings(&settings),
        Command::Serve(args) => match inherited::take() {
            Ok(inherited) => serve(args.into_config(inherited.len()), inherited),
            Err(why) => fail(Exit::Usage, &why),
        },
        Command::Healthcheck { url } => match healthcheck::check(&url) {
            Ok(()) => Exit::Good,
            Err(error) => fail(if error.is_usage() { Exit::Usage } else { Exit::CouldNotRun }, &error),
        },
        Command::Doctor(args) => check_host(&args),
    };
    exit.into()
}

/// Prints what is wrong with a command line or a file, or the help or version that was asked for.
pub fn refuse(refusal: &Refusal) -> ExitCode {
    let error = match refusal {
        Refusal::CommandLine(error) => error,
        Refusal::File(why) => return fail(Exit::Usage, why).into(),
    };
    // Nobody reads it when this fails.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Good }.into()
}

/// One line that says what is wrong and what to do. Not a log record: it is the command's answer.
#[expect(clippy::print_stderr, reason = "this is where a command's errors go")]
fn fail(exit: Exit, error: &dyn std::fmt::Display) -> Exit {
    eprintln!("error: {error}");
    exit
}

fn start_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let colors = io::stderr().is_terminal();
    match format {
        LogFormat::Text => logs.with_ansi(colors).init(),
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is the command's output")]
fn print_settings(settings: &str) -> Exit {
    print!("{settings}");
    Exit::Good
}

fn serve(config: Config, inherited: Vec<Inherited>) -> Exit {
    // Before the workers: a signal may be handled on any thread, and with private descriptor tables the pipe that the
    // handler writes to exists in a worker's table only when it was open before.
    let signals = match Signals::new([SIGTERM, SIGINT]) {
        Ok(signals) => signals,
        Err(error) => return fail(Exit::CouldNotRun, &format_args!("cannot handle signals: {error}")),
    };
    let running = match Server::start_with(config, inherited) {
        Ok(running) => running,
        Err(error @ StartError::Config(_)) => return fail(Exit::Usage, &error),
        Err(error) => return fail(Exit::CouldNotRun, &error),
    };
    tell(&NotifyState::Ready);
    let handle = signals.handle();
    let stopper = running.stopper();
    let listening =
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || obey(signals, &stopper));
    let listening = match listening {
        Ok(thread) => thread,
        Err(error) => return fail(Exit::CouldNotRun, &format_args!("cannot start a thread: {error}")),
    };
    let outcome = running.wait();
    handle.close();
    // It has nothing that can panic.
    let _ = listening.join();
    judge(outcome)
}

/// Tells whoever supervises this process, if anybody wants to know.
fn tell(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        warn!(%error, "the supervisor cannot be told");
    }
}

/// The first signal drains, the second ends at once.
fn obey(mut signals: Signals, stopper: &Stopper) {
    let mut asked = false;
    for signal in signals.forever() {
        if asked {
            warn!(signal, "second signal: ending at once");
            stopper.abort();
        } else {
            info!(signal, "draining");
            tell(&NotifyState::Stopping);
            stopper.stop();
            asked = true;
        }
    }
}

fn judge(outcome: Outcome) -> Exit {
    if outcome.failed_workers > 0 {
        Exit::CouldNotRun
    } else if outcome.aborted || outcome.cut_off > 0 {
        error!(cut_off = outcome.cut_off, "connections were cut off");
        Exit::JudgedBad
    } else {
        Exit::Good
    }
}

#[expect(clippy::print_stdout, reason = "this is the command's output")]
fn check_host(args: &DoctorFlags) -> Exit {
    // The server raises it, too; the check is of what it will then have.
    let _ = limits::raise_nofile();
    let readings = doctor::Readings::take();
    let checks = doctor::check(&needs(args.connections, &readings), &readings);
    let (text, exit) = args.answer(&checks);
    print!("{text}");
    exit
}

/// What `serve --max-connections CONNECTIONS` with its other defaults asks of the host.
fn needs(connections: u64, readings: &doctor::Readings) -> doctor::Needs {
    let cpus = readings.cpus.and_then(|cpus| usize::try_from(cpus).ok()).unwrap_or(1);
    let allowed = Allowed {
        nofile: readings.nofile.soft,
        cpus,
        private_tables: readings.can_be_private,
        available_bytes: readings.memory_available_bytes,
    };
    let wanted = Wanted {
        workers: None,
        workers_at_least: cpus,
        max_connections: Some(connections),
        fd_tables: FdTables::Auto,
        listeners: 2,
        connection_bytes: Engine::default().connection_bytes(),
    };
    // Where no plan fits, the checks say what is missing.
    let (workers, private_fd_tables) = capacity::plan(wanted, allowed)
        .map_or((cpus, readings.can_be_private), |plan| (plan.workers, plan.private_tables));
    doctor::Needs {
        role: doctor::Role::Server,
        connections,
        workers: workers as u64,
        private_fd_tables,
        loopback: false,
        backlog: u64::from(DEFAULT_BACKLOG),
        ..doctor::Needs::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_their_codes() {
        let clean = Outcome::default();
        assert_eq!(judge(clean), Exit::Good);
        assert_eq!(judge(Outcome { cut_off: 1, ..clean }), Exit::JudgedBad);
        assert_eq!(judge(Outcome { aborted: true, ..clean }), Exit::JudgedBad);
        assert_eq!(judge(Outcome { failed_workers: 1, ..clean }), Exit::CouldNotRun);
    }
}
