//! The admin plane: `/metrics`, `/health` and `/ready` on a listener and a thread of their own.
//!
//! It shares nothing with the workers but their counters, so it answers when they are busy, and its connections are
//! never turned away for theirs.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::sync::oneshot;

use crate::control::Control;
use crate::listen::{self, BindError};
use crate::metrics::ServerCollector;
use crate::server::StartError;

/// Scrapers and probes are few.
const BACKLOG: u32 = 128;

/// The running admin plane. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Admin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Plane {
    registry: Registry,
    control: Arc<Control>,
}

impl Admin {
    /// Listens on `addr` and answers from a thread.
    pub(crate) fn start(
        addr: SocketAddr,
        collector: ServerCollector,
        control: Arc<Control>,
    ) -> Result<Admin, StartError> {
        let registry = Registry::new();
        registry.register(Box::new(collector))?;
        let listener = listen::open(addr, BACKLOG)?;
        let addr = listener.local_addr().map_err(|source| BindError { addr, source })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| StartError::Io { call: "admin runtime", source })?;
        let (stop, stopped) = oneshot::channel();
        let plane = Arc::new(Plane { registry, control });
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serve(listener, plane, stopped)) {
                    // The connections are served on; what is lost is the view on them.
                    tracing::error!(%error, "the admin plane failed");
                }
            })
            .map_err(|source| StartError::Io { call: "thread", source })?;
        Ok(Admin { addr, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was printed where it happened.
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpListener,
    plane: Arc<Plane>,
    stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(|| async { json(StatusCode::OK, r#"{"status":"ok"}"#) }))
        .route("/ready", get(ready))
        .with_state(plane);
    // Ends with the server, also while a scraper keeps its connection open: nothing is lost with it.
    tokio::select! {
        served = axum::serve(listener, router).into_future() => served,
        _ = stopped => Ok(()),
    }
}

fn json(status: StatusCode, body: &'static str) -> impl IntoResponse {
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

async fn ready(State(plane): State<Arc<Plane>>) -> impl IntoResponse {
    if plane.control.is_ready() {
        json(StatusCode::OK, r#"{"status":"ready"}"#)
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"not ready"}"#)
    }
}

async fn metrics(State(plane): State<Arc<Plane>>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    match encoder.encode_to_string(&plane.registry.gather()) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
