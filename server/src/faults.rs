//! Slow-downs on purpose, so that the performance gate can be shown a regression of a known size, and a panic, so that what comes of
//! it can be seen.
//!
//! They exist only with the feature `bench-faults`, and in this crate's own tests. Without it [`Faults`] is empty and what is called
//! here is nothing, so that the server that is measured is the server that is shipped.

/// What is done besides the work, in parts that are zero unless asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::Args)]
pub struct Faults {
    /// Spin for so many nanoseconds after every read.
    #[cfg(any(test, feature = "bench-faults"))]
    #[arg(long, value_name = "NS", default_value_t = 0, hide = true)]
    pub fault_spin_ns: u64,
    /// Go around a loop of a few instructions so many times after every read.
    #[cfg(any(test, feature = "bench-faults"))]
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    pub fault_loops: u32,
    /// Make so many system calls more after every read.
    #[cfg(any(test, feature = "bench-faults"))]
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    pub fault_syscalls: u32,
    /// Allocate, and free, so many times more after every read.
    #[cfg(any(test, feature = "bench-faults"))]
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    pub fault_allocations: u32,
    /// Take so many bytes more for every connection, and never give them back.
    #[cfg(any(test, feature = "bench-faults"))]
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide = true)]
    pub fault_connection_bytes: usize,
    /// Panic after a read of just so many bytes.
    #[cfg(any(test, feature = "bench-faults"))]
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide = true)]
    pub fault_panic_bytes: usize,
}

#[cfg(not(any(test, feature = "bench-faults")))]
impl Faults {
    /// Called after every read that brought something, with how much.
    #[inline]
    pub const fn after_read(self, _bytes: usize) {}

    /// Called for every connection.
    #[inline]
    pub const fn for_connection(self) {}
}

#[cfg(any(test, feature = "bench-faults"))]
impl Faults {
    /// Called after every read that brought something, with how much.
    ///
    /// # Panics
    /// When that was asked for.
    #[inline]
    pub fn after_read(self, bytes: usize) {
        if self != Faults::default() {
            self.slow_down();
            assert!(bytes != self.fault_panic_bytes, "a read of {bytes} bytes");
        }
    }

    /// Called for every connection.
    pub fn for_connection(self) {
        if self.fault_connection_bytes > 0 {
            // Written to, so that the memory is there and not only promised.
            std::hint::black_box(vec![1_u8; self.fault_connection_bytes].leak());
        }
    }

    #[inline(never)]
    fn slow_down(self) {
        use std::hint::black_box;
        use std::time::{Duration, Instant};

        if self.fault_spin_ns > 0 {
            let until = Instant::now() + Duration::from_nanos(self.fault_spin_ns);
            while Instant::now() < until {}
        }
        for turn in 0..self.fault_loops {
            black_box(turn);
        }
        for _ in 0..self.fault_syscalls {
            black_box(rustix::process::getppid());
        }
        for _ in 0..self.fault_allocations {
            black_box(Box::new(0_u64));
        }
    }
}
