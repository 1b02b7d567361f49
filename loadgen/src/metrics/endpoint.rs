//! `/metrics` on a listener and a thread of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};
use tidemark_host::cpu::{self, CpuSet};
use tokio::sync::oneshot;

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
        let Self { listener, address } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            // As for the collector: the workers go first, and a CPU that was left to the target is not used.
            let _ = rustix::process::nice(COLLECTOR_NICE);
            let _ = pin.map(|pin| cpu::pin(&pin));
            // What fails here costs the view on the run, not the run.
            drop(runtime.block_on(answer(listener, board, stopped)));
        })?;
        Ok(Endpoint { address, stop: Some(stop), thread: Some(thread) })
    }
}

/// The running endpoint. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed where it happened.
            drop(thread.join());
        }
    }
}

async fn answer(listener: TcpListener, board: Arc<Board>, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new().route("/metrics", get(metrics)).with_state(board);
    // Ends with the run, also while a scraper keeps its connection open.
    tokio::select! {
        served = axum::serve(listener, router).into_future() => served,
        _ = stopped => Ok(()),
    }
}

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    match encoder.encode_to_string(&board.families()) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
