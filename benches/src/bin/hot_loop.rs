//! `hot-loop N`: the load generator's core, N requests long, without a socket or a clock. For counting its instructions.

use std::hint::black_box;
use std::process::ExitCode;

use tidemark_loadgen::dispatch::{Dispatcher, Window};
use tidemark_loadgen::schedule::{Arrivals, Schedule};
use tidemark_program::Exit;
use tidemark_wire::echo::{EchoClient, Pattern};

const CONNECTIONS: u32 = 100;
const PAYLOAD_BYTES: u32 = 64;
/// Poisson, as most runs are.
const RATE: f64 = 20_000.0;
const SERVICE_NS: u64 = 20_000;
const TIMEOUT_NS: u64 = 10_000_000_000;
/// No run lasts until then.
const END_NS: u64 = 1 << 53;

fn main() -> ExitCode {
    let turns = std::env::args().nth(1).and_then(|text| text.parse::<u64>().ok());
    let exit = match turns {
        Some(turns) if run(turns).is_some() => Exit::Good,
        Some(_) => Exit::CouldNotRun,
        None => Exit::Usage,
    };
    exit.into()
}

/// `None` when the core did not do what it should.
fn run(turns: u64) -> Option<()> {
    let schedule = Schedule::new(Arrivals::Poisson { rate: RATE }, 1, 0)?.share(0, 1);
    let mut dispatcher = Dispatcher::new(Some(schedule), CONNECTIONS as usize, TIMEOUT_NS);
    for conn in 0..CONNECTIONS {
        dispatcher.connected(conn, 0);
    }
    dispatcher.begin(Window { start_ns: 0, from_ns: 0, until_ns: END_NS, drain_until_ns: END_NS });
    let pattern = Pattern::new(PAYLOAD_BYTES as usize);
    let mut clients: Vec<EchoClient> = (0..CONNECTIONS).map(|_| EchoClient::new()).collect();
    for turn in 0..turns {
        // A second after the start on, so that an arrival is always due.
        let now_ns = 1_000_000_000 + turn * 50_000;
        let Some(conn) = dispatcher.next(black_box(now_ns)) else { continue };
        let client = clients.get_mut(conn as usize)?;
        let reply = black_box(client.request(&pattern, PAYLOAD_BYTES));
        client.receive(reply, &pattern, std::iter::once(PAYLOAD_BYTES)).ok()?;
        dispatcher.completed(conn, now_ns + SERVICE_NS);
    }
    Some(())
}
