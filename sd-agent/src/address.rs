//! One address as Thanos reads it: `[prefix+]host[:port]`. Parsed strictly, because it ends up in flags and files.
//!
//! Facts: reference "How `thanos query` discovers endpoints", sections 2.4 and 4.1.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest address that is accepted, in bytes: a DNS name has at most 253, the rest is prefix, labels, port.
pub const MAX_LENGTH: usize = 400;

/// An address that Thanos can use: dialled as it stands, or looked up when it has a [`Lookup`] prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    lookup: Lookup,
    host: String,
    port: Option<u16>,
}

/// What Thanos does with the host before it dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lookup {
    /// No prefix: one endpoint, the name is left to gRPC.
    None,
    /// `dns+`: every A or AAAA address is an endpoint; needs a port.
    Dns,
    /// `dnssrv+`: every SRV record is an endpoint, by IP.
    DnsSrv,
    /// `dnssrvnoa+`: every SRV record is an endpoint, by host name.
    DnsSrvNoA,
    /// `dnsdualstack+`: A and AAAA; needs a port and Thanos 0.42.
    DnsDualStack,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than [`MAX_LENGTH`].
    #[error("address of {0} bytes is longer than {MAX_LENGTH}")]
    TooLong(usize),
    /// The part before `+` is no lookup that Thanos knows.
    #[error("address {0:?}: unknown prefix, use dns+, dnssrv+, dnssrvnoa+ or none")]
    Prefix(String),
    /// The host is no DNS name, IPv4 address or bracketed IPv6 address.
    #[error("address {0:?}: the host is no DNS name, IPv4 address or [IPv6] address")]
    Host(String),
    /// The port is missing or no number from 1 to 65535.
    #[error("address {0:?}: needs a port from 1 to 65535")]
    Port(String),
}

// === impl Address ===

impl Address {
    /// `host:port`, dialled as it stands.
    ///
    /// # Errors
    /// When `host` is no valid host.
    pub fn plain(host: &str, port: u16) -> Result<Self, AddressError> {
        Self::parse(&format!("{host}:{port}"))
    }

    /// `dns+host:port`.
    ///
    /// # Errors
    /// When `host` is no valid host.
    pub fn dns(host: &str, port: u16) -> Result<Self, AddressError> {
        Self::parse(&format!("dns+{host}:{port}"))
    }

    /// `dnssrv+_<port name>._tcp.<host>`.
    ///
    /// # Errors
    /// When `port_name` or `host` is no valid part of a DNS name.
    pub fn dnssrv(port_name: &str, host: &str) -> Result<Self, AddressError> {
        Self::parse(&format!("dnssrv+_{port_name}._tcp.{host}"))
    }

    fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_LENGTH {
            return Err(AddressError::TooLong(text.len()));
        }
        let (lookup, rest) = match text.split_once('+') {
            None => (Lookup::None, text),
            Some((prefix, rest)) => {
                (Lookup::from_prefix(prefix).ok_or_else(|| AddressError::Prefix(text.to_owned()))?, rest)
            }
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (rest, None),
        };
        if !is_host(host, lookup) {
            return Err(AddressError::Host(text.to_owned()));
        }
        let port = match port {
            None if lookup.finds_the_port() => None,
            Some(port) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port: u16 = port.parse().map_err(|_| AddressError::Port(text.to_owned()))?;
                if port == 0 {
                    return Err(AddressError::Port(text.to_owned()));
                }
                Some(port)
            }
            _ => return Err(AddressError::Port(text.to_owned())),
        };
        Ok(Self { lookup, host: host.to_owned(), port })
    }

    /// The same with another host.
    ///
    /// # Errors
    /// When `host` is no valid host.
    pub fn with_host(&self, host: String) -> Result<Self, AddressError> {
        if !is_host(&host, self.lookup) {
            return Err(AddressError::Host(host));
        }
        let address = Self { lookup: self.lookup, host, port: self.port };
        match address.to_string().len() {
            length if length > MAX_LENGTH => Err(AddressError::TooLong(length)),
            _ => Ok(address),
        }
    }

    /// The prefix.
    pub fn lookup(&self) -> Lookup {
        self.lookup
    }

    /// Whether Thanos asks a DNS server about it by itself. A name without a prefix is left to gRPC.
    pub fn is_looked_up(&self) -> bool {
        self.lookup != Lookup::None
    }

    /// The host as it is written: the name that is looked up.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when the address carries one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The host without `_port._tcp.` labels and trailing dot: what the address is about.
    pub fn target(&self) -> &str {
        let mut host = self.host.as_str();
        while host.starts_with('_') {
            host = host.split_once('.').map_or("", |(_, rest)| rest);
        }
        host.strip_suffix('.').unwrap_or(host)
    }

    /// Whether `flagged` names (a part of) what this address names, perhaps in another spelling: the same host
    /// or, where this one is looked up by SRV, a host below it, and the same port where both have one.
    ///
    /// This is how the agent knows which endpoints its own Thanos already has as flags: a strict endpoint
    /// `pod-0.store.ns.svc:10901` is covered by `dnssrv+_grpc._tcp.store.ns.svc`.
    pub fn covers(&self, flagged: &Self) -> bool {
        let (whole, part) = (self.target(), flagged.target());
        // Hosts are ASCII, and a spelling of our own may have letters of the other case.
        let is_below = || {
            let (before, end) = part.split_at(part.len().saturating_sub(whole.len()));
            before.ends_with('.') && end.eq_ignore_ascii_case(whole)
        };
        let same_or_below = part.eq_ignore_ascii_case(whole) || self.lookup.finds_the_port() && is_below();
        let same_port = match (self.port, flagged.port) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        same_or_below && same_port
    }

    /// Whether this address is looked up by SRV and `part` is one of the hosts that such a record has: one label longer.
    pub fn is_whole_of(&self, part: &Self) -> bool {
        let is_pod = |(_, whole): (&str, &str)| whole.eq_ignore_ascii_case(self.target());
        self.lookup.finds_the_port() && part.target().split_once('.').is_some_and(is_pod)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.lookup.prefix())?;
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

// === impl Lookup ===

impl Lookup {
    fn from_prefix(prefix: &str) -> Option<Self> {
        [Self::Dns, Self::DnsSrv, Self::DnsSrvNoA, Self::DnsDualStack]
            .into_iter()
            .find(|lookup| lookup.prefix().strip_suffix('+') == Some(prefix))
    }

    /// As written in front of the host, with its `+`; empty for [`Lookup::None`].
    pub fn prefix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Dns => "dns+",
            Self::DnsSrv => "dnssrv+",
            Self::DnsSrvNoA => "dnssrvnoa+",
            Self::DnsDualStack => "dnsdualstack+",
        }
    }

    /// SRV records carry the port, so the address needs none.
    fn finds_the_port(self) -> bool {
        matches!(self, Self::DnsSrv | Self::DnsSrvNoA)
    }
}

fn is_host(host: &str, lookup: Lookup) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return lookup == Lookup::None && inner.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect(text)
    }

    #[test]
    fn an_address_prints_as_it_was_written() {
        for text in [
            "store.demo.svc:10901",
            "10.0.0.7:19090",
            "[fd00::1]:10901",
            "dns+store.demo.svc.cluster.local:10901",
            "dnssrv+_grpc._tcp.store.demo.svc.cluster.local",
            "dnssrvnoa+_grpc._tcp.store.demo.svc:10901",
        ] {
            assert_eq!(address(text).to_string(), text);
        }
    }

    #[test]
    fn what_thanos_would_misread_is_refused() {
        for text in [
            "",
            "store",
            "store:",
            "store:0",
            "dnssrv+_grpc._tcp.store:0",
            "store:99999",
            "store:+1",
            "dns+store",
            "foo+store:1",
            "fd00::1:10901",
            "dns+[fd00::1]:1",
            "-x.y:1",
            "a b:1",
            "a\n:1",
            "--endpoint=a:1",
            "a..b:1",
            ":10901",
            "store:10901,other:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?} was accepted");
        }
        assert!(format!("{}:1", "a.".repeat(300)).parse::<Address>().is_err());
    }

    #[test]
    fn an_srv_name_is_the_whole_of_the_hosts_just_below_it() {
        let whole = address("dnssrv+_grpc._tcp.store.demo.svc.cluster.local");
        assert!(whole.is_whole_of(&address("store-0.Store.demo.svc.cluster.local:10901")));
        for other in
            ["store.demo.svc.cluster.local:1", "a.b.store.demo.svc.cluster.local:1", "x.other.demo.svc:1"]
        {
            assert!(!whole.is_whole_of(&address(other)), "{other}");
        }
        assert!(!address("dns+thanos.example:1").is_whole_of(&address("eu.thanos.example:1")));
    }

    #[test]
    fn an_address_covers_other_spellings_of_itself() {
        let headless = address("dnssrv+_grpc._tcp.store.demo.svc.cluster.local");
        assert!(headless.covers(&address("store.demo.svc.cluster.local:10901")));
        assert!(headless.covers(&address("dns+store.demo.svc.cluster.local:10901")));
        assert!(headless.covers(&address("store-0.store.demo.svc.cluster.local:10901")));
        let plain = address("store.demo.svc.cluster.local:80");
        assert!(plain.covers(&address("dns+store.demo.svc.cluster.local:80")));
        assert!(plain.covers(&address("Store.demo.svc.cluster.local:80")));
        assert!(headless.covers(&address("store-0.sTore.demo.svc.cluster.local:10901")));
    }

    #[test]
    fn an_address_does_not_cover_another_host_or_port() {
        let plain = address("store.demo.svc.cluster.local:80");
        assert!(!plain.covers(&address("store.demo.svc.cluster.local:81")));
        assert!(!plain.covers(&address("otherstore.demo.svc.cluster.local:80")));
        assert!(!plain.covers(&address("store.demo2.svc.cluster.local:80")));
        assert!(!address("store-0.store.demo.svc:1").covers(&address("store.demo.svc:1")));
        // Two names of the same domain are two endpoints.
        assert!(!address("thanos.example:1").covers(&address("eu.thanos.example:1")));
    }
}
