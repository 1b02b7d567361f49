//! Stopping: nothing that was begun is lost, and it ends in time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidemark_server::{Config, Engine, Outcome, Running, Server};

use crate::client::{Http, config, connect, echo, eventually, owed, round_trip, start};

for_every_engine! {
    under_load_every_client_sees_a_clean_end
    idle_connections_are_closed_and_the_ports_are_free
    a_request_under_way_is_finished
    what_is_unfinished_at_the_deadline_is_cut_off_and_counted
    readiness_goes_before_the_connections_do
    in_the_grace_period_it_is_not_ready_and_serves_on
    idle_connections_may_talk_until_the_grace_period_is_over
    a_connection_that_has_just_come_may_still_ask
    many_idle_connections_are_all_told_goodbye
    an_abort_ends_at_once
    dropping_a_server_ends_it
}

fn under_load_every_client_sees_a_clean_end(engine: Engine) {
    let server = start(engine);
    let addr = server.echo_addrs()[0];
    let stopper = server.stopper();
    let busy = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = connect(addr);
                    let mut rounds = 0;
                    loop {
                        let mut back = [0; 64];
                        // Once the server has said goodbye it reads and drops what still comes.
                        stream.write_all(&[7; 64]).unwrap();
                        match stream.read_exact(&mut back) {
                            Ok(()) => assert_eq!(back, [7; 64]),
                            Err(error) => {
                                break assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
                            }
                        }
                        rounds += 1;
                        if rounds == 100 {
                            busy.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        eventually("all clients are at work", || busy.load(Ordering::SeqCst) == 8);
        stopper.stop();
        assert_eq!(server.wait(), Outcome::default());
        for client in clients {
            client.join().unwrap();
        }
    });
}

fn idle_connections_are_closed_and_the_ports_are_free(engine: Engine) {
    let server = start(engine);
    let addrs = [server.echo_addrs()[0], server.http_addrs()[0], server.admin_addr()];
    let mut streams: Vec<TcpStream> = (0..100).map(|index| connect(addrs[index % 2])).collect();
    eventually("all are open", || server.open_connections() == 100);
    server.stop();
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "a clean end, no reset");
    }
    drop(streams);
    assert_eq!(server.wait(), Outcome::default());
    for addr in addrs {
        assert!(TcpStream::connect(addr).is_err(), "{addr}");
    }
}

fn a_request_under_way_is_finished(engine: Engine) {
    let server = start(engine);
    let mut http = Http::to(&server);
    let mut idle = Http::to(&server);
    assert_eq!(idle.get("/health").status, 200);
    http.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
    let head = http.head();
    assert_eq!((head.status, head.field("connection")), (200, None));
    server.stop();
    assert_eq!(idle.rest(), b"", "an idle connection is closed at once");
    http.send(b"world");
    assert_eq!(http.rest(), b"helloworld");
    assert_eq!(server.wait(), Outcome::default());
}

fn owe(server: &Running) -> TcpStream {
    owed(server.echo_addrs()[0], server.admin_addr())
}

fn what_is_unfinished_at_the_deadline_is_cut_off_and_counted(engine: Engine) {
    let drain_timeout = Duration::from_millis(100);
    let server = Server::start(Config { drain_timeout, ..config(engine) }).unwrap();
    let _stuck = owe(&server);
    let mut idle = echo(&server);
    round_trip(&mut idle, b"in").unwrap();
    server.stop();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    assert_eq!(server.wait(), Outcome { cut_off: 1, ..Outcome::default() });
}

fn readiness_goes_before_the_connections_do(engine: Engine) {
    let server = start(engine);
    let admin = server.admin_addr();
    assert_eq!(Http::connect(admin).get("/ready").status, 200);
    let stuck = owe(&server);
    server.stop();
    assert_eq!(Http::connect(admin).get("/ready").status, 503);
    assert_eq!(Http::connect(admin).get("/health").status, 200, "it is well, only not for new ones");
    assert_eq!(crate::client::metric(admin, "tidemark_ready"), 0);
    drop(stuck);
    assert_eq!(server.wait(), Outcome::default(), "a peer that leaves is not cut off");
}

fn in_the_grace_period_it_is_not_ready_and_serves_on(engine: Engine) {
    let server = Server::start(Config { grace: Duration::from_secs(600), ..config(engine) }).unwrap();
    let mut before = echo(&server);
    round_trip(&mut before, b"in").unwrap();
    server.stop();
    assert_eq!(Http::connect(server.admin_addr()).get("/ready").status, 503);
    let mut http = Http::to(&server);
    assert_eq!(http.get("/ready").status, 503);
    assert_eq!(http.get("/health").status, 200, "on a connection that is kept");
    let mut after = echo(&server);
    assert_eq!(round_trip(&mut after, b"still welcome").unwrap(), b"still welcome");
    assert_eq!(round_trip(&mut before, b"still served").unwrap(), b"still served");
    server.stopper().abort();
    assert_eq!(server.wait(), Outcome { aborted: true, ..Outcome::default() });
}

fn idle_connections_may_talk_until_the_grace_period_is_over(engine: Engine) {
    let server = Server::start(Config { grace: Duration::from_millis(300), ..config(engine) }).unwrap();
    let mut idle = echo(&server);
    round_trip(&mut idle, b"in").unwrap();
    server.stop();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "a goodbye, and it comes by itself");
    assert_eq!(server.wait(), Outcome::default());
}

fn a_connection_that_has_just_come_may_still_ask(engine: Engine) {
    let server = start(engine);
    let accepted = server.open_connections();
    let mut fresh = echo(&server);
    let mut silent = echo(&server);
    eventually("both are accepted", || server.open_connections() == accepted + 2);
    server.stop();
    assert_eq!(Http::connect(server.admin_addr()).get("/ready").status, 503);
    assert_eq!(round_trip(&mut fresh, b"what for").unwrap(), b"what for");
    assert_eq!(fresh.read(&mut [0]).unwrap(), 0);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "one that says nothing is not waited for for long");
    assert_eq!(server.wait(), Outcome::default());
}

fn many_idle_connections_are_all_told_goodbye(engine: Engine) {
    // More than are told at once.
    const MANY: usize = 3000;
    let server = start(engine);
    let mut idle: Vec<TcpStream> = (0..MANY)
        .map(|_| {
            let mut stream = echo(&server);
            round_trip(&mut stream, b"in").unwrap();
            stream
        })
        .collect();
    server.stop();
    assert!(idle.iter_mut().all(|stream| matches!(stream.read(&mut [0]), Ok(0))));
    assert_eq!(server.wait(), Outcome::default());
}

fn an_abort_ends_at_once(engine: Engine) {
    let server = start(engine);
    let _stuck = owe(&server);
    server.stop();
    server.stopper().abort();
    let outcome = server.wait();
    assert!(outcome.aborted && outcome.cut_off == 1 && outcome.failed_workers == 0, "{outcome:?}");
}

fn dropping_a_server_ends_it(engine: Engine) {
    let server = start(engine);
    let addr = server.echo_addrs()[0];
    let mut stream = echo(&server);
    round_trip(&mut stream, b"in").unwrap();
    drop(server);
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(addr).is_err());
}
