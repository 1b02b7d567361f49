//! How many connections this process can hold, with how many workers and which descriptor tables. Pure.
//!
//! A descriptor table holds `RLIMIT_NOFILE` descriptors. Shared by all workers, that limits the whole server; with a
//! table per worker it limits each worker, so that more workers hold more connections. A table of one thread alone is faster, too:
//! the kernel need not count who uses a file in each system call (a hundredth of the CPU time of an echo).

use tidemark_host::doctor::{COMFORTABLE_PERCENT, SOCKET_BYTES};

use crate::config::FdTables;

/// Descriptors of a table that are kept for what is not a connection of ours: standard streams, signal pipe, admin
/// connections of scrapers, `/proc` files while they are read, and some air.
const RESERVED_FDS: u64 = 64;

/// Descriptors that a worker needs for itself: its poll instance and its wake.
const FDS_PER_WORKER: u64 = 2;

/// The kernel spreads connections over workers by hash: with n on each, three standard deviations are about 3 sqrt(n).
/// That much room is left in every private table, so that the fullest worker still does not run out.
const SPREAD_SIGMAS: f64 = 3.0;

/// More worker threads than this are a mistake on any machine.
pub const WORKERS_MAX: usize = 1024;

/// Without --max-connections no more than this are let in, whatever the descriptor limit says: containers often have
/// one of a billion, and the tables for so many would not even fit into the address space that the kernel grants.
const UNASKED_CONNECTIONS_MAX: u64 = 4_000_000;

/// What the host allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Descriptors per table.
    pub nofile: u64,
    /// CPUs the process may run on.
    pub cpus: usize,
    /// Whether a thread can have a descriptor table of its own.
    pub private_tables: bool,
    /// Memory that this process can still get; none where that is not known.
    pub available_bytes: Option<u64>,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `None` lets the plan choose.
    pub workers: Option<usize>,
    /// How many workers to start when the plan chooses and descriptors do not ask for more.
    pub workers_at_least: usize,
    /// `None` takes what fits.
    pub max_connections: Option<u64>,
    /// Shared, private, or whatever fits.
    pub fd_tables: FdTables,
    /// Addresses to listen on; each worker opens all of them.
    pub listeners: usize,
    /// What an idle connection takes in this process, besides what it takes in the kernel.
    pub connection_bytes: u64,
}

/// What the number of connections follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `--max-connections`.
    Asked,
    /// What the descriptor tables hold.
    Descriptors,
    /// What fits into memory with room to spare.
    Memory,
    /// More than anybody who has not asked for it wants.
    Ceiling,
}

impl Limit {
    /// In a word, for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Limit::Asked => "asked",
            Limit::Descriptors => "descriptors",
            Limit::Memory => "memory",
            Limit::Ceiling => "ceiling",
        }
    }
}

/// How the server will run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Worker threads.
    pub workers: usize,
    /// Whether each has a descriptor table of its own.
    pub private_tables: bool,
    /// Connections let in at a time, over all workers.
    pub max_connections: u64,
    /// What that follows from.
    pub limit: Limit,
    /// Size of each worker's connection table.
    pub per_worker: u32,
}

/// The host does not allow what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// Not even one connection fits.
    #[error(
        "RLIMIT_NOFILE is {nofile}, which leaves no descriptor for a connection; \
         raise it (`ulimit -n`, or LimitNOFILE= in a systemd unit)"
    )]
    NoRoom {
        /// Descriptors per table.
        nofile: u64,
    },
    /// The limit is too low for the connections asked for.
    #[error(
        "--max-connections {wanted} does not fit: {workers} workers hold {fit} with RLIMIT_NOFILE {nofile} and {tables}; \
         {fix}"
    )]
    TooMany {
        /// What was asked for.
        wanted: u64,
        /// What fits.
        fit: u64,
        /// Workers considered.
        workers: usize,
        /// Descriptors per table.
        nofile: u64,
        /// Which kind of tables, in words.
        tables: &'static str,
        /// What to do.
        fix: String,
    },
    /// The kernel or a sandbox forbids private tables.
    #[error("--fd-tables private: this host forbids unshare(CLONE_FILES); use --fd-tables shared")]
    NotPrivate,
}

/// Plans a run.
///
/// # Errors
/// When the host does not allow what is wanted, with what to change.
pub fn plan(wanted: Wanted, allowed: Allowed) -> Result<Plan, CapacityError> {
    let chosen = wanted.workers.unwrap_or(wanted.workers_at_least).clamp(1, WORKERS_MAX);
    let shared = fits_shared(chosen, wanted.listeners, allowed.nofile);
    let private = match wanted.fd_tables {
        FdTables::Shared => false,
        FdTables::Private if !allowed.private_tables => return Err(CapacityError::NotPrivate),
        FdTables::Private => true,
        FdTables::Auto => {
            // The room for a worker that gets more than its share can make the difference.
            let in_private = fits(chosen, &wanted, allowed, true);
            let fits_only_shared = match wanted.max_connections {
                Some(max) => max <= shared && max > in_private,
                None => in_private == 0,
            };
            allowed.private_tables && !fits_only_shared
        }
    };
    let workers = match (private, wanted.workers, wanted.max_connections) {
        (true, None, Some(max)) => (chosen..WORKERS_MAX)
            .find(|&workers| fits(workers, &wanted, allowed, true) >= max)
            .unwrap_or(chosen),
        _ => chosen,
    };
    let fit = fits(workers, &wanted, allowed, private);
    if fit == 0 {
        return Err(CapacityError::NoRoom { nofile: allowed.nofile });
    }
    let (max_connections, limit) = match wanted.max_connections {
        Some(asked) => (asked, Limit::Asked),
        None => unasked(fit, &wanted, allowed),
    };
    if max_connections > fit {
        return Err(too_many(&wanted, allowed, workers, private, fit));
    }
    // The kernel, not this table, is the judge of how many descriptors there are: the limit can be raised from outside.
    let per_worker = u32::try_from(max_connections).unwrap_or(u32::MAX);
    Ok(Plan { workers, private_tables: private, max_connections, limit, per_worker })
}

/// How many are let in when nobody has said, and what that follows from.
fn unasked(fit: u64, wanted: &Wanted, allowed: Allowed) -> (u64, Limit) {
    let in_memory = allowed.available_bytes.map_or(u64::MAX, |available| {
        let comfortable = available / 100 * COMFORTABLE_PERCENT;
        // A machine that is this short serves at least one, or it had better not start.
        (comfortable / (SOCKET_BYTES + wanted.connection_bytes)).max(1)
    });
    let limits =
        [(fit, Limit::Descriptors), (in_memory, Limit::Memory), (UNASKED_CONNECTIONS_MAX, Limit::Ceiling)];
    limits.into_iter().min_by_key(|&(connections, _)| connections).unwrap_or((fit, Limit::Descriptors))
}

fn fits(workers: usize, wanted: &Wanted, allowed: Allowed, private: bool) -> u64 {
    if private {
        fits_private(workers, wanted.listeners, allowed.nofile)
    } else {
        fits_shared(workers, wanted.listeners, allowed.nofile)
    }
}

fn fits_shared(workers: usize, listeners: usize, nofile: u64) -> u64 {
    let workers = workers as u64;
    nofile.saturating_sub(RESERVED_FDS + workers * (FDS_PER_WORKER + listeners as u64))
}

fn fits_private(workers: usize, listeners: usize, nofile: u64) -> u64 {
    // The wakes of all workers are in every table, because they were opened before the tables parted.
    let own = RESERVED_FDS + FDS_PER_WORKER + workers as u64 + listeners as u64;
    let room = nofile.saturating_sub(own);
    workers as u64 * if workers == 1 { room } else { mean_with_spread(room) }
}

/// The largest mean n with n + 3 sqrt(n) <= `room`.
fn mean_with_spread(room: u64) -> u64 {
    // The positive root of x^2 + 3x - room.
    let discriminant = SPREAD_SIGMAS * SPREAD_SIGMAS + 4.0 * room as f64;
    let x = f64::midpoint(discriminant.sqrt(), -SPREAD_SIGMAS);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a root of a number that is not below 0"
    )]
    let mean = (x * x) as u64;
    mean.min(room)
}

fn too_many(wanted: &Wanted, allowed: Allowed, workers: usize, private: bool, fit: u64) -> CapacityError {
    let max = wanted.max_connections.unwrap_or(fit);
    let enough = (workers..=WORKERS_MAX)
        .find(|&workers| fits_private(workers, wanted.listeners, allowed.nofile) >= max);
    let fix = match enough {
        Some(workers) if allowed.private_tables && private => format!("use --workers {workers} or auto"),
        Some(_) if allowed.private_tables => "use --fd-tables private".to_owned(),
        _ => "raise RLIMIT_NOFILE (`ulimit -n`)".to_owned(),
    };
    CapacityError::TooMany {
        wanted: max,
        fit,
        workers,
        nofile: allowed.nofile,
        tables: if private { "private descriptor tables" } else { "one shared descriptor table" },
        fix,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: Allowed = Allowed { nofile: 20_000, cpus: 2, private_tables: true, available_bytes: None };
    const ASK: Wanted = Wanted {
        workers: None,
        workers_at_least: 2,
        max_connections: None,
        fd_tables: FdTables::Auto,
        listeners: 2,
        connection_bytes: 64,
    };

    #[test]
    fn without_a_wish_the_tables_are_filled() {
        let of = |allowed| plan(ASK, allowed).map(|it| (it.workers, it.private_tables, it.max_connections));
        let jailed = Allowed { private_tables: false, ..HOST };
        assert_eq!(of(jailed), Ok((2, false, 20_000 - 64 - 2 * 4)));
        // In each room for three standard deviations more than its share.
        assert_eq!(of(HOST), Ok((2, true, 39_020)));
    }

    #[test]
    fn what_fits_only_into_a_shared_table_gets_one() {
        let private = |max, nofile| {
            let wanted = Wanted { workers: Some(1), max_connections: Some(max), ..ASK };
            plan(wanted, Allowed { nofile, ..HOST }).map(|plan| plan.private_tables)
        };
        let most = 20_000 - 64 - 4;
        assert_eq!((private(most, 20_000), private(most - 1, 20_000)), (Ok(false), Ok(true)));
        let least = Allowed { nofile: 73, ..HOST };
        assert_eq!(plan(ASK, least).map(|it| (it.private_tables, it.max_connections)), Ok((false, 1)));
    }

    #[test]
    fn a_limit_of_a_billion_descriptors_makes_no_tables_of_a_billion() {
        let docker = Allowed { nofile: 1_073_741_816, ..HOST };
        assert_eq!(plan(ASK, docker).unwrap().per_worker, 4_000_000);
        let asked = plan(Wanted { max_connections: Some(5_000_000), ..ASK }, docker).unwrap();
        assert_eq!(asked.per_worker, 5_000_000, "who asks for more gets more");
    }

    #[test]
    fn without_a_wish_no_more_are_let_in_than_fit_into_memory() {
        let with =
            |available_bytes| Allowed { nofile: 1_000_000, available_bytes: Some(available_bytes), ..HOST };
        let limit = |ask, allowed| plan(ask, allowed).map(|plan| (plan.max_connections, plan.limit)).unwrap();
        // 80 % of 1 GB, at 5200 bytes in the kernel and 64 here.
        assert_eq!(limit(ASK, with(1_000_000_000)), (151_975, Limit::Memory));
        assert_eq!(
            limit(Wanted { connection_bytes: 1024, ..ASK }, with(1_000_000_000)),
            (128_534, Limit::Memory)
        );
        let shared = Wanted { fd_tables: FdTables::Shared, ..ASK };
        assert_eq!(limit(shared, with(64_000_000_000)), (999_928, Limit::Descriptors));
        assert_eq!(limit(ASK, with(0)), (1, Limit::Memory));
        let asked = Wanted { max_connections: Some(500_000), ..ASK };
        assert_eq!(limit(asked, with(0)), (500_000, Limit::Asked), "who asks for more gets more");
    }

    #[test]
    fn more_than_one_table_holds_gets_private_tables_and_as_many_workers_as_it_needs() {
        let two = plan(Wanted { max_connections: Some(38_000), ..ASK }, HOST).unwrap();
        assert_eq!((two.workers, two.private_tables), (2, true));
        let three = plan(Wanted { max_connections: Some(40_000), ..ASK }, HOST).unwrap();
        assert_eq!((three.workers, three.private_tables), (3, true));
        let million = plan(Wanted { max_connections: Some(1_000_000), ..ASK }, HOST).unwrap();
        assert!((51..60).contains(&million.workers), "{}", million.workers);
    }

    #[test]
    fn what_cannot_be_held_is_refused_with_the_remedy() {
        let says = |wanted, allowed| plan(wanted, allowed).unwrap_err().to_string();
        let many = Some(100_000);
        let shared = Wanted { max_connections: many, fd_tables: FdTables::Shared, ..ASK };
        assert!(says(shared, HOST).ends_with("use --fd-tables private"));
        let few_workers = Wanted { max_connections: many, workers: Some(2), ..ASK };
        assert!(says(few_workers, HOST).ends_with("use --workers 6 or auto"));
        let jailed = Allowed { private_tables: false, ..HOST };
        assert!(says(Wanted { max_connections: many, ..ASK }, jailed).ends_with("(`ulimit -n`)"));
        assert_eq!(
            plan(Wanted { fd_tables: FdTables::Private, ..ASK }, jailed),
            Err(CapacityError::NotPrivate)
        );
        assert_eq!(plan(ASK, Allowed { nofile: 64, ..HOST }), Err(CapacityError::NoRoom { nofile: 64 }));
    }

    proptest! {
        #[test]
        fn a_plan_never_promises_more_than_the_tables_hold(
            nofile in 0_u64..2_000_000, max in prop::option::of(1_u64..2_000_000), cpus in 1_usize..200,
            workers in prop::option::of(1_usize..200), listeners in 1_usize..64, private_tables: bool,
            available_bytes in prop::option::of(0_u64..1 << 40),
        ) {
            let wanted = Wanted { workers, workers_at_least: cpus, max_connections: max, listeners, ..ASK };
            let allowed = Allowed { nofile, cpus, private_tables, available_bytes };
            let Ok(plan) = plan(wanted, allowed) else { return Ok(()) };
            prop_assert!(plan.max_connections >= 1);
            prop_assert!(private_tables || !plan.private_tables);
            prop_assert!(max.is_none_or(|max| plan.max_connections == max));
            prop_assert!(workers.is_none_or(|workers| plan.workers == workers));
            let mean = plan.max_connections as f64 / plan.workers as f64;
            let fullest = if plan.private_tables { mean } else { plan.max_connections as f64 };
            prop_assert!(fullest <= nofile as f64 - 64.0);
        }
    }
}
