//! What is counted.

use serde::{Deserialize, Serialize};

/// A quantity of tier A. More of it is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// User-space instructions of the server per raw echo. The kernel's are not in it.
    InstructionsPerEcho,
    /// The same per HTTP `GET /health`.
    InstructionsPerHttpRequest,
    /// System calls of the server per raw echo.
    SyscallsPerEcho,
    /// The same per HTTP `GET /health`.
    SyscallsPerHttpRequest,
    /// Looks at the clock per raw echo. They are no system calls, and cost tens of instructions that callgrind does not see.
    ClockReadsPerEcho,
    /// The same per HTTP `GET /health`.
    ClockReadsPerHttpRequest,
    /// Allocations of the server per raw echo.
    AllocationsPerEcho,
    /// The same per HTTP `GET /health`.
    AllocationsPerHttpRequest,
    /// Heap of the server per idle connection, bytes.
    HeapBytesPerConnection,
    /// Private memory of the server per idle connection, bytes.
    PrivateBytesPerConnection,
    /// Instructions of the load generator's core per request: schedule, dispatch, matching, recording.
    InstructionsPerLoadgenRequest,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::InstructionsPerEcho,
        Self::InstructionsPerHttpRequest,
        Self::SyscallsPerEcho,
        Self::SyscallsPerHttpRequest,
        Self::ClockReadsPerEcho,
        Self::ClockReadsPerHttpRequest,
        Self::AllocationsPerEcho,
        Self::AllocationsPerHttpRequest,
        Self::HeapBytesPerConnection,
        Self::PrivateBytesPerConnection,
        Self::InstructionsPerLoadgenRequest,
    ];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InstructionsPerEcho => "instructions_per_echo",
            Self::InstructionsPerHttpRequest => "instructions_per_http_request",
            Self::SyscallsPerEcho => "syscalls_per_echo",
            Self::SyscallsPerHttpRequest => "syscalls_per_http_request",
            Self::ClockReadsPerEcho => "clock_reads_per_echo",
            Self::ClockReadsPerHttpRequest => "clock_reads_per_http_request",
            Self::AllocationsPerEcho => "allocations_per_echo",
            Self::AllocationsPerHttpRequest => "allocations_per_http_request",
            Self::HeapBytesPerConnection => "heap_bytes_per_connection",
            Self::PrivateBytesPerConnection => "private_bytes_per_connection",
            Self::InstructionsPerLoadgenRequest => "instructions_per_loadgen_request",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_in_files() {
        for quantity in Quantity::ALL {
            assert_eq!(serde_json::to_string(&quantity).unwrap(), format!("\"{}\"", quantity.name()));
        }
    }
}
