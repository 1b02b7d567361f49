//! What every measurement has at hand.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use tidemark_host::limits;

use crate::binaries::Binaries;
use crate::error::MeasureError;
use crate::interrupt::Interrupt;

/// What every measurement has at hand.
#[derive(Debug)]
pub struct Session {
    /// Where the programs are.
    pub binaries: Binaries,
    /// Ctrl-C and SIGTERM.
    pub interrupt: Interrupt,
    /// Where results are kept.
    pub results: PathBuf,
    /// Where the user wants the figures as well.
    pub json: Option<PathBuf>,
}

impl Session {
    /// Finds the programs, catches signals, and raises the soft limit on descriptors to the hard one.
    ///
    /// # Errors
    /// When one of these fails.
    pub fn open(results: PathBuf, json: Option<PathBuf>) -> Result<Self, MeasureError> {
        limits::raise_nofile().map_err(MeasureError::io("raise the limit on open files"))?;
        Ok(Self {
            binaries: Binaries::beside_this()?,
            interrupt: Interrupt::catch().map_err(MeasureError::io("handle signals"))?,
            results,
            json,
        })
    }

    /// Prints a line of the result.
    pub fn say(&self, line: impl fmt::Display) {
        // A closed standard output is no reason to end a measurement; its files are still written.
        drop(writeln!(io::stdout(), "{line}"));
    }
}
