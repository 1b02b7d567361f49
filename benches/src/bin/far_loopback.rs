//! This machine at a distance from itself, where a kernel has no netem: runs a command in a network of its own, in which
//! [`far::THERE`] is [`far::HERE`] over a way that takes time.
//!
//! `far-loopback ROUND_TRIP COMMAND ARGS...`, inside a network namespace in which it may make devices. Packets to [`far::THERE`] are
//! routed to a device of this program, which keeps each for half of the round trip and sends it back with its two addresses swapped: so
//! a connection to it arrives at this machine, and what that answers goes the same way. To swap them changes no checksum.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tidemark_benches::error::MeasureError;
use tidemark_benches::far;
use tidemark_benches::interrupt::Interrupt;
use tidemark_benches::process::Process;
use tidemark_host::tun::Tun;
use tidemark_program::Exit;

const DEVICE: &str = "far";
/// Of a network that has the two addresses and no other host.
const PREFIX_BITS: u8 = 30;
/// What the kernel gives a device like this, unless it is asked for another.
const PACKET_BYTES_MAX: usize = 1500;
/// Packets on their way at once; a network drops those beyond, too.
const ON_THE_WAY_MAX: usize = 65_536;
/// Packets taken from the device before those that are due are sent on.
const PACKETS_PER_TURN: usize = 64;

fn main() -> ExitCode {
    let exit = run().unwrap_or_else(|error| {
        // Nothing is left to do when standard error is closed.
        drop(writeln!(io::stderr(), "far-loopback: {error}"));
        error.exit()
    });
    exit.into()
}

fn run() -> Result<Exit, MeasureError> {
    let usage = || MeasureError::Host("usage: far-loopback ROUND_TRIP COMMAND ARGS...".to_owned());
    let mut args = std::env::args_os().skip(1);
    let round_trip = args.next().and_then(|text| text.into_string().ok()).ok_or_else(usage)?;
    let round_trip = humantime::parse_duration(&round_trip).map_err(|_| usage())?;
    let mut command = Command::new(args.next().ok_or_else(usage)?);
    let interrupt = Interrupt::catch().map_err(MeasureError::io("handle signals"))?;
    let tun = Tun::create(DEVICE).map_err(MeasureError::io("make a network device (/dev/net/tun)"))?;
    let here = format!("{}/{PREFIX_BITS}", far::HERE);
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", &here, "dev", DEVICE])?;
    ip(&["link", "set", DEVICE, "up", "txqueuelen", &ON_THE_WAY_MAX.to_string()])?;
    let mut process = Process::spawn(command.args(args)).map_err(MeasureError::io("start the command"))?;
    carry(&tun, &process, &interrupt, round_trip / 2).map_err(MeasureError::io("carry packets"))?;
    // It has ended, and so there is a status.
    let status = process.wait(&interrupt, None)?;
    Ok(status.map_or(Exit::CouldNotRun, Exit::from))
}

fn ip(args: &[&str]) -> Result<(), MeasureError> {
    let status = Command::new("ip").args(args).status().map_err(MeasureError::io("run ip (iproute2)"))?;
    if status.success() {
        return Ok(());
    }
    Err(MeasureError::Host(format!("`ip {}` failed", args.join(" "))))
}

/// Carries packets until the command has ended; an interrupt is passed on to it.
fn carry(tun: &Tun, process: &Process, interrupt: &Interrupt, delay: Duration) -> io::Result<()> {
    let mut on_the_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = [0; PACKET_BYTES_MAX];
    let mut is_interrupted = false;
    loop {
        let timeout = on_the_way.front().map(|(due, _)| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let mut fds = [process.as_fd(), tun.as_fd(), interrupt.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        // Readable ever after.
        let watched = if is_interrupted { 2 } else { 3 };
        match poll(&mut fds[..watched], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [has_ended, _, is_asked] = fds.map(|fd| !fd.revents().is_empty());
        if has_ended {
            return Ok(());
        }
        if is_asked {
            is_interrupted = true;
            process.interrupt();
        }
        for _ in 0..PACKETS_PER_TURN {
            let length = match tun.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let mut packet = buffer[..length].to_vec();
            if far::turn_around(&mut packet) && on_the_way.len() < ON_THE_WAY_MAX {
                on_the_way.push_back((Instant::now() + delay, packet));
            }
        }
        let now = Instant::now();
        while on_the_way.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, packet)) = on_the_way.pop_front() {
                // What the kernel does not take is lost, as packets are.
                let _ = tun.write(&packet);
            }
        }
    }
}
