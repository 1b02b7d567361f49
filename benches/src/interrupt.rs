//! Ctrl-C and SIGTERM, as a descriptor that waits can watch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level::pipe};
use tidemark_program::Exit;

use crate::error::MeasureError;
use crate::process::{Ready, wait_for};

/// Readable from the first signal on. The byte is never taken, so that every later wait sees it, too.
#[derive(Debug)]
pub struct Interrupt {
    signals: UnixStream,
}

impl Interrupt {
    /// From now on a first SIGINT or SIGTERM is noticed by waits, and a second one ends the process at once (the kernel
    /// then kills its children).
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn catch() -> io::Result<Self> {
        let (signals, writer) = UnixStream::pair()?;
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal must find the flag still down.
            flag::register_conditional_shutdown(signal, Exit::NotTrustworthy as i32, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
            pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { signals })
    }

    /// # Errors
    /// [`MeasureError::Interrupted`] when there was a signal.
    pub fn check(&self) -> Result<(), MeasureError> {
        self.pause(Duration::ZERO)
    }

    /// Lets time pass, for readings that are to be apart.
    ///
    /// # Errors
    /// [`MeasureError::Interrupted`] as soon as there is a signal.
    pub fn pause(&self, time: Duration) -> Result<(), MeasureError> {
        match wait_for(&[self.as_fd()], Some(time)).map_err(MeasureError::io("poll"))? {
            Ready::Fd(_) => Err(MeasureError::Interrupted),
            Ready::TimedOut => Ok(()),
        }
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
