//! How connections came about, and what their first reply took: why `connect` was slow.
//!
//! A client's handshake ends without the application at the other end. The target's kernel answers the SYN and keeps the
//! connection in the accept queue until it is accepted. So what makes a connection slow shows in different places:
//!
//! - The accept queue is full, or the network loses a packet: the SYN is sent again, after 1 s, 3 s, 7 s (RFC 6298, a first
//!   timeout of one second that doubles). `connect` then has these values.
//! - The way is long: the round trip of SYN and SYN-ACK, as the kernel measures it, is long as well.
//! - The generator notices late: `connect` is longer than that round trip.
//! - The accept queue fills up between the SYN and the end of the handshake: the client has a connection that the target has
//!   not, and its first request is sent again until there is room.
//! - The application accepts late: none of these. `connect` is short, and the first reply is late.

use hdrhistogram::Histogram;
use tidemark_host::tcp_info::TcpInfo;

use crate::record::{HIGHEST_NS, Kind, LOWEST_NS, Recording};
use crate::report::units::{Count, Ns};
use crate::verdict::Finding;

/// Significant digits of the histograms here. The kernel tells a round trip in microseconds, and it takes a tenth of the
/// memory of a latency's.
const SIGNIFICANT_DIGITS: u8 = 2;
/// A first reply that came sooner was not held up by a request that was sent again, and so is not asked about: the kernel's
/// shortest timeout is two of its ticks, of 1 ms at the least (`TCP_TIMEOUT_MIN`), and 200 ms unless a route says otherwise.
pub const RETRANSMIT_MIN_NS: u64 = 1_000_000;
/// A median this many times as long as what it is held against is not of the same making.
const SLOW_FACTOR: u64 = 10;
/// What takes no longer than this is slow for nobody.
const SLOW_MIN_NS: u64 = 1_000_000;

/// What the kernel told of a population's handshakes, and the first replies, in all phases of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Handshakes {
    /// Connections established, of which the kernel was asked.
    pub established: u64,
    /// Those of them whose SYN was sent more than once.
    pub syn_retransmitted: u64,
    /// Attempts whose SYN had no answer by the connect timeout.
    pub unanswered: u64,
    /// Times that a worker went on at half its rate of attempts for one of these.
    pub ramp_slowed: u64,
    /// SYN to SYN-ACK as the kernel measured it, ns, where the SYN was sent once: of the others nobody knows which SYN was
    /// answered (Karn's algorithm, RFC 6298 section 3).
    pub round_trip: Histogram<u64>,
    /// The first request of a connection, sent to done, ns. Errors are no replies here.
    pub first_reply: Histogram<u64>,
    /// Connections whose first request was sent more than once before its reply came, or did not come.
    pub first_request_retransmitted: u64,
    /// Connections whose first request had no reply in time.
    pub first_reply_timed_out: u64,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshakes {
    /// None so far.
    pub fn new() -> Self {
        Self {
            established: 0,
            syn_retransmitted: 0,
            unanswered: 0,
            ramp_slowed: 0,
            round_trip: histogram(),
            first_reply: histogram(),
            first_request_retransmitted: 0,
            first_reply_timed_out: 0,
        }
    }

    /// A connection was established, and nothing has been sent on it.
    pub fn established(&mut self, info: TcpInfo) {
        self.established += 1;
        if info.retransmits > 0 {
            self.syn_retransmitted += 1;
        } else {
            self.round_trip.saturating_record(u64::from(info.round_trip_us) * 1000);
        }
    }

    /// Adds another worker's or interval's.
    ///
    /// # Panics
    /// Never: the histograms have the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.established += other.established;
        self.syn_retransmitted += other.syn_retransmitted;
        self.unanswered += other.unanswered;
        self.ramp_slowed += other.ramp_slowed;
        self.first_request_retransmitted += other.first_request_retransmitted;
        self.first_reply_timed_out += other.first_reply_timed_out;
        let histograms =
            [(&mut self.round_trip, &other.round_trip), (&mut self.first_reply, &other.first_reply)];
        for (mine, theirs) in histograms {
            if !theirs.is_empty() {
                mine.add(theirs).expect("handshakes share their bounds");
            }
        }
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.established = 0;
        self.syn_retransmitted = 0;
        self.unanswered = 0;
        self.ramp_slowed = 0;
        self.first_request_retransmitted = 0;
        self.first_reply_timed_out = 0;
        for histogram in [&mut self.round_trip, &mut self.first_reply] {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS).expect("constant bounds are valid")
}

/// Why connections of a population were slow to come about or to be of use, as far as it can be told from this end. Pure.
pub fn findings(total: &Recording) -> Vec<Finding> {
    let checks = [
        syn_retransmitted(total),
        syn_unanswered(total),
        first_request_retransmitted(total),
        first_reply_timed_out(total),
        first_reply_slow(total),
        connect_noticed_late(total),
    ];
    checks.into_iter().flatten().collect()
}

fn counted(check: &str, count: u64, text: impl FnOnce(Count) -> String) -> Option<Finding> {
    (count > 0).then(|| Finding {
        check: check.to_owned(),
        figure: count as f64,
        limit: 0.0,
        text: text(Count(count)),
    })
}

/// Where to look, for what looks the same from this end.
const QUEUE_OR_NETWORK: &str = "a full accept queue or the network dropped it (`nstat -az TcpExtListenOverflows` at the target tells \
     which); use a larger backlog or a lower --connect-rate";

fn syn_retransmitted(total: &Recording) -> Option<Finding> {
    let handshakes = &total.handshakes;
    counted("syn_retransmitted", handshakes.syn_retransmitted, |count| {
        let of = Count(handshakes.established);
        format!(
            "{count} of {of} connections had their SYN sent again, which adds 1 s or more to `connect`: {QUEUE_OR_NETWORK}"
        )
    })
}

fn syn_unanswered(total: &Recording) -> Option<Finding> {
    counted("syn_unanswered", total.handshakes.unanswered, |count| {
        format!("{count} attempts to connect had no answer to their SYN in time: {QUEUE_OR_NETWORK}")
    })
}

fn first_request_retransmitted(total: &Recording) -> Option<Finding> {
    counted("first_request_retransmitted", total.handshakes.first_request_retransmitted, |count| {
        format!(
            "{count} connections had their first request sent again after the handshake, where the queue may have filled up \
             behind it: {QUEUE_OR_NETWORK}"
        )
    })
}

fn first_reply_timed_out(total: &Recording) -> Option<Finding> {
    counted("first_reply_timed_out", total.handshakes.first_reply_timed_out, |count| {
        format!(
            "{count} connections were established and had no reply to their first request in time: does the target still \
             accept? Its kernel takes connections without it"
        )
    })
}

fn first_reply_slow(total: &Recording) -> Option<Finding> {
    let first_ns = total.handshakes.first_reply.value_at_quantile(0.5);
    let service_ns = total.histogram(Kind::Service).value_at_quantile(0.5);
    is_slow(first_ns, service_ns).then(|| Finding {
        check: "first_reply_slow".to_owned(),
        figure: first_ns as f64,
        limit: (service_ns * SLOW_FACTOR) as f64,
        text: format!(
            "the first reply of a connection took {} at the median, where `service` is {}: the target accepts late, or takes \
             long to set a connection up",
            Ns(first_ns),
            Ns(service_ns)
        ),
    })
}

fn connect_noticed_late(total: &Recording) -> Option<Finding> {
    let handshakes = &total.handshakes;
    if handshakes.syn_retransmitted * 2 >= handshakes.established {
        return None;
    }
    let connect_ns = total.histogram(Kind::Connect).value_at_quantile(0.5);
    let round_trip_ns = handshakes.round_trip.value_at_quantile(0.5);
    is_slow(connect_ns, round_trip_ns).then(|| Finding {
        check: "connect_noticed_late".to_owned(),
        figure: connect_ns as f64,
        limit: (round_trip_ns * SLOW_FACTOR) as f64,
        text: format!(
            "`connect` took {} at the median, where the round trip of its handshake is {}: the rest is the generator's own \
             burst; use a lower --connect-rate or more workers",
            Ns(connect_ns),
            Ns(round_trip_ns)
        ),
    })
}

fn is_slow(median_ns: u64, beside_ns: u64) -> bool {
    beside_ns > 0 && median_ns > SLOW_MIN_NS && median_ns > beside_ns * SLOW_FACTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;

    fn info(retransmits: u32, round_trip_us: u32) -> TcpInfo {
        TcpInfo { is_established: true, retransmits, round_trip_us }
    }

    fn checks(total: &Recording) -> Vec<String> {
        findings(total).into_iter().map(|finding| finding.check).collect()
    }

    /// A hundred connections over a way of 200 us, each with a reply of 300 us.
    fn usual() -> Recording {
        let mut total = Recording::new();
        for _ in 0..100 {
            total.handshakes.established(info(0, 200));
            total.record(Kind::Connect, 250 * US);
            total.handshakes.first_reply.record(350 * US).unwrap();
            total.record(Kind::Service, 300 * US);
        }
        total
    }

    #[test]
    fn a_round_trip_counts_only_where_the_syn_was_sent_once() {
        let mut handshakes = Handshakes::new();
        handshakes.established(info(0, 40));
        handshakes.established(info(2, 1000));
        assert_eq!((handshakes.established, handshakes.syn_retransmitted), (2, 1));
        assert_eq!((handshakes.round_trip.len(), handshakes.round_trip.max() / US), (1, 40));
    }

    #[test]
    fn adding_and_clearing_miss_nothing() {
        let mut one = Handshakes::new();
        one.established(info(1, 0));
        one.established(info(0, 7));
        one.first_reply.record(9 * MS).unwrap();
        one.unanswered = 3;
        one.ramp_slowed = 6;
        one.first_request_retransmitted = 4;
        one.first_reply_timed_out = 5;
        let mut sum = Handshakes::new();
        sum.add(&one);
        assert_eq!(sum, one);
        sum.clear();
        assert_eq!(sum, Handshakes::new());
    }

    #[test]
    fn nothing_is_said_of_what_is_usual() {
        assert_eq!(checks(&usual()), [""; 0]);
        assert_eq!(checks(&Recording::new()), [""; 0]);
    }

    #[test]
    fn each_cause_is_told_by_its_own_check() {
        let with = |change: &dyn Fn(&mut Recording)| {
            let mut total = usual();
            change(&mut total);
            checks(&total)
        };
        assert_eq!(with(&|total| total.handshakes.established(info(1, 0))), ["syn_retransmitted"]);
        assert_eq!(with(&|total| total.handshakes.unanswered = 1), ["syn_unanswered"]);
        let resent = with(&|total| total.handshakes.first_request_retransmitted = 1);
        assert_eq!(resent, ["first_request_retransmitted"]);
        assert_eq!(with(&|total| total.handshakes.first_reply_timed_out = 1), ["first_reply_timed_out"]);
        let late_accept =
            with(&|total| (0..101).for_each(|_| total.handshakes.first_reply.record(90 * MS).unwrap()));
        assert_eq!(late_accept, ["first_reply_slow"]);
        let own_burst = with(&|total| (0..101).for_each(|_| total.record(Kind::Connect, 20 * MS)));
        assert_eq!(own_burst, ["connect_noticed_late"]);
    }

    #[test]
    fn connects_that_lost_their_syn_are_not_the_generators_doing() {
        let mut total = Recording::new();
        for retransmits in [0, 1] {
            total.handshakes.established(info(retransmits, 20));
            total.record(Kind::Connect, 1_010 * MS);
        }
        assert_eq!(checks(&total), ["syn_retransmitted"]);
        let told = &findings(&total)[0].text;
        assert!(told.starts_with("1 of 2 connections had their SYN sent again"), "{told}");
    }
}
