//! This machine at a distance from itself: a measurement runs again in a network of its own, by `far-loopback`, in which [`THERE`] is
//! [`HERE`] over a way that takes time.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tidemark_program::Exit;

use crate::binaries::Program;
use crate::error::MeasureError;
use crate::process::Process;
use crate::session::Session;

/// Where a server listens.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The same server, as it is reached over the way.
pub const THERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Where an IPv4 packet has its addresses: the source, and the destination behind it (RFC 791).
const ADDRESSES: std::ops::Range<usize> = 12..20;

/// Each of the two.
const ADDRESS_BYTES: usize = 4;

/// The command that gives another one a network of its own (util-linux), in which it may make devices.
pub const IN_A_NETWORK: [&str; 5] = ["unshare", "--user", "--map-root-user", "--net", "--"];

fn in_a_network() -> Command {
    let mut command = Command::new(IN_A_NETWORK[0]);
    command.args(&IN_A_NETWORK[1..]);
    command
}

/// Whether the host gives a network of one's own.
pub fn is_permitted() -> bool {
    in_a_network().arg("true").output().is_ok_and(|tried| tried.status.success())
}

/// Runs this program again with the same arguments and some more, over a way of this round trip.
///
/// # Errors
/// When it cannot be started.
pub fn again(session: &Session, round_trip: Duration, more: &[&OsStr]) -> Result<Exit, MeasureError> {
    if !is_permitted() {
        let why =
            "the host gives no network of one's own (`unshare --user --map-root-user --net true` fails)";
        return Err(MeasureError::Host(why.to_owned()));
    }
    let own = std::env::current_exe().map_err(MeasureError::io("find this executable"))?;
    let mut command = in_a_network();
    command.arg(session.binaries.path(Program::FarLoopback)?);
    command.arg(humantime::format_duration(round_trip).to_string().replace(' ', "")).arg(own);
    command.args(std::env::args_os().skip(1)).args(more).stdin(Stdio::null());
    let mut process = Process::spawn(&mut command).map_err(MeasureError::io("start unshare (util-linux)"))?;
    // Without a timeout there is always a status.
    let status = process.wait(&session.interrupt, None)?;
    Ok(status.map_or(Exit::CouldNotRun, Exit::from))
}

/// Swaps the addresses of an IPv4 packet, which leaves its checksums as they are. Returns whether it was one.
pub fn turn_around(packet: &mut [u8]) -> bool {
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    match packet.get_mut(ADDRESSES) {
        Some(addresses) if is_ipv4 => {
            addresses.rotate_left(ADDRESS_BYTES);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_packet_are_swapped_and_nothing_else() {
        let mut packet: Vec<u8> = (0..24).collect();
        packet[0] = 0x45;
        assert!(turn_around(&mut packet));
        let swapped: Vec<u8> =
            [0x45].into_iter().chain(1..12).chain(16..20).chain(12..16).chain(20..24).collect();
        assert_eq!(packet, swapped);
    }

    #[test]
    fn what_is_no_ipv4_is_not_turned_around() {
        assert!(!turn_around(&mut [0x60; 40]));
        assert!(!turn_around(&mut [0x45; 19]));
        assert!(!turn_around(&mut []));
    }
}
