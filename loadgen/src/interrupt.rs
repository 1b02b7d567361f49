//! Ctrl-C and SIGTERM: the first ends the run early with a report, the second ends the program at once.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::worker::Message;

/// The exit status of a program that a second Ctrl-C ended, as shells report SIGINT.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// Listens for signals until it is dropped. A process has one of it: once a signal has a handler here, it has no other
/// effect any more.
#[derive(Debug)]
pub struct Interrupts {
    relay: Arc<Mutex<Relay>>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Who is to hear of a signal.
#[derive(Debug, Default)]
struct Relay {
    has_come: bool,
    to: Option<Sender<Message>>,
}

impl Relay {
    fn tell(&self) {
        if let (true, Some(to)) = (self.has_come, &self.to) {
            // A run that is over has no use for it.
            drop(to.send(Message::Interrupted));
        }
    }
}

impl Interrupts {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let was_signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal only sets the flag that arms the shutdown for the second.
            flag::register_conditional_shutdown(signal, EXIT_SECOND_SIGNAL, Arc::clone(&was_signalled))?;
            flag::register(signal, Arc::clone(&was_signalled))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let relay = Arc::<Mutex<Relay>>::default();
        let of_thread = Arc::clone(&relay);
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                let mut relay = lock(&of_thread);
                relay.has_come = true;
                relay.tell();
            }
        })?;
        Ok(Self { relay, handle, thread: Some(thread) })
    }

    /// Tells the receiver of these messages of every signal from now on, and of one that has come already. It takes the
    /// place of whoever was told before.
    pub fn tell(&self, messages: Sender<Message>) {
        let mut relay = lock(&self.relay);
        relay.to = Some(messages);
        relay.tell();
    }

    /// Whether a signal has come.
    pub fn has_come(&self) -> bool {
        lock(&self.relay).has_come
    }
}

fn lock(relay: &Mutex<Relay>) -> MutexGuard<'_, Relay> {
    // Nothing that is done under the lock can leave it half done.
    relay.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
