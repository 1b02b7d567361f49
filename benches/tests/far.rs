//! This machine at a distance from itself, in a network of its own; where the host gives none, that is said and nothing is tried.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use tidemark_benches::far::{HERE, IN_A_NETWORK, THERE, is_permitted};

const ROUND_TRIP: Duration = Duration::from_millis(50);
const INSIDE: &str = "TIDEMARK_TEST_IS_FAR";

/// The same test once more, inside.
#[test]
fn a_handshake_over_the_way_takes_a_round_trip() {
    if std::env::var_os(INSIDE).is_some() {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let began = Instant::now();
        let mut near = TcpStream::connect((THERE, port)).unwrap();
        assert!(began.elapsed() >= ROUND_TRIP, "{:?}", began.elapsed());
        let (mut far, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), THERE);
        near.write_all(b"there").unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"there");
        assert!(began.elapsed() >= ROUND_TRIP + ROUND_TRIP / 2, "{:?}", began.elapsed());
        return;
    }
    let has_device = std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok();
    let has_ip = Command::new("ip").arg("-V").output().is_ok();
    if !is_permitted() || !has_device || !has_ip {
        return eprintln!("skipped: the host gives no network of one's own (unshare, /dev/net/tun, ip)");
    }
    let mut command = Command::new(IN_A_NETWORK[0]);
    command.args(&IN_A_NETWORK[1..]).arg(env!("CARGO_BIN_EXE_far-loopback"));
    command.arg(format!("{}ms", ROUND_TRIP.as_millis())).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "a_handshake_over_the_way_takes_a_round_trip"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
