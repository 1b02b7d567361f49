//! Raw echo: every byte comes back, in order, whatever the peer does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemark_server::Engine;

use crate::client::{DEADLINE, echo, eventually, metric, pattern, round_trip, start};

for_every_engine! {
    bytes_come_back_whatever_their_number
    a_peer_that_does_not_read_is_not_read_from_and_loses_nothing
    what_came_before_a_half_close_is_answered
    a_half_close_behind_a_full_socket_is_answered_to_the_end
    a_reset_ends_one_connection_and_no_other
    a_thousand_connections_are_served_at_once
    slots_are_reused_without_mixing_connections_up
    a_flood_on_one_connection_does_not_starve_another
    ipv6_is_served
}

/// Sends from a thread of its own, because a large message does not fit into the sockets on the way.
fn send_and_receive(stream: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        scope.spawn(|| (&*stream).write_all(bytes).unwrap());
        let mut back = vec![0; bytes.len()];
        (&*stream).read_exact(&mut back).unwrap();
        back
    })
}

fn bytes_come_back_whatever_their_number(engine: Engine) {
    let server = start(engine);
    let stream = echo(&server);
    for len in [1, 2, 64, 65_535, 65_536, 65_537, 1 << 20, 16 << 20] {
        let sent = pattern(len);
        assert!(send_and_receive(&stream, &sent) == sent, "{len} bytes");
    }
}

fn a_peer_that_does_not_read_is_not_read_from_and_loses_nothing(engine: Engine) {
    // More than all sockets on the way take, as large as the kernel may make them.
    const TOTAL: usize = 64 << 20;
    let server = start(engine);
    let stream = echo(&server);
    let sent = pattern(TOTAL);
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut at = 0;
    let stuck = loop {
        match (&stream).write(&sent[at..]) {
            Ok(0) => break false,
            Ok(bytes) => at += bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(stuck && at < TOTAL, "the server took {at} bytes although nobody read its answers");
    let mut other = echo(&server);
    assert_eq!(round_trip(&mut other, b"meanwhile").unwrap(), b"meanwhile");
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (&stream).write_all(&sent[at..]).unwrap());
        let mut back = vec![0; TOTAL];
        (&stream).read_exact(&mut back).unwrap();
        assert!(back == sent);
    });
}

fn what_came_before_a_half_close_is_answered(engine: Engine) {
    let server = start(engine);
    for len in [0, 1, 65_536, 1 << 20] {
        let mut stream = echo(&server);
        let sent = pattern(len);
        let mut back = Vec::new();
        std::thread::scope(|scope| {
            let writer = stream.try_clone().unwrap();
            let sent = &sent;
            scope.spawn(move || {
                (&writer).write_all(sent).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            stream.read_to_end(&mut back).unwrap();
        });
        assert!(back == sent, "{len} bytes");
    }
    eventually("the connections are gone", || server.open_connections() == 0);
    assert_eq!(metric(server.admin_addr(), "tidemark_connections_closed_total{reason=\"peer\"}"), 4);
}

fn a_half_close_behind_a_full_socket_is_answered_to_the_end(engine: Engine) {
    let server = start(engine);
    let mut stream = echo(&server);
    let sent = pattern(32 << 20);
    let writer = stream.try_clone().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&writer).write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
            done.store(true, Ordering::SeqCst);
        });
        // Reads only just enough for the writer to get to its end, so that the rest waits behind full sockets.
        let mut back = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while !done.load(Ordering::SeqCst) {
            let bytes = stream.read(&mut piece).unwrap();
            back.extend_from_slice(&piece[..bytes]);
        }
        stream.read_to_end(&mut back).unwrap();
        assert!(back == sent);
    });
}

fn a_reset_ends_one_connection_and_no_other(engine: Engine) {
    let server = start(engine);
    let mut other = echo(&server);
    let mut doomed = echo(&server);
    round_trip(&mut other, b"a").unwrap();
    round_trip(&mut doomed, b"b").unwrap();
    socket2::SockRef::from(&doomed).set_linger(Some(Duration::ZERO)).unwrap();
    drop(doomed);
    let admin = server.admin_addr();
    eventually("the reset is counted", || {
        metric(admin, "tidemark_connections_closed_total{reason=\"reset\"}") == 1
            && metric(admin, "tidemark_connections_open") == 1
    });
    assert_eq!(round_trip(&mut other, b"still here").unwrap(), b"still here");
}

fn a_thousand_connections_are_served_at_once(engine: Engine) {
    let server = start(engine);
    let mut streams: Vec<TcpStream> = (0..1_000).map(|_| echo(&server)).collect();
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&index.to_le_bytes()).unwrap();
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        let mut back = [0; size_of::<usize>()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(usize::from_le_bytes(back), index);
    }
    let admin = server.admin_addr();
    assert_eq!(metric(admin, "tidemark_connections_open"), 1_000);
    assert_eq!(metric(admin, "tidemark_connections_accepted_total"), 1_000);
    assert_eq!(metric(admin, "tidemark_received_bytes_total"), 8_000);
    assert_eq!(metric(admin, "tidemark_sent_bytes_total"), 8_000);
    drop(streams);
    eventually("all are gone", || metric(admin, "tidemark_connections_open") == 0);
}

fn slots_are_reused_without_mixing_connections_up(engine: Engine) {
    let server = start(engine);
    for round in 0_u32..300 {
        let mut streams: Vec<TcpStream> = (0..4).map(|_| echo(&server)).collect();
        for (index, stream) in streams.iter_mut().enumerate() {
            let mark = [round.to_le_bytes(), u32::try_from(index).unwrap().to_le_bytes()].concat();
            assert_eq!(round_trip(stream, &mark).unwrap(), mark);
        }
        // Half of them by reset, so that errors and data of old and new tenants come in one batch.
        for stream in streams.iter().step_by(2) {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    eventually("all are gone", || server.open_connections() == 0);
}

fn a_flood_on_one_connection_does_not_starve_another(engine: Engine) {
    let config = tidemark_server::Config {
        workers: tidemark_server::config::Workers::Fixed(1.try_into().unwrap()),
        ..crate::client::config(engine)
    };
    let server = tidemark_server::Server::start(config).unwrap();
    let flood = echo(&server);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let bytes = pattern(1 << 20);
            while !done.load(Ordering::SeqCst) {
                (&flood).write_all(&bytes).unwrap();
            }
            flood.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(|| std::io::copy(&mut &flood, &mut std::io::sink()).unwrap());
        let mut other = echo(&server);
        for _ in 0..200 {
            assert_eq!(round_trip(&mut other, b"and me?").unwrap(), b"and me?");
        }
        done.store(true, Ordering::SeqCst);
    });
}

fn ipv6_is_served(engine: Engine) {
    let any = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0));
    if std::net::TcpListener::bind(any).is_err() {
        return; // a host may have no IPv6 at all
    }
    let config = tidemark_server::Config { echo: vec![any.into()], ..crate::client::config(engine) };
    let server = tidemark_server::Server::start(config).unwrap();
    assert!(server.echo_addrs()[0].is_ipv6());
    assert_eq!(round_trip(&mut echo(&server), b"six").unwrap(), b"six");
}
