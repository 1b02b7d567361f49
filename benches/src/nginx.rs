//! nginx with one worker that answers as our server does, the least that it can do: `return 200`, no access log, connections
//! kept for ever.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::error::MeasureError;
use crate::listening::{self, Lines};
use crate::process::Process;
use crate::session::Session;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    /// Where it serves.
    pub target: SocketAddr,
    /// The process that serves.
    pub worker: u32,
    /// Its configuration and what it writes; it goes with it.
    _directory: TempDir,
}

impl Nginx {
    /// Starts it with its worker on `cpu`, and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started or does not say so.
    pub fn start(session: &Session, cpu: usize) -> Result<Self, MeasureError> {
        let directory = tempfile::tempdir().map_err(MeasureError::io("make a directory for nginx"))?;
        let target = listening::free_port()?;
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, configuration(directory.path(), target, cpu))
            .map_err(MeasureError::io("write nginx's configuration"))?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command).map_err(MeasureError::io("start nginx"))?;
        let lines = match process.take_stderr() {
            Some(stderr) => Lines::of(stderr)?,
            None => Lines::of(io::empty())?,
        };
        let worker = listening::wait_until("nginx", &lines, &mut process, &session.interrupt, worker_pid)?;
        Ok(Self { process, target, worker, _directory: directory })
    }

    /// The process that was started, and of whose group the worker is.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it and waits for that.
    pub fn stop(self) {
        self.process.stop();
    }
}

/// What it says of itself, such as `nginx/1.26.3`.
///
/// # Errors
/// When there is no nginx.
pub fn version() -> Result<String, MeasureError> {
    let output = Command::new("nginx").arg("-v").output().map_err(MeasureError::io("start nginx"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.trim().rsplit_once("nginx version: ").map_or("nginx", |(_, version)| version).to_owned())
}

fn configuration(directory: &Path, target: SocketAddr, cpu: usize) -> String {
    let directory = directory.display();
    let affinity = format!("1{}", "0".repeat(cpu));
    format!(
        "daemon off; worker_processes 1; worker_cpu_affinity {affinity}; pid {directory}/pid; error_log stderr notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; default_type application/json;\n\
         client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;\n\
         uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n\
         server {{ listen {target}; location / {{ return 200 '{{\"status\":\"ok\"}}'; }} }}\n\
         }}\n"
    )
}

/// The process that serves, in the line in which nginx says that it has started it. By then it listens.
fn worker_pid(line: &str) -> Option<u32> {
    line.rsplit_once("start worker process ")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_found() {
        let line = "2026/01/01 00:00:00 [notice] 100#100: start worker process 101";
        assert_eq!(worker_pid(line), Some(101));
        assert_eq!(worker_pid("2026/01/01 00:00:00 [notice] 100#100: start worker processes"), None);
    }

    #[test]
    fn the_worker_is_on_its_cpu() {
        let text = configuration(Path::new("/x"), "127.0.0.1:80".parse().unwrap(), 2);
        assert!(text.contains("worker_cpu_affinity 100;") && text.contains("listen 127.0.0.1:80;"), "{text}");
    }
}
