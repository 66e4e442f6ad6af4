//! Where Thanos listens and how it is spoken to, read from the arguments that it gets in the end: a user may replace
//! ours.

use std::{net::IpAddr, str::FromStr};

use crds::names::pod;

/// Where a Thanos container listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Its HTTP API, metrics and probes.
    pub http: Address,
    /// What it wants of whoever asks there.
    pub http_access: HttpAccess,
    /// Its StoreAPI; a query frontend has none.
    pub grpc: Option<Address>,
    /// Whether TLS is spoken there.
    pub grpc_tls: bool,
}

/// What somebody needs who asks over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpAccess {
    /// Nothing.
    Plain,
    /// TLS.
    Tls,
    /// TLS, and a certificate.
    ClientTls,
    /// What a web configuration of the user says, which nobody reads here: perhaps TLS, perhaps a password.
    Unread,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Never 0.
    pub port: u16,
    /// Whether only the pod itself reaches it.
    pub loopback: bool,
}

/// The text is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no address to listen on; write it like 0.0.0.0:9090 or [::]:9090, with the port as a number that is not 0"
)]
pub struct NotAnAddress;

// What Thanos takes when nothing is said.
const HTTP_DEFAULT: Address = Address { port: 10902, loopback: false };
const GRPC_DEFAULT: Address = Address { port: 10901, loopback: false };

/// The flag with the web configuration.
pub const HTTP_CONFIG: &str = "--http.config";

// === impl Listen ===

impl Listen {
    /// Reads the arguments of a container, the name of the program first.
    pub fn of(args: &[String]) -> Self {
        let address = |name, default| last(args, name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let has_grpc = args.first().is_none_or(|program| program != "query-frontend");
        Self {
            http: address("--http-address", HTTP_DEFAULT),
            http_access: HttpAccess::of(args),
            grpc: has_grpc.then(|| address("--grpc-address", GRPC_DEFAULT)),
            grpc_tls: last(args, "--grpc-server-tls-cert").is_some_and(|path| !path.is_empty()),
        }
    }
}

// === impl HttpAccess ===

impl HttpAccess {
    /// Reads the arguments of a container.
    pub fn of(args: &[String]) -> Self {
        let file = |path: &'_ str| {
            let name = path.strip_prefix(pod::HTTP_TLS_FOLDER)?.strip_prefix('/')?;
            [(pod::HTTP_TLS_FILE, Self::Tls), (pod::HTTP_CLIENT_TLS_FILE, Self::ClientTls)]
                .into_iter()
                .find_map(|(own, access)| (own == name).then_some(access))
        };
        match last(args, HTTP_CONFIG) {
            None | Some("") => Self::Plain,
            Some(path) => file(path).unwrap_or(Self::Unread),
        }
    }
}

// === impl Address ===

impl FromStr for Address {
    type Err = NotAnAddress;

    /// Reads `0.0.0.0:9090`, `:9090`, `[::]:9090`, `localhost:9090`. The host may be a variable that the kubelet fills
    /// in; the port may not, since the Service needs it.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(NotAnAddress)?;
        let bare = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|rest| rest.contains(':')).ok_or(NotAnAddress)?,
            None if host.contains(':') => return Err(NotAnAddress),
            None => host,
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number && port > 0 => Ok(Self {
                port,
                loopback: bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            }),
            _ => Err(NotAnAddress),
        }
    }
}

/// The path below which a querier serves its API: `/`, or one that begins with `/` and does not end with it.
///
/// Without a route prefix Thanos takes the external prefix as it stands, not only its path.
pub fn route_prefix(args: &[String]) -> String {
    let prefix = |name| last(args, name).filter(|prefix| !prefix.is_empty());
    let prefix = prefix("--web.route-prefix").or_else(|| prefix("--web.external-prefix")).unwrap_or_default();
    format!("/{}", prefix.trim_matches('/'))
}

/// The value of a flag as it counts.
pub fn last<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    args.iter().rev().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(args: &[&str]) -> Vec<String> {
        args.iter().map(|&arg| arg.to_owned()).collect()
    }

    #[test]
    fn ports_are_read_from_every_form_of_address() {
        for text in ["0.0.0.0:9090", ":9090", "[::]:9090", "10.0.0.1:9090", "$(POD_IP):9090"] {
            assert_eq!(text.parse(), Ok(Address { port: 9090, loopback: false }), "{text}");
        }
        for text in ["127.0.0.1:9090", "localhost:9090", "[::1]:9090"] {
            assert_eq!(text.parse(), Ok(Address { port: 9090, loopback: true }), "{text}");
        }
    }

    #[test]
    fn what_gives_no_port_is_refused() {
        for text in [
            "",
            "9090",
            "0.0.0.0",
            ":http",
            ":0",
            ":+1",
            ":65536",
            "::1:9090",
            "[::1:9090",
            "[a]:1",
            ":$(PORT)",
        ] {
            assert_eq!(text.parse::<Address>(), Err(NotAnAddress), "{text}");
        }
    }

    #[test]
    fn a_querier_listens_where_its_arguments_say() {
        let listen = Listen::of(&args(&["query", "--http-address=127.0.0.1:1", "--grpc-address=:2"]));
        assert_eq!(listen.http, Address { port: 1, loopback: true });
        assert_eq!(listen.grpc, Some(Address { port: 2, loopback: false }));
    }

    #[test]
    fn without_an_address_the_defaults_of_thanos_hold_and_a_frontend_has_no_grpc() {
        let listen = Listen::of(&args(&["query"]));
        assert_eq!((listen.http.port, listen.grpc.map(|grpc| grpc.port)), (10902, Some(10901)));
        assert_eq!(Listen::of(&args(&["query-frontend", "--http-address=:9090"])).grpc, None);
    }

    #[test]
    fn how_it_is_spoken_to_is_told_by_the_web_configuration_that_it_gets() {
        let access = |path: &str| HttpAccess::of(&args(&["query", &format!("--http.config={path}")]));
        assert_eq!(HttpAccess::of(&args(&["query"])), HttpAccess::Plain);
        assert_eq!(access(""), HttpAccess::Plain);
        assert_eq!(access("/etc/thanos/http-tls/tls.yaml"), HttpAccess::Tls);
        assert_eq!(access("/etc/thanos/http-tls/client-tls.yaml"), HttpAccess::ClientTls);
        for path in
            ["/etc/thanos/http-config/web-config.yaml", "/mine.yaml", "$(FILE)", "/etc/thanos/http-tls/x"]
        {
            assert_eq!(access(path), HttpAccess::Unread, "{path}");
        }
    }

    #[test]
    fn grpc_speaks_tls_with_a_certificate() {
        let tls = |more: &[&str]| Listen::of(&args(&[&["query"], more].concat())).grpc_tls;
        assert!(tls(&["--grpc-server-tls-cert=/a", "--grpc-server-tls-key=/b"]));
        assert!(!tls(&[]) && !tls(&["--grpc-server-tls-cert="]));
    }

    #[test]
    fn the_route_prefix_wins_over_the_external_one() {
        let external = "--web.external-prefix=/outside/";
        assert_eq!(route_prefix(&args(&["query"])), "/");
        assert_eq!(route_prefix(&args(&["query", external])), "/outside");
        assert_eq!(route_prefix(&args(&["query", external, "--web.route-prefix=/"])), "/");
        assert_eq!(route_prefix(&args(&["query", external, "--web.route-prefix="])), "/outside");
        assert_eq!(route_prefix(&args(&["query", "--web.route-prefix=a/b"])), "/a/b");
    }
}
