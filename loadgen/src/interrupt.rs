//! Ctrl-C and SIGTERM: the first ends the run early with a report, the second ends the program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::worker::Message;

/// The exit status of a program that a second Ctrl-C ended, as shells report SIGINT.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// Listens for signals until it is dropped.
#[derive(Debug)]
pub struct Interrupts {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Interrupts {
    /// Sends [`Message::Interrupted`] at the first signal.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen(messages: Sender<Message>) -> io::Result<Self> {
        let was_signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal only sets the flag that arms the shutdown for the second.
            flag::register_conditional_shutdown(signal, EXIT_SECOND_SIGNAL, Arc::clone(&was_signalled))?;
            flag::register(signal, Arc::clone(&was_signalled))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                if messages.send(Message::Interrupted).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
