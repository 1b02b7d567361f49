//! Keeps a CPU from going to sleep.
//!
//! A CPU that has nothing to do sleeps, and to wake it takes from a microsecond to, on a virtual machine whose host has
//! given it to somebody else, a quarter of a millisecond. Where that is not what is to be measured, a thread that spins
//! at the lowest priority there is keeps it awake: whatever else wants the CPU has it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::cpu::{self, CpuSet};

/// While this lives its CPU does not sleep.
#[derive(Debug)]
pub struct Awake {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Awake {
    /// Keeps `cpu` awake from now on. Needs no privilege.
    ///
    /// # Errors
    /// When the CPU is not allowed to this process, or the kernel refuses the priority.
    pub fn keep(cpu: usize) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        let ends = Arc::clone(&is_over);
        let spin = move || {
            let began = CpuSet::new([cpu])
                .map_err(io::Error::other)
                .and_then(|cpu| cpu::pin(&cpu))
                .and_then(|()| yield_to_all());
            let spins = began.is_ok();
            // Whoever started this waits for it.
            drop(tell.send(began));
            while spins && !ends.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        let thread = std::thread::Builder::new().name("awake".to_owned()).spawn(spin)?;
        let awake = Self { is_over, thread: Some(thread) };
        told.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")))?;
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic.
            drop(thread.join());
        }
    }
}

/// Puts this thread behind all others (`SCHED_IDLE`): every other one that becomes ready takes its CPU at once.
fn yield_to_all() -> io::Result<()> {
    // SAFETY: The parameter is initialised, lives through the call, and is only read; 0 means this thread.
    let result = unsafe {
        let parameter = libc::sched_param { sched_priority: 0 };
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_of_this_process_is_kept_awake_and_let_go() {
        let cpu = cpu::allowed().unwrap().ids()[0];
        let before = std::fs::read_dir("/proc/self/task").unwrap().count();
        let awake = Awake::keep(cpu).unwrap();
        let policies: Vec<String> = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok())
            .filter(|stat| stat.contains("(awake)"))
            // The name may hold spaces; the policy is the 39th field after it.
            .filter_map(|stat| Some(stat.rsplit_once(')')?.1.split_whitespace().nth(38)?.to_owned()))
            .collect();
        assert_eq!(policies, [libc::SCHED_IDLE.to_string()]);
        drop(awake);
        assert!(std::fs::read_dir("/proc/self/task").unwrap().count() <= before + 1);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        assert!(Awake::keep(1023).is_err());
    }
}
