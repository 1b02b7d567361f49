//! Where the figures of a run are served.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tidemark_host::cpu::{self, CpuSet};
use tidemark_program::metrics::endpoint::{Endpoint, metrics};

use super::board::Board;
use crate::run::COLLECTOR_NICE;

/// A listener that nobody serves yet: its port is taken, and the first scrape waits in its queue.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    /// Where, the port as bound.
    pub address: SocketAddr,
}

impl Listening {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port is taken, or the address is not this machine's.
    pub fn on(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Answers from a thread, on the CPUs that the run was given.
    pub(super) fn serve(self, board: Arc<Board>, pin: Option<CpuSet>) -> io::Result<Endpoint> {
        Endpoint::start("metrics", self.listener, metrics(move || board.families()), move |serving| {
            // As for the collector: the workers go first, and a CPU that was left to the target is not used.
            let _ = rustix::process::nice(COLLECTOR_NICE);
            let _ = pin.map(|pin| cpu::pin(&pin));
            // What fails here costs the view on the run, not the run.
            drop(serving.run());
        })
    }
}
