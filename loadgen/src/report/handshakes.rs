//! How connections came about, in the report and in the table.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Latency;
use super::units::{Count, Ns};
use crate::handshake::Handshakes;

/// What there is in a report of [`Handshakes`], in all phases of the run. The quantiles are within 1 % above the recorded
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HandshakeFigures {
    /// Connections established, of which the kernel was asked.
    pub established: u64,
    /// Those of them whose SYN was sent more than once.
    pub syn_retransmitted: u64,
    /// Attempts whose SYN had no answer by the connect timeout.
    pub unanswered: u64,
    /// Times that a worker went on at half its rate of attempts for one of these.
    #[serde(default)]
    pub ramp_slowed: u64,
    /// SYN to SYN-ACK as the kernel measured it, where the SYN was sent once.
    pub round_trip: Latency,
    /// The first request of a connection, sent to done.
    pub first_reply: Latency,
    /// Connections whose first request was sent more than once.
    pub first_request_retransmitted: u64,
    /// Connections whose first request had no reply in time.
    pub first_reply_timed_out: u64,
}

impl From<&Handshakes> for HandshakeFigures {
    fn from(handshakes: &Handshakes) -> Self {
        Self {
            established: handshakes.established,
            syn_retransmitted: handshakes.syn_retransmitted,
            unanswered: handshakes.unanswered,
            ramp_slowed: handshakes.ramp_slowed,
            round_trip: Latency::from(&handshakes.round_trip),
            first_reply: Latency::from(&handshakes.first_reply),
            first_request_retransmitted: handshakes.first_request_retransmitted,
            first_reply_timed_out: handshakes.first_reply_timed_out,
        }
    }
}

impl HandshakeFigures {
    /// Adds what was counted in another run. What took how long is in no log, and cannot be put together from percentiles: it is left
    /// out.
    pub(super) fn add_counts(&mut self, more: &Self) {
        *self = Self {
            established: self.established.saturating_add(more.established),
            syn_retransmitted: self.syn_retransmitted.saturating_add(more.syn_retransmitted),
            unanswered: self.unanswered.saturating_add(more.unanswered),
            ramp_slowed: self.ramp_slowed.saturating_add(more.ramp_slowed),
            round_trip: Latency::default(),
            first_reply: Latency::default(),
            first_request_retransmitted: self
                .first_request_retransmitted
                .saturating_add(more.first_request_retransmitted),
            first_reply_timed_out: self.first_reply_timed_out.saturating_add(more.first_reply_timed_out),
        };
    }
}

/// Writes a line of the handshakes and one of the first replies; none of what there is not.
pub(super) fn write_lines(out: &mut String, figures: &HandshakeFigures) {
    let handshakes = [
        shown("round trip ", &figures.round_trip),
        counted(figures.syn_retransmitted, "with their SYN sent again"),
        counted(figures.unanswered, "attempts unanswered"),
        counted(figures.ramp_slowed, "times slowed down to half the rate"),
    ];
    write_line(out, "handshakes", &handshakes);
    let first_replies = [
        shown("", &figures.first_reply),
        counted(figures.first_request_retransmitted, "with their request sent again"),
        counted(figures.first_reply_timed_out, "timed out"),
    ];
    write_line(out, "first reply", &first_replies);
}

fn write_line(out: &mut String, label: &str, parts: &[Option<String>]) {
    let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    if !parts.is_empty() {
        let _ = writeln!(out, "{label:12} {}", parts.join("; "));
    }
}

fn shown(what: &str, latency: &Latency) -> Option<String> {
    let Latency { count, p50_ns, p99_ns, max_ns, .. } = *latency;
    (count > 0).then(|| format!("{what}p50 {}, p99 {}, max {}", Ns(p50_ns), Ns(p99_ns), Ns(max_ns)))
}

fn counted(count: u64, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{} {what}", Count(count)))
}

#[cfg(test)]
mod tests {
    use tidemark_host::tcp_info::TcpInfo;

    use super::*;

    fn lines(handshakes: &Handshakes) -> String {
        let mut out = String::new();
        write_lines(&mut out, &HandshakeFigures::from(handshakes));
        out
    }

    #[test]
    fn only_what_there_is_has_a_line() {
        let mut handshakes = Handshakes::new();
        let mut shown = vec![lines(&handshakes)];
        handshakes.established(TcpInfo { is_established: true, retransmits: 0, round_trip_us: 250 });
        shown.push(lines(&handshakes));
        handshakes.established(TcpInfo { is_established: true, retransmits: 2, round_trip_us: 1000 });
        handshakes.unanswered = 1200;
        handshakes.ramp_slowed = 2;
        handshakes.first_reply.record(3_000_000).unwrap();
        handshakes.first_request_retransmitted = 3;
        handshakes.first_reply_timed_out = 4;
        shown.push(lines(&handshakes));
        insta::assert_snapshot!(shown.join("--\n"));
    }
}
