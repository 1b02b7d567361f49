//! A dispatcher in virtual time, and a target that does what it is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidemark_loadgen::dispatch::{self, ConnId, Dispatcher, Pace, Window};
use tidemark_loadgen::errors::ErrorKind;
use tidemark_loadgen::record::Recording;
use tidemark_loadgen::schedule::{Arrivals, Schedule};

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1_000_000_000;
/// Not 0, so that a mistaken origin shows.
pub(crate) const START_NS: u64 = 7 * S + 123_456_789;
pub(crate) const SEED: u64 = 1;

/// What sets the pace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) arrivals: Arrivals,
    /// In a closed loop.
    pub(crate) think_ns: u64,
    /// Connections are opened for so many requests each.
    pub(crate) requests: Option<u16>,
}

impl From<Arrivals> for Load {
    fn from(arrivals: Arrivals) -> Self {
        Self { arrivals, think_ns: 0, requests: None }
    }
}

impl Load {
    fn pace(self) -> Pace {
        let Some(share) = Schedule::new(self.arrivals, SEED, 0).map(|schedule| schedule.share(0, 1)) else {
            return match self.arrivals {
                Arrivals::Closed => Pace::Closed { think_ns: self.think_ns },
                _ => Pace::Idle,
            };
        };
        match (self.arrivals, self.requests) {
            (Arrivals::Every { .. }, _) => Pace::Turns(share),
            (_, Some(requests)) => Pace::Visits { share, requests },
            (_, None) => Pace::Any(share),
        }
    }
}

/// How long it takes to open a connection for a visit.
const HANDSHAKE_NS: u64 = 50 * US;

/// What the simulated target does with one request, or with the connection under it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Replies this long after it was asked.
    Replies(u64),
    /// Replies with an error.
    RepliesWithError(u64),
    /// The connection is lost, and is open again after the second time.
    LosesConnection(u64, u64),
    /// Never replies. When the request has timed out, the connection is open again this much later.
    NeverReplies(u64),
}

/// What is to happen at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    Reply,
    ErrorReply,
    Loss {
        open_again_after_ns: u64,
    },
    Open,
    /// The connection is lost whatever is on it.
    SuddenLoss {
        open_again_after_ns: u64,
    },
    EndEarly {
        until_ns: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at_ns: u64,
    conn: ConnId,
    /// The request it belongs to: requests that are over get no late replies, because their connection was closed.
    request: u64,
    happening: Happening,
}

/// A dispatcher, a clock that jumps from event to event, and a target that does what `fate` says.
pub(crate) struct Simulation<F> {
    dispatcher: Dispatcher,
    is_visited: bool,
    events: BinaryHeap<Reverse<Event>>,
    /// The request on each connection, or the last one; 0 when the connection is not open.
    requests: Vec<u64>,
    reopens_after_ns: Vec<u64>,
    sent: u64,
    fate: F,
}

impl<F: FnMut(u64, u64) -> Fate> Simulation<F> {
    /// All connections are open, and the schedule starts at once.
    pub(crate) fn new(
        load: impl Into<Load>,
        connections: u32,
        timeout_ns: u64,
        window: Window,
        fate: F,
    ) -> Self {
        let load = load.into();
        let is_visited = load.requests.is_some();
        let mut dispatcher = Dispatcher::new(load.pace(), connections as usize, timeout_ns);
        for conn in (0..connections).filter(|_| !is_visited) {
            dispatcher.connected(conn, 0);
        }
        dispatcher.begin(window);
        let requests = vec![if is_visited { 0 } else { u64::MAX }; connections as usize];
        let reopens_after_ns = vec![0; connections as usize];
        Self { dispatcher, is_visited, events: BinaryHeap::new(), requests, reopens_after_ns, sent: 0, fate }
    }

    /// Runs to the end, and returns what was recorded.
    pub(crate) fn run(mut self, window: Window) -> Recording {
        let mut now_ns = window.start_ns;
        loop {
            self.happen_until(now_ns);
            while let Some(conn) = self.dispatcher.expire(now_ns) {
                self.close(conn, now_ns, self.reopens_after_ns[conn as usize]);
            }
            while let Some(conn) = self.dispatcher.next(now_ns) {
                if self.is_visited && self.dispatcher.is_opening(conn) {
                    self.open_after(conn, now_ns, HANDSHAKE_NS);
                } else {
                    self.ask(conn, now_ns);
                }
            }
            if self.dispatcher.is_finished(now_ns) {
                self.dispatcher.finish(now_ns);
                return self.dispatcher.swap_recording(Recording::new());
            }
            let event_ns = self.events.peek().map(|Reverse(event)| event.at_ns);
            let due = [event_ns, self.dispatcher.next_arrival_ns(), self.dispatcher.next_timeout_ns()];
            // Arrivals that wait for a connection are due in the past: then it is an event that comes next.
            let next_ns = due.into_iter().flatten().filter(|&at_ns| at_ns > now_ns).min();
            let end_ns = if now_ns < window.until_ns { window.until_ns } else { window.drain_until_ns };
            now_ns = next_ns.unwrap_or(end_ns).min(end_ns);
        }
    }

    /// Has something happen at a time, apart from any request.
    pub(crate) fn plan(&mut self, at_ns: u64, conn: ConnId, happening: Happening) {
        self.events.push(Reverse(Event { at_ns, conn, request: 0, happening }));
    }

    fn ask(&mut self, conn: ConnId, now_ns: u64) {
        self.sent += 1;
        let request = self.sent;
        self.requests[conn as usize] = request;
        self.reopens_after_ns[conn as usize] = 0;
        let (after_ns, happening) = match (self.fate)(request, now_ns) {
            Fate::Replies(after_ns) => (after_ns, Happening::Reply),
            Fate::RepliesWithError(after_ns) => (after_ns, Happening::ErrorReply),
            Fate::LosesConnection(after_ns, open_again_after_ns) => {
                (after_ns, Happening::Loss { open_again_after_ns })
            }
            Fate::NeverReplies(after_ns) => {
                self.reopens_after_ns[conn as usize] = after_ns;
                return;
            }
        };
        self.events.push(Reverse(Event { at_ns: now_ns + after_ns, conn, request, happening }));
    }

    fn close(&mut self, conn: ConnId, now_ns: u64, open_again_after_ns: u64) {
        self.requests[conn as usize] = 0;
        // One that visits is opened again when there is another visit.
        if !self.is_visited {
            self.open_after(conn, now_ns, open_again_after_ns);
        }
    }

    fn open_after(&mut self, conn: ConnId, now_ns: u64, after_ns: u64) {
        let at_ns = now_ns + after_ns;
        self.events.push(Reverse(Event { at_ns, conn, request: 0, happening: Happening::Open }));
    }

    fn happen_until(&mut self, now_ns: u64) {
        while let Some(&Reverse(event)) = self.events.peek()
            && event.at_ns <= now_ns
        {
            self.events.pop();
            self.happen(event);
        }
    }

    fn happen(&mut self, Event { at_ns, conn, request, happening }: Event) {
        let current = self.requests[conn as usize];
        match happening {
            Happening::Reply if current == request => {
                let fate = self.dispatcher.completed(conn, at_ns);
                self.after_reply(conn, fate);
            }
            Happening::ErrorReply if current == request => {
                let fate = self.dispatcher.answered_with_error(conn, ErrorKind::Status(503), at_ns);
                self.after_reply(conn, fate);
            }
            Happening::Loss { open_again_after_ns } if current == request => {
                self.dispatcher.disconnected(conn, ErrorKind::Reset);
                self.close(conn, at_ns, open_again_after_ns);
            }
            Happening::Open => {
                self.requests[conn as usize] = u64::MAX;
                if self.dispatcher.connected(conn, at_ns) {
                    self.ask(conn, at_ns);
                }
            }
            Happening::SuddenLoss { open_again_after_ns } if current != 0 => {
                self.dispatcher.disconnected(conn, ErrorKind::Closed);
                self.close(conn, at_ns, open_again_after_ns);
            }
            Happening::EndEarly { until_ns } => self.dispatcher.end_early(until_ns),
            // What was to come on a connection that has been closed since.
            Happening::Reply
            | Happening::ErrorReply
            | Happening::Loss { .. }
            | Happening::SuddenLoss { .. } => {}
        }
    }
}

impl<F> Simulation<F> {
    fn after_reply(&mut self, conn: ConnId, fate: dispatch::Fate) {
        if fate == dispatch::Fate::Leaves {
            self.requests[conn as usize] = 0;
        }
    }
}

/// The phases of a run that starts at [`START_NS`].
pub(crate) fn window(warmup_ns: u64, duration_ns: u64, drain_ns: u64) -> Window {
    let from_ns = START_NS + warmup_ns;
    let until_ns = from_ns + duration_ns;
    Window { start_ns: START_NS, from_ns, until_ns, drain_until_ns: until_ns + drain_ns }
}
