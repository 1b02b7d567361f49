//! Wakes an event loop from another thread, also across private descriptor tables.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, retry_on_intr, write};

/// A non-blocking eventfd. The waiting side registers it for reading and calls [`Wake::clear`] when it fires; any clone
/// may [`Wake::wake`] it.
///
/// Where threads make their descriptor tables private ([`crate::fdtable::make_private`]) it must be created **before**
/// they do: it is then open under the same number in each table. Wakes given before the waiting side looks are kept
/// and merge into one.
#[derive(Clone, Debug)]
pub struct Wake {
    fd: Arc<OwnedFd>,
}

impl Wake {
    /// # Errors
    /// What `eventfd` says: `EMFILE` or `ENFILE` when no descriptor is left, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Makes the eventfd readable. Never blocks and cannot fail in a way that matters: the only error of an eventfd
    /// write is `EAGAIN`, when the counter is full, and then it is readable already.
    pub fn wake(&self) {
        let _ = retry_on_intr(|| write(&self.fd, &1u64.to_ne_bytes()));
    }

    /// Takes all wakes given so far, so that the eventfd is readable only after the next one. A no-op when there was none.
    pub fn clear(&self) {
        let mut counter = [0u8; 8];
        let _ = retry_on_intr(|| read(&self.fd, &mut counter));
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdtable;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::thread;

    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    /// Long enough for any machine; reached only when the wake is lost.
    const DEADLINE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

    fn readable(wake: &Wake, timeout: Timespec) -> bool {
        let mut fds = [PollFd::new(wake, PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).expect("poll") == 1
    }

    #[test]
    fn wakes_merge_and_clear_takes_them_all() {
        let wake = Wake::new().expect("eventfd");
        wake.clear();
        assert!(!readable(&wake, AT_ONCE));
        wake.wake();
        wake.clone().wake();
        assert!(readable(&wake, AT_ONCE));
        wake.clear();
        assert!(!readable(&wake, AT_ONCE));
    }

    #[test]
    fn a_full_counter_neither_blocks_nor_loses_readability() {
        let wake = Wake::new().expect("eventfd");
        // The largest value an eventfd holds; one more would make a blocking write wait.
        write(&wake.fd, &(u64::MAX - 1).to_ne_bytes()).expect("write");
        wake.wake();
        assert!(readable(&wake, AT_ONCE));
        wake.clear();
        assert!(!readable(&wake, AT_ONCE));
    }

    #[test]
    fn reaches_a_thread_with_a_private_table_and_back() {
        if !fdtable::can_be_private() {
            println!("skipped: this host forbids unshare(CLONE_FILES)");
            return;
        }
        let (there, back) = (Wake::new().expect("eventfd"), Wake::new().expect("eventfd"));
        thread::scope(|scope| {
            scope.spawn(|| {
                fdtable::make_private().expect("the probe said that it works");
                assert!(readable(&there, DEADLINE), "the wake must arrive");
                there.clear();
                assert!(!readable(&there, AT_ONCE));
                back.wake();
            });
            there.wake();
            assert!(readable(&back, DEADLINE), "the answer must arrive");
        });
    }
}
