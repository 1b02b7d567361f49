//! Counts that the server itself, or the kernel, keeps: allocations and memory.

use std::process::Command;

use tidemark_host::proc::smaps_rollup;

use super::Figures;
use super::quantity::Quantity;
use super::subject::Subject;
use crate::closed_loop::ClosedLoop;
use crate::error::MeasureError;
use crate::exchange::Exchange;
use crate::idle::Idle;
use crate::interrupt::Interrupt;
use crate::scrape;
use crate::server::Server;
use crate::statistics::slope;

/// Requests between two looks. A look allocates, too, but the same each time.
const REQUESTS: [u64; 2] = [1_000, 5_000];

/// Requests before the first look: what is allocated once, such as a buffer that grows to its size, is no request's.
const WARM_UP_REQUESTS: u64 = 500;

/// Idle connections at the two looks. A page more or less is then less than a byte for each.
const CONNECTIONS: [usize; 2] = [1_000, 6_000];

/// Allocations per request, and heap per idle connection, of the server that counts.
///
/// # Errors
/// When a program fails.
pub fn allocations(subject: &Subject, interrupt: &Interrupt) -> Result<Figures, MeasureError> {
    let Some(counting) = &subject.build.server_counting else {
        return Ok(Figures::default());
    };
    let server = subject.serve(Command::new(counting), interrupt)?;
    let mut figures = Figures::default();
    let io = MeasureError::io("count allocations");
    let per_request = || -> std::io::Result<(f64, f64)> {
        let http = server.http.unwrap_or(server.echo);
        let echo = per_request(&server, ClosedLoop::connect(server.echo, 1, Exchange::echo(64)?)?)?;
        Ok((echo, per_request(&server, ClosedLoop::connect(http, 1, Exchange::get(http, "/health")?)?)?))
    };
    let (echo, http) = per_request().map_err(io)?;
    figures.values.insert(Quantity::AllocationsPerEcho, echo);
    figures.values.insert(Quantity::AllocationsPerHttpRequest, http);
    let heap = per_connection(&server, interrupt, |server| {
        scrape::metric(server.admin, "tidemark_heap_bytes").map_err(MeasureError::io("read the heap's size"))
    })?;
    figures.values.insert(Quantity::HeapBytesPerConnection, heap);
    server.stop();
    Ok(figures)
}

fn per_request(server: &Server, mut client: ClosedLoop) -> std::io::Result<f64> {
    client.run(WARM_UP_REQUESTS)?;
    let mut allocated = |requests| {
        let looked = || scrape::metric(server.admin, "tidemark_heap_allocations_total");
        let before = looked()?;
        client.run(requests)?;
        Ok::<f64, std::io::Error>(looked()? - before)
    };
    let [few, many] = REQUESTS;
    Ok(slope((few as f64, allocated(few)?), (many as f64, allocated(many)?)))
}

/// Private memory per idle connection, from the exact page counts of the kernel.
///
/// # Errors
/// When a program fails.
pub fn private_memory(subject: &Subject, interrupt: &Interrupt) -> Result<Figures, MeasureError> {
    let server = subject.serve(Command::new(&subject.build.server), interrupt)?;
    let bytes = per_connection(&server, interrupt, |server| {
        let memory =
            smaps_rollup::read(server.pid()).map_err(MeasureError::io("read the server's memory"))?;
        Ok(memory.private_bytes as f64)
    })?;
    server.stop();
    let mut figures = Figures::default();
    figures.values.insert(Quantity::PrivateBytesPerConnection, bytes);
    Ok(figures)
}

fn per_connection(
    server: &Server,
    interrupt: &Interrupt,
    bytes: impl Fn(&Server) -> Result<f64, MeasureError>,
) -> Result<f64, MeasureError> {
    let mut idle = Idle::default();
    let mut at = |connections| {
        idle.grow_to(connections, server.echo, interrupt)?;
        Ok::<(f64, f64), MeasureError>((connections as f64, bytes(server)?))
    };
    let [few, many] = CONNECTIONS;
    // A slope below zero is a page that was given back meanwhile.
    Ok(slope(at(few)?, at(many)?).max(0.0))
}
