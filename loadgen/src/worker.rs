//! A worker: one thread, one poll, one share of every population.
//!
//! It opens its connections, says that it is ready, is told when the schedule starts, and hands over a recording per
//! population at the end of every interval. Nothing it touches per request is shared with another thread.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tidemark_host::cpu::{self, CpuSet};
use tidemark_host::proc::schedstat::{self, Schedstat};
use tidemark_host::{fdtable, wake::Wake};

use crate::clock::monotonic_ns;
use crate::dispatch::{Dispatcher, Pace, Window};
use crate::errors::ErrorKind;
use crate::pacer::Pacer;
use crate::pool::{Io, PlannedDrop, Pool, Shared, split_token};
use crate::ramp::Ramp;
use crate::record::{Recording, add_errors};

/// Events taken from the kernel at once: a batch that is served well within a millisecond.
const EVENTS_PER_TURN: usize = 256;
/// The one read buffer of a worker: more than any reply of the usual tests, so that one read drains a socket.
const READ_BUFFER_BYTES: usize = 64 * 1024;
const WAKE: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// What the main thread tells a worker.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// The schedule starts.
    Begin(Window),
    /// No arrival from this monotonic time on.
    EndEarly(u64),
    /// Close every connection and end, done or not.
    End,
}

/// What a worker tells the main thread.
#[derive(Debug)]
pub enum Message {
    /// Every connection is open or has been given up.
    Ramped {
        /// What went wrong so far.
        errors: BTreeMap<ErrorKind, u64>,
    },
    /// The recordings of interval `index`, one per population. Interval 0 is the ramp and the warm-up.
    Interval {
        /// Which worker.
        worker: usize,
        /// Which interval.
        index: usize,
        /// In the order of the plan's populations.
        recordings: Vec<Recording>,
    },
    /// More arrivals wait than is sane: the run should end.
    BacklogFull,
    /// The worker is done; its last interval has been handed over.
    Done(WorkerStats),
    /// The worker could not go on.
    Failed(String),
    /// The user asked to end the run. Sent by the signal thread.
    Interrupted,
}

/// What a worker did with its time between the start of the schedule and its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerStats {
    /// Length of that time.
    pub elapsed_ns: u64,
    /// Time spent on events and sends; the rest was waiting, asleep or spinning.
    pub busy_ns: u64,
    /// Time on a CPU and time waiting for one; zero where the kernel does not tell.
    pub sched: Schedstat,
}

/// One population's share on one worker.
#[derive(Debug)]
pub struct PoolPlan {
    /// What it has in common with the other workers' shares.
    pub shared: Arc<Shared>,
    /// What sets the pace of its requests.
    pub pace: Pace,
    /// The number over all workers of its first connection.
    pub first_number: usize,
    /// Its connections.
    pub connections: u32,
    /// A request not answered by then has timed out.
    pub request_timeout_ns: u64,
    /// Connection attempts per second.
    pub connect_rate: f64,
    /// Handshakes under way at once.
    pub connects_in_flight: usize,
    /// Where the number of open connections is shown.
    pub open: Arc<AtomicU64>,
    /// What is to be dropped of its connections, in order.
    pub drops: VecDeque<PlannedDrop>,
}

/// All that a worker is given.
pub struct WorkerPlan {
    /// Which worker this is.
    pub index: usize,
    /// Its shares, in the order of the plan's populations.
    pub pools: Vec<PoolPlan>,
    /// Whether its thread takes a descriptor table of its own.
    pub private_fd_table: bool,
    /// The CPU it runs on.
    pub pin: Option<CpuSet>,
    /// How long before a deadline it spins.
    pub spin_ns: u64,
    /// How often it hands over what it recorded.
    pub interval_ns: u64,
    /// Wakes it after a command was sent.
    pub wake: Wake,
    /// Commands of the main thread.
    pub commands: Receiver<Command>,
    /// Emptied recordings come back here.
    pub spares: Receiver<Recording>,
    /// To the main thread.
    pub messages: Sender<Message>,
}

/// Runs a worker on the calling thread until it is done. Also a panic ends in a message: the main thread never waits
/// for a worker that is gone.
pub fn run(plan: WorkerPlan) {
    let messages = plan.messages.clone();
    let outcome = catch_unwind(AssertUnwindSafe(|| Worker::set_up(plan)?.run()));
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("a worker panicked: {}", panic_text(&*panic)),
    };
    // Nobody is left to tell when the main thread has given up.
    drop(messages.send(Message::Failed(failure)));
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

struct Worker {
    index: usize,
    poll: Poll,
    pacer: Pacer,
    pools: Vec<Pool>,
    buffer: Vec<u8>,
    interval_ns: u64,
    wake: Wake,
    commands: Receiver<Command>,
    spares: Receiver<Recording>,
    messages: Sender<Message>,
    is_ramped: bool,
    told_backlog: bool,
    is_ended: bool,
    /// `None` until the schedule starts.
    running: Option<Running>,
}

/// What is known once the schedule has started.
struct Running {
    start_ns: u64,
    interval: usize,
    interval_end_ns: u64,
    busy_ns: u64,
    sched_at_start: Schedstat,
}

impl Worker {
    fn set_up(plan: WorkerPlan) -> io::Result<Self> {
        if plan.private_fd_table {
            fdtable::make_private()?;
        }
        if let Some(cpu) = &plan.pin {
            cpu::pin(cpu)?;
        }
        // Timers of the scheduler may be 50 us late by default; a kernel that refuses this is only less exact.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&plan.wake.as_raw_fd()), WAKE, Interest::READABLE)?;
        let pacer = Pacer::new(&poll, TIMER, plan.spin_ns)?;
        let start_ns = monotonic_ns();
        let pools =
            plan.pools.into_iter().enumerate().map(|(index, pool)| new_pool(index, pool, start_ns)).collect();
        Ok(Self {
            index: plan.index,
            poll,
            pacer,
            pools,
            buffer: vec![0; READ_BUFFER_BYTES],
            interval_ns: plan.interval_ns,
            wake: plan.wake,
            commands: plan.commands,
            spares: plan.spares,
            messages: plan.messages,
            is_ramped: false,
            told_backlog: false,
            is_ended: false,
            running: None,
        })
    }

    /// Runs until the load is over, and holds the connections until the main thread has read the machine's counters: to
    /// close them all is a storm of its own, which is not part of what was measured.
    fn run(mut self) -> io::Result<()> {
        let stats = self.run_load()?;
        self.send(Message::Done(stats));
        while !self.is_ended {
            self.obey(self.commands.recv().unwrap_or(Command::End));
        }
        Ok(())
    }

    fn run_load(&mut self) -> io::Result<WorkerStats> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            let now_ns = monotonic_ns();
            // First, so that what belongs to the next interval is recorded there.
            self.hand_over_due(now_ns);
            let worked = self.turn(&events, now_ns);
            self.tell();
            if let Some(stats) = self.finish_if_done(now_ns) {
                return Ok(stats);
            }
            let end_ns = monotonic_ns();
            if let (Some(running), true) = (&mut self.running, worked) {
                running.busy_ns += end_ns - now_ns;
            }
            // Of the time that was looked at above: an end that came since is due now.
            let due_ns = self.next_due_ns(now_ns);
            let poll_until_ns = self.pools.iter().filter_map(Pool::expects_reply_until_ns).max();
            self.pacer.wait(&mut self.poll, &mut events, end_ns, due_ns, poll_until_ns)?;
        }
    }

    /// Serves the events of the last poll and does what is due. Returns whether there was anything to do.
    fn turn(&mut self, events: &Events, now_ns: u64) -> bool {
        let mut worked = false;
        let mut io = Io { registry: self.poll.registry(), buffer: &mut self.buffer };
        let mut is_woken = false;
        for event in events {
            match event.token() {
                WAKE => is_woken = true,
                TIMER => {}
                token => {
                    let (pool, generation, conn) = split_token(token);
                    if let Some(pool) = self.pools.get_mut(pool) {
                        pool.on_event(&mut io, generation, conn, event);
                    }
                    worked = true;
                }
            }
        }
        // A full batch: the kernel may have more.
        let all_read = events.iter().count() < EVENTS_PER_TURN;
        for pool in &mut self.pools {
            worked |= pool.advance(&mut io, now_ns, all_read);
        }
        if is_woken {
            self.wake.clear();
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
        }
        worked
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin(window) => {
                for pool in &mut self.pools {
                    pool.begin(window);
                }
                self.running = Some(Running {
                    start_ns: window.start_ns,
                    interval: 0,
                    interval_end_ns: window.from_ns,
                    busy_ns: 0,
                    sched_at_start: schedstat::read_self_thread().unwrap_or_default(),
                });
            }
            Command::EndEarly(at_ns) => {
                for pool in &mut self.pools {
                    pool.dispatcher().end_early(at_ns);
                }
            }
            Command::End => self.is_ended = true,
        }
    }

    /// Tells the main thread what it waits for.
    fn tell(&mut self) {
        if !self.is_ramped && self.pools.iter().all(Pool::is_ramped) {
            self.is_ramped = true;
            let mut errors = BTreeMap::new();
            for pool in &mut self.pools {
                add_errors(&mut errors, &pool.dispatcher().recording().connection_errors);
            }
            self.send(Message::Ramped { errors });
        }
        if !self.told_backlog && self.pools.iter_mut().any(|pool| pool.dispatcher().backlog_is_full()) {
            self.told_backlog = true;
            self.send(Message::BacklogFull);
        }
    }

    fn hand_over_due(&mut self, now_ns: u64) {
        while self.running.as_ref().is_some_and(|running| now_ns >= running.interval_end_ns) {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let Some(running) = &mut self.running else { return };
        let index = running.interval;
        running.interval += 1;
        running.interval_end_ns += self.interval_ns;
        let recordings = self.pools.iter_mut().map(|pool| {
            // The collector gives recordings back in time; should it be late, a new one costs an allocation.
            pool.swap_recording(self.spares.try_recv().unwrap_or_default())
        });
        let recordings = recordings.collect();
        self.send(Message::Interval { worker: self.index, index, recordings });
    }

    fn send(&self, message: Message) {
        // The main thread only goes away when the whole run has failed.
        drop(self.messages.send(message));
    }

    fn next_due_ns(&mut self, now_ns: u64) -> Option<u64> {
        let interval = self.running.as_ref().map(|running| running.interval_end_ns);
        let due = self.pools.iter_mut().flat_map(|pool| {
            let end = pool.dispatcher().next_end_ns(now_ns);
            [pool.next_due_ns(), end]
        });
        due.flatten().chain(interval).min()
    }

    fn finish_if_done(&mut self, now_ns: u64) -> Option<WorkerStats> {
        if self.is_ended {
            return Some(WorkerStats::default());
        }
        let running = self.running.as_ref()?;
        if !self.pools.iter_mut().all(|pool| pool.dispatcher().is_finished(now_ns)) {
            return None;
        }
        let sched = schedstat::read_self_thread().unwrap_or_default();
        let stats = WorkerStats {
            elapsed_ns: now_ns.saturating_sub(running.start_ns),
            busy_ns: running.busy_ns,
            sched: Schedstat {
                run_ns: sched.run_ns.saturating_sub(running.sched_at_start.run_ns),
                wait_ns: sched.wait_ns.saturating_sub(running.sched_at_start.wait_ns),
                slices: sched.slices.saturating_sub(running.sched_at_start.slices),
            },
        };
        for pool in &mut self.pools {
            pool.finish(now_ns);
        }
        self.hand_over();
        Some(stats)
    }
}

fn new_pool(index: usize, plan: PoolPlan, start_ns: u64) -> Pool {
    let is_visited = matches!(plan.pace, Pace::Visits { .. });
    let places = plan.connections as usize * usize::from(plan.shared.depth);
    let dispatcher = Dispatcher::new(plan.pace, places, plan.request_timeout_ns);
    let ramped = if is_visited { 0 } else { plan.connections };
    let ramp = Ramp::new(ramped, plan.connect_rate, plan.connects_in_flight, start_ns);
    let index = u8::try_from(index).expect("the plan bounds the number of populations");
    Pool::new(
        index,
        plan.first_number,
        plan.shared,
        dispatcher,
        ramp,
        plan.connections,
        plan.open,
        is_visited,
        plan.drops,
    )
}
