//! The server over real sockets.
//!
//! `echo`, `http`, `limits` and `stop` are the contract of the engines: each test runs once per engine, on a server in
//! this process. `metrics` is about the admin plane, which they share. `cli` and `process` run the real binary, `descriptors` and
//! `crowd` with every engine.

#![expect(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

/// Makes a test of each function for every engine.
macro_rules! for_every_engine {
    ($($test:ident)*) => {
        for_every_engine!(@ epoll Epoll $($test)*);
        for_every_engine!(@ tokio Tokio $($test)*);
        for_every_engine!(@ tokio_steal TokioSteal $($test)*);
    };
    (@ $module:ident $engine:ident $($test:ident)*) => {
        mod $module {
            $(#[test]
            fn $test() {
                super::$test(tidemark_server::Engine::$engine);
            })*
        }
    };
}

/// An engine that is added must be added above, too.
const _: () = assert!(tidemark_server::Engine::ALL.len() == 3);

mod activation;
mod cli;
mod client;
mod crowd;
mod descriptors;
mod echo;
mod http;
mod limits;
mod metrics;
mod process;
mod stop;
mod timeouts;
