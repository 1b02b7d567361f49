//! The admin plane: `/metrics`, `/health` and `/ready` on a listener and a thread of their own.
//!
//! It shares nothing with the workers but their counters, so it answers when they are busy, and its connections are
//! never turned away for theirs.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::Registry;
use tidemark_program::metrics::endpoint::{Endpoint, metrics};

use crate::control::Control;
use crate::listen;
use crate::metrics::ServerCollector;
use crate::server::StartError;

/// Scrapers and probes are few.
const BACKLOG: u32 = 128;

/// Listens on `addr` and answers from a thread, until what is returned is dropped.
pub(crate) fn start(
    addr: SocketAddr,
    collector: ServerCollector,
    control: Arc<Control>,
) -> Result<Endpoint, StartError> {
    let registry = Registry::new();
    registry.register(Box::new(collector))?;
    let listener = listen::open(addr, BACKLOG)?;
    let router = metrics(move || registry.gather())
        .route("/health", get(|| async { json(StatusCode::OK, r#"{"status":"ok"}"#) }))
        .route("/ready", get(async move || ready(&control)));
    Endpoint::start("admin", listener, router, |serving| {
        if let Err(error) = serving.run() {
            // The connections are served on; what is lost is the view on them.
            tracing::error!(%error, "the admin plane failed");
        }
    })
    .map_err(|source| StartError::Io { call: "admin plane", source })
}

fn ready(control: &Control) -> impl IntoResponse + use<> {
    if control.is_ready() {
        json(StatusCode::OK, r#"{"status":"ready"}"#)
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"not ready"}"#)
    }
}

fn json(status: StatusCode, body: &'static str) -> impl IntoResponse {
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}
