//! The law that private descriptor tables rest on: the limit holds per table. One test only, because it lowers the limit
//! of its whole process.

use std::sync::Barrier;
use std::thread;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidemark_host::fdtable;

/// Low enough that two shares do not fit into one table, high enough for what the test harness has open.
const LIMIT: u64 = 64;
const SHARE: usize = 50;

/// Opens until the share is reached or the table is full, and says how many that were, once all have opened theirs.
fn open_share(all_open: &Barrier) -> usize {
    let opened: Vec<_> = (0..SHARE).map_while(|_| eventfd(0, EventfdFlags::CLOEXEC).ok()).collect();
    all_open.wait();
    opened.len()
}

/// Two threads open a share each; all are open at the same time.
fn open_in_two_threads(private: bool) -> [usize; 2] {
    let all_open = Barrier::new(2);
    let run = || {
        if private {
            fdtable::make_private().expect("the probe said that it works");
        }
        open_share(&all_open)
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads.map(|thread| thread.join().expect("no panic"))
    })
}

#[test]
fn the_limit_holds_per_table_and_not_per_process() {
    if !fdtable::can_be_private() {
        println!("skipped: this host forbids unshare(CLONE_FILES)");
        return;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum })
        .expect("lowering needs no privilege");

    let shared: usize = open_in_two_threads(false).iter().sum();
    assert!(shared < 2 * SHARE, "a shared table must stop them, else the limit of this test means nothing");

    assert_eq!(open_in_two_threads(true), [SHARE, SHARE]);
}
