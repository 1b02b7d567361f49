//! `HAProxy` with one thread that answers as our server does, by itself.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::peer;
use crate::error::MeasureError;
use crate::listening;
use crate::process::Process;
use crate::session::Session;

/// Starts it, and waits until it listens. Its configuration goes with the directory.
///
/// # Errors
/// When it cannot be started or does not listen.
pub(super) fn start(session: &Session) -> Result<(Process, SocketAddr, TempDir), MeasureError> {
    let directory = tempfile::tempdir().map_err(MeasureError::io("make a directory for haproxy"))?;
    let target = listening::free_port()?;
    let path = directory.path().join("haproxy.cfg");
    std::fs::write(&path, configuration(target))
        .map_err(MeasureError::io("write haproxy's configuration"))?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    let process = peer::start("haproxy", &mut command, target, &session.interrupt)?;
    Ok((process, target, directory))
}

fn configuration(target: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\n\
         defaults\n  mode http\n  timeout client 1h\n  timeout http-keep-alive 1h\n\
         frontend health\n  bind {target}\n  \
         http-request return status 200 content-type application/json string '{{\"status\":\"ok\"}}'\n"
    )
}
