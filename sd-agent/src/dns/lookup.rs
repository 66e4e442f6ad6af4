//! Looks an address up as Thanos does, to see whether that fails. What it finds is of no interest here.
//!
//! No resolver library does it this way: they take the last candidate of the search path for the answer, and its "no
//! such name" hides the error before it. For Thanos one error is a failure, unless another candidate has an answer
//! (`pkg/discovery/dns/miekgdns/lookup.go`).

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    message::{Answer, Kind, NoAnswer, Question, Records, UDP_LIMIT},
    resolv_conf::ResolvConf,
};
use crate::{Address, address::Lookup, backoff::random};

/// Thanos waits as long for a server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// More names than this are not followed for one address: answers come from outside.
const NAMES: usize = 64;

/// Asks the DNS servers of this pod.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Read for each address, as Thanos does.
    pub file: PathBuf,
    /// Where the servers listen.
    pub port: u16,
}

/// Why Thanos has no answer for an address.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is nobody to ask.
    #[error("{} names no DNS server", path.display())]
    NoServer {
        /// The file that should.
        path: PathBuf,
    },
    /// The file with the servers cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no name, so nobody can be asked for it.
    #[error("{0} is no DNS name")]
    Name(String),
    /// The server says that it cannot tell.
    #[error("{server} answers {code} for {name}")]
    Refused {
        /// The server.
        server: IpAddr,
        /// Its error, by name.
        code: String,
        /// What it was asked for.
        name: String,
    },
    /// The server says nothing in time.
    #[error("{server} gives no answer for {name} within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent {
        /// The server.
        server: IpAddr,
        /// What it was asked for.
        name: String,
    },
    /// The server cannot be reached.
    #[error("cannot ask {server} for {name}")]
    Io {
        /// The server.
        server: IpAddr,
        /// What it was asked for.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the server says makes no sense.
    #[error("{server} sends {what} for {name}")]
    NoAnswer {
        /// The server.
        server: IpAddr,
        /// What it was asked for.
        name: String,
        /// What came instead.
        what: NoAnswer,
    },
}

// === impl Resolver ===

impl Default for Resolver {
    fn default() -> Self {
        Self { file: PathBuf::from("/etc/resolv.conf"), port: 53 }
    }
}

impl Resolver {
    /// Looks up everything that Thanos does for `address`.
    ///
    /// # Errors
    /// When that fails for Thanos, too. That a name or a record does not exist is no failure.
    pub async fn look_up(&self, address: &Address) -> Result<(), Failure> {
        let text = fs::read_to_string(&self.file);
        let text = text.map_err(|source| Failure::File { path: self.file.clone(), source })?;
        let conf = ResolvConf::parse(&text);
        if conf.servers.is_empty() {
            return Err(Failure::NoServer { path: self.file.clone() });
        }
        let asking = Asking { port: self.port, conf };
        let host = address.host();
        match address.lookup() {
            Lookup::None => Ok(()),
            Lookup::Dns => asking.addresses(host).await,
            Lookup::DnsDualStack => asking.both_families(host).await,
            Lookup::DnsSrvNoA => asking.services(host).await.map(|_| ()),
            Lookup::DnsSrv => {
                for target in asking.services(host).await? {
                    asking.addresses(&target).await?;
                }
                Ok(())
            }
        }
    }
}

/// What a name is looked up for.
#[derive(Clone, Copy)]
enum Wanted {
    Records(Kind),
    /// IPv6 addresses, and IPv4 ones when there are none.
    EitherFamily,
}

/// One look-up.
struct Asking {
    port: u16,
    conf: ResolvConf,
}

// === impl Asking ===

impl Asking {
    async fn addresses(&self, host: &str) -> Result<(), Failure> {
        self.followed(host, Wanted::EitherFamily).await.map(|_| ())
    }

    /// Each family may fail when the other has addresses.
    async fn both_families(&self, host: &str) -> Result<(), Failure> {
        let six = self.followed(host, Wanted::Records(Kind::Aaaa)).await;
        let four = self.followed(host, Wanted::Records(Kind::A)).await;
        match (six, four) {
            (Ok(found), Err(failure)) | (Err(failure), Ok(found)) if found.count == 0 => Err(failure),
            (Err(failure), Err(_)) => Err(failure),
            _ => Ok(()),
        }
    }

    /// The hosts of a service.
    async fn services(&self, host: &str) -> Result<Vec<String>, Failure> {
        Ok(self.followed(host, Wanted::Records(Kind::Srv)).await?.targets)
    }

    /// Asks for `host`, then for what it stands for. All of them have to succeed.
    async fn followed(&self, host: &str, wanted: Wanted) -> Result<Records, Failure> {
        let mut all = Records::default();
        let mut names = vec![host.to_owned()];
        let mut asked = 0;
        while let Some(name) = names.pop()
            && asked < NAMES
        {
            asked += 1;
            let Records { count, aliases, targets } = match wanted {
                Wanted::Records(kind) => self.search(&name, kind).await?,
                Wanted::EitherFamily => match self.search(&name, Kind::Aaaa).await {
                    Ok(records) if records.count > 0 => records,
                    // Whatever became of the first question, the second decides.
                    _ => self.search(&name, Kind::A).await?,
                },
            };
            all.count += count.saturating_sub(aliases.len());
            names.extend(aliases.into_iter().take(NAMES));
            all.targets.extend(targets);
        }
        all.targets.truncate(NAMES);
        Ok(all)
    }

    /// Asks for each candidate of `name` until one exists.
    async fn search(&self, name: &str, kind: Kind) -> Result<Records, Failure> {
        let mut first = None;
        for candidate in self.conf.candidates(name) {
            match self.any_server(&candidate, kind).await {
                Ok(Some(records)) => return Ok(records),
                Ok(None) => {}
                Err(failure) => drop(first.get_or_insert(failure)),
            }
        }
        first.map_or_else(|| Ok(Records::default()), Err)
    }

    /// Asks the servers until one can tell; none when there is no such name.
    async fn any_server(&self, name: &str, kind: Kind) -> Result<Option<Records>, Failure> {
        let mut first = None;
        for &server in &self.conf.servers {
            let failure = match self.server(server, name, kind).await {
                Ok(Answer::Records(records)) => return Ok(Some(records)),
                Ok(Answer::NoSuchName) => return Ok(None),
                Ok(Answer::Error(code)) => Failure::Refused { server, code, name: name.to_owned() },
                // Over TCP, too.
                Ok(Answer::Truncated) => {
                    Failure::NoAnswer { server, name: name.to_owned(), what: NoAnswer::Damaged }
                }
                Err(failure) => failure,
            };
            first.get_or_insert(failure);
        }
        first.map_or_else(|| Ok(None), Err)
    }

    async fn server(&self, server: IpAddr, name: &str, kind: Kind) -> Result<Answer, Failure> {
        let id = random() as u16;
        let question = Question::new(id, name, kind).ok_or_else(|| Failure::Name(name.to_owned()))?;
        let bytes = question.to_bytes().ok_or_else(|| Failure::Name(name.to_owned()))?;
        let address = SocketAddr::new(server, self.port);
        let of = |result| match result {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(what))) => Err(Failure::NoAnswer { server, name: name.to_owned(), what }),
            Ok(Err(source)) => Err(Failure::Io { server, name: name.to_owned(), source }),
            Err(_) => Err(Failure::Silent { server, name: name.to_owned() }),
        };
        match of(timeout(ANSWER_TIMEOUT, over_udp(address, &question, &bytes)).await)? {
            Answer::Truncated => of(timeout(ANSWER_TIMEOUT, over_tcp(address, &question, &bytes)).await),
            answer => Ok(answer),
        }
    }
}

/// Waits for the answer, past whatever else comes.
async fn over_udp(
    server: SocketAddr,
    question: &Question,
    bytes: &[u8],
) -> io::Result<Result<Answer, NoAnswer>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(UDP_LIMIT)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match question.read(&buffer[..length]) {
            Err(NoAnswer::Foreign) => {}
            answer => return Ok(answer),
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    question: &Question,
    bytes: &[u8],
) -> io::Result<Result<Answer, NoAnswer>> {
    let mut stream = TcpStream::connect(server).await?;
    // A question is a name and some bytes.
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    Ok(question.read(&buffer))
}
