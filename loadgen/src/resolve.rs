//! Which of the addresses that a target's host has is measured.
//!
//! One of them: figures of several machines in one would be those of none. It is the first that takes a connection, as with
//! wrk, h2load and curl, so that `localhost` works whichever family its server listens on.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::capacity::parse_sources;
use crate::plan::PlanError;
use crate::target::Target;

/// The addresses to connect to: one for each port of the target. Where the host has several addresses a connection is made
/// and closed again, and `notes` is told which was taken.
///
/// # Errors
/// When the host has no address, or the range of source addresses is not understood.
pub fn addresses(
    target: &Target,
    source: Option<&str>,
    connect_timeout: Duration,
    notes: &mut Vec<String>,
) -> Result<Vec<SocketAddr>, PlanError> {
    let found = target.resolve()?;
    let sources = source.map(parse_sources).transpose().map_err(PlanError::Usage)?;
    let is_source_ipv4 = sources.map(|sources| sources[0].is_ipv4());
    let taken = choose(&found, is_source_ipv4, |address| takes_a_connection(address, connect_timeout));
    if found.len() > 1 {
        let all: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
        notes.push(format!(
            "target: {} has the addresses {}; {} is measured, the first that took a connection",
            target.host,
            all.join(", "),
            taken.ip()
        ));
    }
    Ok(target.on_every_port(taken))
}

/// The first address that takes a connection, of the family of the source addresses if there are any; the first of all when
/// none does, so that the check before the run tells of it.
fn choose(
    found: &[SocketAddr],
    is_source_ipv4: Option<bool>,
    mut takes_a_connection: impl FnMut(SocketAddr) -> bool,
) -> SocketAddr {
    let is_reachable =
        |address: &&SocketAddr| is_source_ipv4.is_none_or(|is_ipv4| address.is_ipv4() == is_ipv4);
    let reachable: Vec<SocketAddr> = found.iter().filter(is_reachable).copied().collect();
    match reachable.as_slice() {
        [] => found[0],
        // The run itself will tell.
        [only] => *only,
        several => {
            let takes = several.iter().copied().find(|&address| takes_a_connection(address));
            takes.unwrap_or(several[0])
        }
    }
}

fn takes_a_connection(address: SocketAddr, timeout: Duration) -> bool {
    TcpStream::connect_timeout(&address, timeout).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_that_takes_a_connection_is_measured() {
        let found = found(&["[::1]:7", "127.0.0.1:7", "127.0.0.2:7"]);
        let choose_of = |is_source_ipv4, takes: &dyn Fn(SocketAddr) -> bool| {
            choose(&found, is_source_ipv4, takes).ip().to_string()
        };
        assert_eq!(choose_of(None, &|_| true), "::1");
        assert_eq!(choose_of(None, &|address| address.is_ipv4()), "127.0.0.1");
        assert_eq!(choose_of(None, &|address| address.to_string() == "127.0.0.2:7"), "127.0.0.2");
        assert_eq!(choose_of(None, &|_| false), "::1");
    }

    #[test]
    fn sources_leave_only_addresses_of_their_family() {
        let both = found(&["[::1]:7", "127.0.0.1:7"]);
        // Nothing is tried where there is no choice.
        let tried = |address: SocketAddr| -> bool { panic!("{address} was tried") };
        assert_eq!(choose(&both, Some(true), tried).ip().to_string(), "127.0.0.1");
        assert_eq!(choose(&both, Some(false), tried).ip().to_string(), "::1");
        assert_eq!(choose(&both[..1], Some(true), tried).ip().to_string(), "::1");
        assert_eq!(choose(&both[1..], None, tried).ip().to_string(), "127.0.0.1");
    }
}
