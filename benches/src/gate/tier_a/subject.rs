//! A build that is counted, and how its server is started for that.

use std::process::Command;

use crate::error::MeasureError;
use crate::gate::build::Build;
use crate::interrupt::Interrupt;
use crate::server::{Options, Server};

/// A build, and what its servers are told besides.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its programs.
    pub build: Build,
    /// Flags of `serve`. Meant for faults that are injected.
    pub flags: Vec<String>,
}

impl Subject {
    /// Starts a server with one worker and an environment of nothing.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn serve(&self, mut command: Command, interrupt: &Interrupt) -> Result<Server, MeasureError> {
        command.env_clear();
        let options = Options { workers: Some(1), http: true, ..Options::default() };
        Server::start_as(command, options, &self.flags, interrupt)
    }
}
