//! What the statistical tier compares. Every metric is a cost: more is worse.

use serde::{Deserialize, Serialize};

/// A figure that each slot yields, and that a decision is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// CPU time of the server per raw echo, closed loop.
    CpuPerEcho,
    /// CPU time of the server per HTTP `GET /health`, closed loop.
    CpuPerHttpRequest,
    /// Median of the response time of raw echo, open loop: the lower quartile of those of many short windows, and with a server's
    /// CPU that is kept awake, because both the machine's stalls and its wake-ups are none of the server's.
    ResponseP50,
    /// 99th percentile of the same.
    ResponseP99,
}

impl Metric {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] =
        [Self::CpuPerEcho, Self::CpuPerHttpRequest, Self::ResponseP50, Self::ResponseP99];

    /// Its name in files; the unit of all of them is the nanosecond.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuPerEcho => "cpu_per_echo",
            Self::CpuPerHttpRequest => "cpu_per_http_request",
            Self::ResponseP50 => "response_p50",
            Self::ResponseP99 => "response_p99",
        }
    }

    /// How much worse head may be, as a part of base, and still pass. A single tail is noisier than the rest.
    pub const fn margin(self) -> f64 {
        match self {
            Self::ResponseP99 => 0.10,
            Self::CpuPerEcho | Self::CpuPerHttpRequest | Self::ResponseP50 => 0.05,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_in_files() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{}\"", metric.name()));
        }
    }
}
