//! What a run is aimed at: `tcp://host:port[-port]`, a bare `host:port`, or `http://host[:port]/path`.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// Ports a range may span: all there are.
const PORTS_MAX: usize = 65_535;
const HTTP_PORT: u16 = 80;

/// The protocol spoken to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "protocol", rename_all = "snake_case")]
pub enum Protocol {
    /// The target sends back every byte it gets.
    Echo,
    /// HTTP/1.1, one request after another on a kept connection.
    Http {
        /// The request target, beginning with `/`.
        path: String,
    },
}

/// A target as the user wrote it, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Protocol and what belongs to it.
    pub protocol: Protocol,
    /// Host name or address.
    pub host: String,
    /// First port of the range.
    pub first_port: u16,
    /// Last port of the range, inclusive.
    pub last_port: u16,
}

/// Why a target was refused.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The text is no target.
    #[error("target '{text}': {why}; write tcp://HOST:PORT, tcp://HOST:PORT-PORT or http://HOST:PORT/PATH")]
    Syntax {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The host has no address.
    #[error("target host '{host}' cannot be resolved: {source}; check the name, or give an address")]
    Resolve {
        /// The host as written.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        parse(text).map_err(|why| TargetError::Syntax { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Target, &'static str> {
    if let Some(rest) = text.strip_prefix("http://") {
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the path has a space or a control character (write %20)");
        }
        if path.contains('#') {
            return Err("a fragment (#) is never sent to a server");
        }
        return with_authority(authority, Some(HTTP_PORT), Protocol::Http { path });
    }
    if text.starts_with("https://") {
        return Err("TLS is not supported; terminate it in front and aim behind it");
    }
    let authority = text.strip_prefix("tcp://").unwrap_or(text);
    if authority.contains("://") {
        return Err("the scheme is neither tcp nor http");
    }
    if authority.contains('/') {
        return Err("an echo target has no path");
    }
    with_authority(authority, None, Protocol::Echo)
}

fn with_authority(
    authority: &str,
    default_port: Option<u16>,
    protocol: Protocol,
) -> Result<Target, &'static str> {
    let (host, ports) = split_authority(authority)?;
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@') {
        return Err("the host has a character that no host name has");
    }
    if host.parse().is_ok_and(|address: Ipv6Addr| address.is_unicast_link_local()) {
        return Err("a link-local address needs its interface, as in [fe80::1%eth0]:7000");
    }
    let (first_port, last_port) = match (ports, default_port) {
        (Some(ports), _) => parse_ports(ports)?,
        (None, Some(port)) => (port, port),
        (None, None) => return Err("the port is missing"),
    };
    Ok(Target { protocol, host: host.to_owned(), first_port, last_port })
}

/// Splits `host:ports`, `[v6]:ports` and their forms without ports.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket of the IPv6 address is not closed")?;
        return match rest.strip_prefix(':') {
            Some(ports) => Ok((host, Some(ports))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("what follows the IPv6 address is no port"),
        };
    }
    match authority.split_once(':') {
        Some((_, ports)) if ports.contains(':') => Err("an IPv6 address stands in brackets: [::1]:7000"),
        Some((host, ports)) => Ok((host, Some(ports))),
        None => Ok((authority, None)),
    }
}

fn parse_ports(text: &str) -> Result<(u16, u16), &'static str> {
    let port = |text: &str| match text.parse() {
        Ok(0) | Err(_) => Err("a port is a number from 1 to 65535"),
        Ok(port) => Ok(port),
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err("the port range runs backwards");
    }
    Ok((first, last))
}

impl Target {
    /// The host's addresses, with the first port: at least one, each once, in the order of the system (RFC 6724).
    ///
    /// # Errors
    /// When the host name has no address.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, TargetError> {
        let error = |source| TargetError::Resolve { host: self.host.clone(), source };
        let mut addresses = Vec::new();
        for address in (self.host.as_str(), self.first_port).to_socket_addrs().map_err(error)? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(error(std::io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
    }

    /// One of those addresses with each port of the range.
    pub fn on_every_port(&self, address: SocketAddr) -> Vec<SocketAddr> {
        let ports = (self.first_port..=self.last_port).take(PORTS_MAX);
        let with = |port| {
            let mut address = address;
            address.set_port(port);
            address
        };
        ports.map(with).collect()
    }

    /// The value of the `host` header. An interface means something on this machine alone and is left out (RFC 6874,
    /// section 4).
    pub fn authority(&self) -> String {
        let host = bracketed(self.host.split('%').next().unwrap_or_default());
        if self.first_port == HTTP_PORT { host } else { format!("{host}:{}", self.first_port) }
    }
}

/// Only an IPv6 address has a colon in it.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = match &self.protocol {
            Protocol::Echo => ("tcp", ""),
            Protocol::Http { path } => ("http", path.as_str()),
        };
        write!(f, "{scheme}://{}:{}", bracketed(&self.host), self.first_port)?;
        if self.last_port != self.first_port {
            write!(f, "-{}", self.last_port)?;
        }
        f.write_str(path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<Target>() {
            Ok(target) => target.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn targets_are_understood() {
        let cases = [
            ("127.0.0.1:7000", "tcp://127.0.0.1:7000"),
            ("tcp://localhost:7000-7015", "tcp://localhost:7000-7015"),
            ("tcp://[::1]:7000", "tcp://[::1]:7000"),
            ("[fe80::1%eth0]:7000", "tcp://[fe80::1%eth0]:7000"),
            ("http://localhost", "http://localhost:80/"),
            ("http://localhost:8080/health?x=1", "http://localhost:8080/health?x=1"),
            ("http://localhost:8080?x=1", "http://localhost:8080/?x=1"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_fix() {
        let cases = [
            "",
            "7000",
            "host",
            "host:",
            "host:0",
            "host:70000",
            "host:9-8",
            "host:80/x",
            "::1:80",
            "[::1:80",
            "[::1]x",
            "[fe80::1]:80",
            "https://host/",
            "udp://host:1",
            "http://",
            "http://host/a b",
            "http://host/#top",
            "tcp://:80",
            "a b:80",
        ];
        let told: Vec<String> = cases.iter().map(|text| shown(text)).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_range_gives_an_address_for_each_port() {
        let target: Target = "127.0.0.1:7000-7002".parse().unwrap();
        let found = target.resolve().unwrap();
        assert_eq!(found, ["127.0.0.1:7000".parse().unwrap()]);
        let ports: Vec<u16> = target.on_every_port(found[0]).iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [7000, 7001, 7002]);
    }

    #[test]
    fn an_interface_stays_with_the_address_and_out_of_the_header() {
        let target: Target = "http://[fe80::1%7]:8080/".parse().unwrap();
        let address: SocketAddr = "[fe80::1%7]:8080".parse().unwrap();
        assert_eq!(target.on_every_port(address), [address]);
        assert_eq!(target.authority(), "[fe80::1]:8080");
    }

    proptest! {
        #[test]
        fn any_text_is_a_target_or_an_error(text in ".{0,60}") {
            drop(text.parse::<Target>());
        }

        #[test]
        fn what_is_shown_parses_to_the_same(host in "[a-z][a-z0-9.-]{0,20}", first in 1u16.., span in 0u16..100, http: bool) {
            let last = first.saturating_add(span);
            let text = if http { format!("http://{host}:{first}/p") } else { format!("{host}:{first}-{last}") };
            let target: Target = text.parse().unwrap();
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }
    }
}
