//! A descriptor table of its own for a thread, which lifts the ceiling on open descriptors without privileges.
//!
//! `RLIMIT_NOFILE` bounds the descriptors of one table. The threads of a process normally share one; after
//! `unshare(CLONE_FILES)` a thread has its own, with the whole limit to itself, and no longer contends with the other
//! threads for the table's lock.

use std::{io, thread};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a descriptor table of its own.
///
/// What that means, and what the caller must keep to:
/// - The table starts as a **copy**: everything open at that moment is open in both tables. A socket that was open
///   before stays open until *both* sides have closed it (a listener goes on accepting connections into its queue
///   although the thread that opened it has closed it). So open sockets after this call.
/// - From then on a descriptor **number is valid only in the table it was opened in**. Another thread must not use, nor
///   drop, an `OwnedFd`, socket or file that this thread opened afterwards, nor the other way round: the number may be
///   free there, or be something else. Hand over bytes and numbers, not descriptors.
/// - A descriptor opened before is usable on both sides, so a [`crate::wake::Wake`] made before reaches over.
/// - The limit counts what the copy brought along, too.
/// - When the thread ends, the kernel closes whatever is still open in its table.
/// - There is no way back: threads started by this thread afterwards share the new table.
///
/// # Errors
/// What `unshare` says: `EPERM` or `ENOSYS` where a sandbox forbids it, `ENOMEM`, or `EMFILE` when the limit has been
/// lowered below what is open.
pub fn make_private() -> io::Result<()> {
    // SAFETY: The call touches no memory of ours, and each descriptor that this thread can see stays open under its
    // number in the copy, so nothing that exists becomes invalid. What it asks of later code, that descriptors are
    // not passed between threads of different tables, is this function's documented contract.
    unsafe { unshare_unsafe(UnshareFlags::FILES) }?;
    Ok(())
}

/// Whether [`make_private`] works here (the seccomp filter of a container may forbid it).
///
/// Tried on a thread of its own, which ends at once: the caller's table stays shared.
pub fn can_be_private() -> bool {
    thread::Builder::new()
        .name("fd-table-probe".to_owned())
        .spawn(|| make_private().is_ok())
        .is_ok_and(|probe| probe.join().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake::Wake;
    use std::os::fd::AsRawFd;

    /// Whether the number is an open descriptor in the calling thread's table.
    fn is_open(fd: i32) -> bool {
        std::fs::read_link(format!("/proc/thread-self/fd/{fd}")).is_ok()
    }

    #[test]
    fn a_descriptor_opened_afterwards_is_unknown_to_other_threads() {
        if !can_be_private() {
            println!("skipped: this host forbids unshare(CLONE_FILES)");
            return;
        }
        let before = Wake::new().expect("eventfd");
        let shared = before.as_raw_fd();
        // Far above what the other tests of this process open, so that the number cannot be taken by chance.
        let wanted = 200;
        thread::scope(|scope| {
            let (opened, is_opened) = std::sync::mpsc::channel();
            let (looked, has_looked) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                make_private().expect("the probe said that it works");
                assert!(is_open(shared), "the table starts as a copy");
                let file = std::fs::File::open("/proc/self/status").expect("proc");
                let private = rustix::io::fcntl_dupfd_cloexec(&file, wanted).expect("dup");
                opened.send(private.as_raw_fd()).expect("the test waits");
                has_looked.recv().expect("the test answers");
                drop(private);
            });
            let private = is_opened.recv().expect("the thread sends");
            assert!(private >= wanted);
            assert!(!is_open(private), "the caller's table must not see it");
            looked.send(()).expect("the thread waits");
        });
        assert!(is_open(shared), "the copy's end closes nothing here");
    }

    #[test]
    fn probing_leaves_the_callers_table_shared() {
        can_be_private();
        let file = std::fs::File::open("/proc/self/status").expect("proc");
        let fd = file.as_raw_fd();
        let seen = thread::scope(|scope| scope.spawn(move || is_open(fd)).join().expect("no panic"));
        assert!(seen, "another thread still shares this table");
    }
}
