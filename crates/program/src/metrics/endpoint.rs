//! HTTP for scrapers, on a listener and a thread of their own: it answers when the program's other threads are busy.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

/// A running endpoint. Dropping it ends it.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Answers what comes to `listener`, which does not block, from a thread called `name`. What the thread does besides
    /// is up to `on_thread`: it prepares the thread, serves, and hears why serving failed.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        name: &str,
        listener: TcpListener,
        router: Router,
        on_thread: impl FnOnce(Serving) + Send + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let serving = Serving { runtime, listener, router, stopped };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || on_thread(serving))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where, the port as bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
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

/// What the endpoint's thread does.
#[derive(Debug)]
pub struct Serving {
    runtime: Runtime,
    listener: TcpListener,
    router: Router,
    stopped: oneshot::Receiver<()>,
}

impl Serving {
    /// Answers until the [`Endpoint`] is dropped.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub fn run(self) -> io::Result<()> {
        let Self { runtime, listener, router, stopped } = self;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            // Ends with the program, also while a scraper keeps its connection open: nothing is lost with it.
            tokio::select! {
                served = axum::serve(listener, router).into_future() => served,
                _ = stopped => Ok(()),
            }
        })
    }
}

/// `/metrics`, with what `families` gives at each scrape.
pub fn metrics(families: impl Fn() -> Vec<MetricFamily> + Clone + Send + Sync + 'static) -> Router {
    Router::new().route("/metrics", get(async move || text(families())))
}

fn text(mut families: Vec<MetricFamily>) -> Response {
    // The format knows no family without series.
    families.retain(|family| !family.get_metric().is_empty());
    let encoder = TextEncoder::new();
    match encoder.encode_to_string(&families) {
        Ok(text) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc;

    use super::*;
    use crate::metrics::process;

    fn listener() -> TcpListener {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scrape_is_text_without_empty_families() {
        let row = &process::TABLE.rows[0];
        let families = move || vec![row.single(7.0), process::TABLE.rows[1].filled(vec![])];
        let endpoint = Endpoint::start("metrics", listener(), metrics(families), |serving| {
            serving.run().unwrap();
        });
        let answer = ask(endpoint.unwrap().address());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4\r\n"), "{answer}");
        assert!(answer.ends_with(&format!("\n{} 7\n", row.name)), "{answer}");
    }

    #[test]
    fn what_cannot_be_encoded_is_an_error_of_the_server() {
        let nameless = || {
            let mut family = process::TABLE.rows[0].single(7.0);
            family.set_name(String::new());
            vec![family]
        };
        let endpoint = Endpoint::start("metrics", listener(), metrics(nameless), |serving| {
            serving.run().unwrap();
        });
        let answer = ask(endpoint.unwrap().address());
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }

    #[test]
    fn it_ends_when_dropped_although_a_scraper_stays() {
        let (ended, has_ended) = mpsc::channel();
        let endpoint = Endpoint::start("metrics", listener(), metrics(Vec::new), move |serving| {
            ended.send(serving.run().is_ok()).unwrap();
        });
        let endpoint = endpoint.unwrap();
        let mut stream = TcpStream::connect(endpoint.address()).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0]).unwrap() > 0, "it is served");
        drop(endpoint);
        assert!(has_ended.recv().unwrap());
    }
}
