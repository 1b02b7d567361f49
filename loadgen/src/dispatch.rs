//! Which connection sends which arrival, and what is recorded of it: the core of a worker, without sockets or clock.
//!
//! The caller passes the time in and does the I/O. So the whole of it runs in virtual time in tests, against simulated
//! targets that stall, fail and lose connections.
//!
//! The times of a request, in order: *intended* (from the schedule), *taken up* (the generator noticed that it is due),
//! *sent* (a connection was free), *done* (the last byte of the reply was read).
//! `lag` = taken up - intended, `wait` = sent - taken up, `service` = done - sent, `response` = done - intended.

use std::collections::VecDeque;
use std::iter::Peekable;

use crate::errors::ErrorKind;
use crate::gaps::GapSample;
use crate::record::{Kind, Recording};
use crate::schedule::Share;

/// Arrivals that may wait for a free connection on one worker before the run is ended: at 16 bytes each, 64 MiB.
/// A target that is this far behind will not catch up, and nothing here may grow without bound.
pub const WAITING_MAX: usize = 4 * 1024 * 1024;

/// Deadlines below which nothing is gained by dropping those of requests that are done.
const DEADLINES_MIN: usize = 64;

/// A connection's number within one population of one worker.
pub type ConnId = u32;

/// The phases of a run, in monotonic ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The schedule's origin; the warm-up begins.
    pub start_ns: u64,
    /// Arrivals intended from here on are measured.
    pub from_ns: u64,
    /// No arrival is intended from here on; the drain begins.
    pub until_ns: u64,
    /// What is not done by now is censored: it enters `response` at its age.
    pub drain_until_ns: u64,
}

impl Window {
    /// Whether an arrival that was taken up counts. None is taken up from `until_ns` on, so that needs no check, and a run
    /// that is ended early still accounts for all that it took up.
    fn measures(&self, intended_ns: u64) -> bool {
        intended_ns >= self.from_ns
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not established.
    Down,
    /// Established, nothing in flight.
    Free,
    /// A request is in flight.
    Busy,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    intended_ns: u64,
    sent_ns: u64,
    state: State,
    /// Whether `free` holds this connection. A connection lost while it is free leaves its entry behind, which is
    /// skipped when its turn comes and never doubled.
    queued: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    intended_ns: u64,
    taken_up_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    sent_ns: u64,
    conn: ConnId,
}

/// Assigns the arrivals of one population on one worker to its connections, and records what becomes of them.
#[derive(Debug)]
pub struct Dispatcher {
    /// `None` in a closed loop.
    schedule: Option<Peekable<Share>>,
    /// `None` until the ramp is over.
    window: Option<Window>,
    timeout_ns: u64,
    slots: Vec<Slot>,
    free: VecDeque<ConnId>,
    waiting: VecDeque<Waiting>,
    /// In order of sending. Entries of requests that are done are skipped when they come to the front.
    deadlines: VecDeque<Deadline>,
    in_flight: usize,
    /// Set when a closed loop was found to have come to its end.
    is_closed_loop_over: bool,
    gaps: GapSample,
    recording: Recording,
}

impl Dispatcher {
    /// A dispatcher over `connections` connections, none of them established.
    /// A request that is not answered `timeout_ns` after it was sent has timed out.
    pub fn new(schedule: Option<Share>, connections: usize, timeout_ns: u64) -> Self {
        let slot = Slot { intended_ns: 0, sent_ns: 0, state: State::Down, queued: false };
        Self {
            schedule: schedule.map(Iterator::peekable),
            window: None,
            timeout_ns,
            slots: vec![slot; connections],
            free: VecDeque::with_capacity(connections),
            waiting: VecDeque::new(),
            deadlines: VecDeque::new(),
            in_flight: 0,
            is_closed_loop_over: false,
            gaps: GapSample::default(),
            recording: Recording::new(),
        }
    }

    /// Starts the schedule.
    pub fn begin(&mut self, window: Window) {
        self.window = Some(window);
    }

    /// Ends the arrivals at `at_ns` if they would go on longer; the drain keeps its length.
    pub fn end_early(&mut self, at_ns: u64) {
        if let Some(window) = &mut self.window {
            let drain_ns = window.drain_until_ns - window.until_ns;
            window.until_ns = window.until_ns.min(at_ns);
            window.drain_until_ns = window.until_ns + drain_ns;
        }
    }

    /// The connection is established.
    pub fn connected(&mut self, conn: ConnId) {
        debug_assert_eq!(self.slots[conn as usize].state, State::Down);
        self.release(conn);
    }

    /// What is recorded; the worker adds connection events to it.
    pub fn recording(&mut self) -> &mut Recording {
        &mut self.recording
    }

    /// Hands the recording over in exchange for an empty one.
    pub fn swap_recording(&mut self, empty: Recording) -> Recording {
        std::mem::replace(&mut self.recording, empty)
    }

    /// When there is next something to send, monotonic ns: the next intended time, or in a closed loop the start, as long as
    /// a connection is free.
    pub fn next_arrival_ns(&mut self) -> Option<u64> {
        if self.schedule.is_some() {
            return self.next_intended_ns();
        }
        let is_wanted = !self.free.is_empty() && !self.is_closed_loop_over;
        self.window.filter(|_| is_wanted).map(|window| window.start_ns)
    }

    fn next_intended_ns(&mut self) -> Option<u64> {
        let window = self.window?;
        let at_ns = window.start_ns + self.schedule.as_mut()?.peek()?;
        (at_ns < window.until_ns).then_some(at_ns)
    }

    /// When the oldest request in flight times out, monotonic ns.
    pub fn next_timeout_ns(&mut self) -> Option<u64> {
        self.forget_done_deadlines();
        Some(self.deadlines.front()?.sent_ns + self.timeout_ns)
    }

    /// When the newest request was sent, if any is in flight, monotonic ns.
    pub fn newest_in_flight_ns(&self) -> Option<u64> {
        self.deadlines.back().filter(|_| self.in_flight > 0).map(|newest| newest.sent_ns)
    }

    /// Whether more arrivals wait for a connection than is sane.
    pub fn backlog_is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Whether a connection is free. While replies are still being read, arrivals are only sent and not made to wait: their
    /// connection may be the next to be read, and that it was not yet is the generator's lateness.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// The connection to send a request on now, if an arrival is due and a connection is free. Called until it returns
    /// `None`, with a fresh time for each call: that time is when the arrival counts as taken up and as sent.
    pub fn next(&mut self, now_ns: u64) -> Option<ConnId> {
        let window = self.window?;
        if self.schedule.is_none() {
            return self.next_closed(now_ns, window);
        }
        self.take_up_due(now_ns);
        if self.waiting.is_empty() {
            return None;
        }
        let conn = self.pop_free()?;
        let arrival = self.waiting.pop_front()?;
        self.send(conn, arrival, now_ns, window);
        Some(conn)
    }

    /// In a closed loop a free connection is itself the arrival.
    fn next_closed(&mut self, now_ns: u64, window: Window) -> Option<ConnId> {
        self.is_closed_loop_over |= now_ns >= window.until_ns;
        if now_ns < window.start_ns || self.is_closed_loop_over {
            return None;
        }
        let conn = self.pop_free()?;
        self.count_scheduled(now_ns, window);
        self.send(conn, Waiting { intended_ns: now_ns, taken_up_ns: now_ns }, now_ns, window);
        Some(conn)
    }

    /// Takes up one arrival when a connection can send it at once, and otherwise all that are due: those wait, and it
    /// must not look like lateness of the generator.
    fn take_up_due(&mut self, now_ns: u64) {
        let Some(window) = self.window else { return };
        while self.waiting.is_empty() || self.free.is_empty() {
            match self.next_intended_ns() {
                Some(intended_ns) if intended_ns <= now_ns && !self.backlog_is_full() => {
                    self.take_next();
                    self.count_scheduled(intended_ns, window);
                    if window.measures(intended_ns) {
                        self.recording.record(Kind::Lag, now_ns - intended_ns);
                        self.gaps.taken_up(intended_ns, now_ns);
                        self.recording.taken_up_in_time += u64::from(now_ns < window.until_ns);
                    }
                    self.waiting.push_back(Waiting { intended_ns, taken_up_ns: now_ns });
                }
                _ => return,
            }
        }
    }

    fn take_next(&mut self) {
        if let Some(schedule) = &mut self.schedule {
            schedule.next();
        }
    }

    fn count_scheduled(&mut self, intended_ns: u64, window: Window) {
        self.recording.account.scheduled += u64::from(window.measures(intended_ns));
    }

    fn send(&mut self, conn: ConnId, arrival: Waiting, now_ns: u64, window: Window) {
        if window.measures(arrival.intended_ns) && self.schedule.is_some() {
            self.recording.record(Kind::Wait, now_ns - arrival.taken_up_ns);
        }
        let slot = &mut self.slots[conn as usize];
        slot.state = State::Busy;
        slot.intended_ns = arrival.intended_ns;
        slot.sent_ns = now_ns;
        self.in_flight += 1;
        self.forget_done_deadlines();
        self.compact_deadlines();
        self.deadlines.push_back(Deadline { sent_ns: now_ns, conn });
    }

    fn forget_done_deadlines(&mut self) {
        while let Some(oldest) = self.deadlines.front() {
            let slot = &self.slots[oldest.conn as usize];
            if slot.state == State::Busy && slot.sent_ns == oldest.sent_ns {
                return;
            }
            self.deadlines.pop_front();
        }
    }

    /// One request that is never answered keeps its place at the front, and what was sent after it queues up behind, done or
    /// not. At most one in each connection's place is not done, so this is rare and leaves few.
    fn compact_deadlines(&mut self) {
        if self.deadlines.len() <= 2 * self.slots.len() + DEADLINES_MIN {
            return;
        }
        let slots = &self.slots;
        self.deadlines.retain(|deadline| {
            let slot = &slots[deadline.conn as usize];
            slot.state == State::Busy && slot.sent_ns == deadline.sent_ns
        });
    }

    fn pop_free(&mut self) -> Option<ConnId> {
        loop {
            let conn = self.free.pop_front()?;
            let slot = &mut self.slots[conn as usize];
            slot.queued = false;
            if slot.state == State::Free {
                return Some(conn);
            }
        }
    }

    fn release(&mut self, conn: ConnId) {
        let slot = &mut self.slots[conn as usize];
        slot.state = State::Free;
        if !slot.queued {
            slot.queued = true;
            self.free.push_back(conn);
        }
    }

    /// Whether a request is in flight on the connection.
    pub fn is_busy(&self, conn: ConnId) -> bool {
        self.slots[conn as usize].state == State::Busy
    }

    /// The reply has come, whole and right.
    pub fn completed(&mut self, conn: ConnId, now_ns: u64) {
        let slot = self.end_flight(conn);
        let is_in_window =
            self.window.is_some_and(|window| (window.from_ns..window.until_ns).contains(&now_ns));
        self.recording.completed_in_window += u64::from(is_in_window);
        if self.is_measured(slot.intended_ns) {
            self.recording.account.completed += 1;
            self.recording.record(Kind::Response, now_ns - slot.intended_ns);
            self.recording.record(Kind::Service, now_ns - slot.sent_ns);
        }
        self.release(conn);
    }

    /// A reply has come that is an error (an HTTP status of 400 and above). It enters no latency: a fast failure must
    /// not make the target look fast.
    pub fn answered_with_error(&mut self, conn: ConnId, kind: ErrorKind) {
        let slot = self.end_flight(conn);
        self.count_errored(slot, kind);
        self.release(conn);
    }

    /// The connection is gone; a request in flight on it has failed.
    pub fn disconnected(&mut self, conn: ConnId, kind: ErrorKind) {
        if self.is_busy(conn) {
            let slot = self.end_flight(conn);
            self.count_errored(slot, kind);
        }
        self.slots[conn as usize].state = State::Down;
    }

    fn count_errored(&mut self, slot: Slot, kind: ErrorKind) {
        if self.is_measured(slot.intended_ns) {
            self.recording.account.errored += 1;
            self.recording.error(kind);
        }
    }

    /// The oldest request that has timed out, as the connection that the caller must now close. It enters `response` and `service`
    /// at its age.
    pub fn expire(&mut self, now_ns: u64) -> Option<ConnId> {
        if self.next_timeout_ns()? > now_ns {
            return None;
        }
        let conn = self.deadlines.pop_front()?.conn;
        let slot = self.end_flight(conn);
        if self.is_measured(slot.intended_ns) {
            self.recording.account.timed_out += 1;
            self.recording.error(ErrorKind::Timeout);
            self.recording.record(Kind::Response, now_ns - slot.intended_ns);
            self.recording.record(Kind::Service, now_ns - slot.sent_ns);
        }
        self.slots[conn as usize].state = State::Down;
        Some(conn)
    }

    fn end_flight(&mut self, conn: ConnId) -> Slot {
        let slot = self.slots[conn as usize];
        debug_assert_eq!(slot.state, State::Busy, "a reply belongs to a request");
        self.in_flight -= 1;
        slot
    }

    fn is_measured(&self, intended_ns: u64) -> bool {
        self.window.is_some_and(|window| window.measures(intended_ns))
    }

    /// Whether the run is over for this dispatcher: no arrival is to come, and all are done or the drain has ended.
    pub fn is_finished(&mut self, now_ns: u64) -> bool {
        let Some(window) = self.window else { return false };
        if now_ns < window.until_ns || self.next_intended_ns().is_some_and(|_| now_ns < window.drain_until_ns)
        {
            return false;
        }
        (self.in_flight == 0 && self.waiting.is_empty()) || now_ns >= window.drain_until_ns
    }

    /// When it may next be found finished without anything else happening, monotonic ns: at the end of the measurement, and at
    /// that of the drain.
    pub fn next_end_ns(&self, now_ns: u64) -> Option<u64> {
        let window = self.window?;
        [window.until_ns, window.drain_until_ns].into_iter().find(|&end_ns| end_ns > now_ns)
    }

    /// Ends the run: what is not done is censored and enters `response`, and `service` or `wait`, at its age, so that a stall
    /// at the end cannot vanish.
    pub fn finish(&mut self, now_ns: u64) {
        let Some(window) = self.window else { return };
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            if slot.state == State::Busy && window.measures(slot.intended_ns) {
                self.recording.account.in_flight_at_end += 1;
                self.recording.record(Kind::Response, now_ns.saturating_sub(slot.intended_ns));
                self.recording.record(Kind::Service, now_ns.saturating_sub(slot.sent_ns));
            }
        }
        while let Some(arrival) = self.waiting.pop_front() {
            if window.measures(arrival.intended_ns) {
                self.recording.record(Kind::Wait, now_ns.saturating_sub(arrival.taken_up_ns));
            }
            self.never_sent(arrival.intended_ns, now_ns, window);
        }
        while let Some(intended_ns) = self.next_intended_ns() {
            self.take_next();
            self.count_scheduled(intended_ns, window);
            self.never_sent(intended_ns, now_ns, window);
        }
        self.recording.gaps_by_worker_ns.push(self.gaps.take());
    }

    fn never_sent(&mut self, intended_ns: u64, now_ns: u64, window: Window) {
        if window.measures(intended_ns) {
            self.recording.account.never_sent += 1;
            self.recording.record(Kind::Response, now_ns.saturating_sub(intended_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Account;
    use crate::schedule::{Arrivals, Schedule};

    const MS: u64 = 1_000_000;
    /// An arrival every 10 ms from 1 s on, measured from 1.1 s to 1.2 s.
    const WINDOW: Window =
        Window { start_ns: 1000 * MS, from_ns: 1100 * MS, until_ns: 1200 * MS, drain_until_ns: 1300 * MS };

    fn dispatcher(connections: u32) -> Dispatcher {
        let schedule =
            Schedule::new(Arrivals::Constant { rate: 100.0 }, 0, 0).map(|schedule| schedule.share(0, 1));
        ready(Dispatcher::new(schedule, connections as usize, 50 * MS), connections)
    }

    fn ready(mut dispatcher: Dispatcher, connections: u32) -> Dispatcher {
        (0..connections).for_each(|conn| dispatcher.connected(conn));
        dispatcher.begin(WINDOW);
        dispatcher
    }

    /// Answers everything at once up to the given time.
    fn run_until(dispatcher: &mut Dispatcher, until_ms: u64) {
        while let Some(due_ns) = dispatcher.next_arrival_ns().filter(|&due_ns| due_ns < until_ms * MS) {
            let conn = dispatcher.next(due_ns).expect("a connection is free");
            dispatcher.completed(conn, due_ns);
        }
    }

    fn max(dispatcher: &mut Dispatcher, kind: Kind) -> u64 {
        let histogram = dispatcher.recording().histogram(kind);
        histogram.lowest_equivalent(histogram.max())
    }

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let mut dispatcher = dispatcher(1);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS));
        assert_eq!(dispatcher.next(1000 * MS - 1), None);
        assert_eq!(dispatcher.next(1000 * MS), Some(0));
    }

    #[test]
    fn the_warm_up_is_sent_and_not_measured() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1100);
        assert_eq!(dispatcher.recording().account, Account::default());
        run_until(&mut dispatcher, 1300);
        let account = Account { scheduled: 10, completed: 10, ..Account::default() };
        assert_eq!(dispatcher.recording().account, account);
        assert!(dispatcher.is_finished(1200 * MS));
    }

    #[test]
    fn the_throughput_is_of_the_window_and_not_of_the_drain() {
        let mut dispatcher = dispatcher(2);
        run_until(&mut dispatcher, 1090);
        let first = dispatcher.next(1090 * MS).unwrap();
        dispatcher.completed(first, 1100 * MS);
        run_until(&mut dispatcher, 1190);
        let last = dispatcher.next(1190 * MS).unwrap();
        dispatcher.completed(last, 1200 * MS);
        let recording = dispatcher.recording();
        assert_eq!((recording.account.completed, recording.completed_in_window), (10, 10));
    }

    #[test]
    fn lateness_of_the_generator_is_lag_and_not_wait() {
        let mut dispatcher = dispatcher(2);
        run_until(&mut dispatcher, 1100);
        // Two arrivals are due, and both are noticed late; connections were free all the time.
        let late_ns = 1112 * MS;
        let first = dispatcher.next(late_ns).unwrap();
        let second = dispatcher.next(late_ns + MS).unwrap();
        dispatcher.completed(first, late_ns + 2 * MS);
        dispatcher.completed(second, late_ns + 2 * MS);
        let recording = dispatcher.recording();
        assert_eq!((recording.histogram(Kind::Lag).len(), recording.histogram(Kind::Wait).max()), (2, 0));
        assert_eq!(max(&mut dispatcher, Kind::Lag) / MS, 11);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 13);
        assert_eq!(max(&mut dispatcher, Kind::Service) / MS, 1);
    }

    #[test]
    fn a_busy_connection_makes_arrivals_wait_with_their_clock_running() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1100);
        assert_eq!(dispatcher.next(1100 * MS), Some(0));
        assert_eq!(dispatcher.next(1110 * MS), None);
        assert_eq!(dispatcher.next(1120 * MS), None);
        dispatcher.completed(0, 1125 * MS);
        assert_eq!(dispatcher.next(1125 * MS), Some(0));
        dispatcher.completed(0, 1126 * MS);
        assert_eq!((max(&mut dispatcher, Kind::Lag), max(&mut dispatcher, Kind::Wait) / MS), (0, 14));
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 24);
    }

    #[test]
    fn a_connection_lost_while_free_is_not_used_and_not_doubled() {
        let mut dispatcher = dispatcher(2);
        dispatcher.disconnected(0, ErrorKind::Reset);
        assert_eq!(dispatcher.next(1000 * MS), Some(1));
        dispatcher.connected(0);
        assert_eq!(dispatcher.next(1010 * MS), Some(0));
        assert_eq!(dispatcher.next(1020 * MS), None);
    }

    #[test]
    fn a_timeout_enters_the_response_at_its_age() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1100);
        assert_eq!(dispatcher.next(1100 * MS), Some(0));
        assert_eq!(dispatcher.next_timeout_ns(), Some(1150 * MS));
        assert_eq!(dispatcher.expire(1149 * MS), None);
        assert_eq!(dispatcher.expire(1150 * MS), Some(0));
        assert_eq!(dispatcher.recording().account.timed_out, 1);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 49);
    }

    #[test]
    fn a_request_that_is_never_answered_does_not_pile_up_those_after_it() {
        let schedule =
            Schedule::new(Arrivals::Constant { rate: 100_000.0 }, 0, 0).map(|schedule| schedule.share(0, 1));
        let mut dispatcher = ready(Dispatcher::new(schedule, 2, u64::MAX / 2), 2);
        assert_eq!(dispatcher.next(1000 * MS), Some(0));
        for step in 1..10_000 {
            assert_eq!(dispatcher.next(1000 * MS + step * 10_000), Some(1));
            dispatcher.completed(1, 1000 * MS + step * 10_000 + 1);
        }
        assert!(dispatcher.deadlines.len() <= 2 * 2 + DEADLINES_MIN + 1, "{}", dispatcher.deadlines.len());
        assert_eq!(dispatcher.next_timeout_ns(), Some(1000 * MS + u64::MAX / 2));
    }

    #[test]
    fn what_is_not_done_at_the_end_is_censored_at_its_age() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1150);
        assert_eq!(dispatcher.next(1150 * MS), Some(0));
        assert_eq!(dispatcher.next(1170 * MS), None);
        assert!(!dispatcher.is_finished(1299 * MS));
        assert!(dispatcher.is_finished(1300 * MS));
        dispatcher.finish(1300 * MS);
        let account = dispatcher.recording().account;
        let expected =
            Account { scheduled: 10, completed: 5, in_flight_at_end: 1, never_sent: 4, ..Account::default() };
        assert_eq!(account, expected);
        assert!(account.balances());
        assert_eq!(dispatcher.recording().histogram(Kind::Response).len(), 10);
        assert_eq!(max(&mut dispatcher, Kind::Response) / MS, 149);
    }

    #[test]
    fn an_error_reply_is_no_latency() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1190);
        assert_eq!(dispatcher.next(1190 * MS), Some(0));
        dispatcher.answered_with_error(0, ErrorKind::Status(503));
        let recording = dispatcher.recording();
        assert_eq!((recording.account.completed, recording.account.errored), (9, 1));
        assert_eq!(recording.histogram(Kind::Response).len(), 9);
        assert_eq!(recording.errors[&ErrorKind::Status(503)], 1);
    }

    #[test]
    fn a_closed_loop_asks_again_only_when_the_reply_has_come() {
        let mut dispatcher = ready(Dispatcher::new(None, 1, 50 * MS), 1);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS));
        assert_eq!(dispatcher.next(999 * MS), None);
        assert_eq!(dispatcher.next(1150 * MS), Some(0));
        assert_eq!((dispatcher.next(1150 * MS), dispatcher.next_arrival_ns()), (None, None));
        dispatcher.completed(0, 1170 * MS);
        assert_eq!(dispatcher.next_arrival_ns(), Some(1000 * MS));
        let recording = dispatcher.recording();
        assert_eq!((recording.account.scheduled, recording.account.completed), (1, 1));
        assert_eq!(recording.histogram(Kind::Lag).len(), 0);
        assert_eq!((dispatcher.next(1200 * MS), dispatcher.next_arrival_ns()), (None, None));
        assert!(dispatcher.is_finished(1200 * MS));
    }

    #[test]
    fn the_end_is_due_also_when_no_arrival_and_no_reply_is() {
        let mut dispatcher = dispatcher(1);
        assert_eq!(dispatcher.next_end_ns(1000 * MS), Some(1200 * MS));
        run_until(&mut dispatcher, 1199);
        assert_eq!((dispatcher.next_arrival_ns(), dispatcher.in_flight), (None, 0));
        assert_eq!(dispatcher.next_end_ns(1199 * MS), Some(1200 * MS));
        assert!(dispatcher.is_finished(1200 * MS));
        // With a request that is never answered it is the drain's.
        assert_eq!(dispatcher.next_end_ns(1200 * MS), Some(1300 * MS));
        assert_eq!(dispatcher.next_end_ns(1300 * MS), None);
    }

    #[test]
    fn a_run_that_is_ended_early_balances() {
        let mut dispatcher = dispatcher(1);
        run_until(&mut dispatcher, 1145);
        assert_eq!(dispatcher.next(1150 * MS), Some(0));
        dispatcher.end_early(1150 * MS);
        assert!(!dispatcher.is_finished(1151 * MS));
        dispatcher.completed(0, 1152 * MS);
        assert!(dispatcher.is_finished(1152 * MS));
        dispatcher.finish(1152 * MS);
        let account = dispatcher.recording().account;
        assert_eq!((account.scheduled, account.completed), (6, 6));
    }
}
