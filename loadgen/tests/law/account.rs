//! The account of arrivals balances, whatever the target does.

use proptest::prelude::*;
use tidemark_loadgen::dispatch::Window;
use tidemark_loadgen::record::{Kind, Recording};
use tidemark_loadgen::schedule::{Arrivals, Schedule};

use crate::simulation::{Fate, Happening, Load, MS, S, SEED, START_NS, Simulation, US, window};

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let time = || prop_oneof![Just(0), 1..2 * MS, 1..300 * MS];
    let fate = prop_oneof![
        8 => time().prop_map(Fate::Replies),
        2 => time().prop_map(Fate::RepliesWithError),
        2 => (time(), time()).prop_map(|(after, again)| Fate::LosesConnection(after, again)),
        1 => time().prop_map(Fate::NeverReplies),
    ];
    prop::collection::vec(fate, 1..20)
}

fn loads() -> impl Strategy<Value = Load> {
    let rated = || {
        prop_oneof![
            (1.0..3000.0).prop_map(|rate| Arrivals::Constant { rate }),
            (1.0..3000.0).prop_map(|rate| Arrivals::Poisson { rate }),
        ]
    };
    prop_oneof![
        4 => rated().prop_map(Load::from),
        1 => Just(Load::from(Arrivals::Closed)),
        1 => (1..100 * MS).prop_map(|think_ns| Load { think_ns, ..Load::from(Arrivals::Closed) }),
        // As many connections as the case has are put in there.
        2 => (0.01..1.0).prop_map(|period_s| Load::from(Arrivals::Every { period_s, connections: 0 })),
        2 => (rated(), 1_u16..5).prop_map(|(arrivals, requests)| Load { requests: Some(requests), ..Load::from(arrivals) }),
        1 => Just(Load::from(Arrivals::Idle)),
    ]
}

/// With as many turns as there are connections.
fn with_turns(mut load: Load, count: u32) -> Load {
    if let Arrivals::Every { connections, .. } = &mut load.arrivals {
        *connections = count;
    }
    load
}

/// A target's behaviour and a plan, all of it arbitrary.
#[derive(Clone, Debug)]
struct Case {
    load: Load,
    connections: u32,
    timeout_ns: u64,
    window: Window,
    fates: Vec<Fate>,
    /// When, from the start, on which connection, and how long until it is open again.
    sudden_losses: Vec<(u64, u32, u64)>,
    /// When the order to end early comes, and how much later the end is to be.
    end_early: Option<(u64, u64)>,
}

impl Case {
    fn run(&self) -> Recording {
        let fates = self.fates.clone();
        // Replies in no time would let a closed loop run on at one moment for ever.
        let shortest_ns = if self.load.arrivals.rate().is_none() { 100 * US } else { 0 };
        let fate = move |request: u64, _| {
            let index = usize::try_from(request).unwrap_or(0) % fates.len();
            match fates[index] {
                Fate::Replies(after_ns) => Fate::Replies(after_ns.max(shortest_ns)),
                Fate::RepliesWithError(after_ns) => Fate::RepliesWithError(after_ns.max(shortest_ns)),
                Fate::LosesConnection(after_ns, again_ns) => {
                    Fate::LosesConnection(after_ns.max(shortest_ns), again_ns)
                }
                never @ Fate::NeverReplies(_) => never,
            }
        };
        let mut simulation = Simulation::new(self.load, self.connections, self.timeout_ns, self.window, fate);
        for &(after_ns, conn, open_again_after_ns) in &self.sudden_losses {
            simulation.plan(
                START_NS + after_ns,
                conn % self.connections,
                Happening::SuddenLoss { open_again_after_ns },
            );
        }
        if let Some((after_ns, notice_ns)) = self.end_early {
            simulation.plan(
                START_NS + after_ns,
                0,
                Happening::EndEarly { until_ns: START_NS + after_ns + notice_ns },
            );
        }
        simulation.run(self.window)
    }

    /// When the last arrival is intended, exclusive.
    fn until_ns(&self) -> u64 {
        let early_ns = self.end_early.map(|(after_ns, notice_ns)| START_NS + after_ns + notice_ns);
        self.window.until_ns.min(early_ns.unwrap_or(u64::MAX))
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let window = (0..300 * MS, MS..S, 0..300 * MS)
        .prop_map(|(warmup, duration, drain)| window(warmup, duration, drain));
    let sudden_losses = prop::collection::vec((0..S, 0u32..20, 0..300 * MS), 0..5);
    let end_early = prop::option::of((0..S, 0..100 * MS));
    (loads(), 1u32..20, MS..500 * MS, window, fates(), sudden_losses, end_early).prop_map(
        |(load, connections, timeout_ns, window, fates, sudden_losses, end_early)| Case {
            load: with_turns(load, connections),
            connections,
            timeout_ns,
            window,
            fates,
            sudden_losses,
            end_early,
        },
    )
}

proptest! {
    #[test]
    fn the_account_balances_whatever_the_target_does(case in cases()) {
        let recording = case.run();
        let account = recording.account;
        prop_assert!(account.balances(), "{:?}", account);
        let in_response = account.completed + account.timed_out + account.in_flight_at_end + account.never_sent;
        prop_assert_eq!(recording.histogram(Kind::Response).len(), in_response);
        let in_service = account.completed + account.timed_out + account.in_flight_at_end;
        let served = recording.histogram(Kind::Service).len();
        // A visit whose connection was still being opened at the end was not served at all.
        prop_assert!(served == in_service || case.load.requests.is_some() && served < in_service);
        if let Some(schedule) = Schedule::new(case.load.arrivals, SEED, 0) {
            let from_ns = case.window.from_ns - START_NS;
            let until_ns = case.until_ns() - START_NS;
            let expected = schedule.count_between(from_ns, until_ns.max(from_ns));
            prop_assert_eq!(account.scheduled, expected + recording.follow_ups);
            prop_assert!(case.load.requests.is_some() || recording.follow_ups == 0);
        }
        let errors: u64 = recording.errors.values().sum();
        prop_assert_eq!(errors, account.errored + account.timed_out);
    }

    #[test]
    fn a_target_that_always_answers_leaves_nothing_open(
        load in loads(),
        connections in 1u32..20,
        reply_after_ns in 100 * US..5 * MS,
    ) {
        let window = window(100 * MS, 500 * MS, 60 * S);
        let fate = |_, _| Fate::Replies(reply_after_ns);
        let load = with_turns(load, connections);
        let account = Simulation::new(load, connections, 60 * S, window, fate).run(window).account;
        prop_assert!(account.balances(), "{:?}", account);
        prop_assert_eq!(account.completed, account.scheduled);
    }
}
