//! The audit log of the system, by its socket or over the network.
//!
//! Its protocol has no receipts: a message that was sent over the network may be lost on its way, and over TCP also in
//! a server that ends before it has read it.

use std::io::{self, BufWriter};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use super::{AuditError, Backend, Event};

/// A connection to a log of the system.
pub struct Syslog {
    name: String,
    logger: Mutex<Logger<LoggerBackend, Formatter3164>>,
    /// Where one message ends, if the transport does not tell.
    end: &'static str,
    limit: Duration,
}

impl Syslog {
    /// Connects to a log: the socket of this machine without an address, else `unix:PATH`, `tcp:HOST:PORT` or
    /// `udp:HOST:PORT`.
    ///
    /// # Errors
    /// If the address is none, or nobody is there.
    pub fn open(address: Option<&str>, facility: Option<&str>) -> Result<Self, AuditError> {
        Self::open_within(address, facility, LIMIT)
    }

    /// Connects as [`open()`](Self::open) does; neither that nor a message may take longer than `limit`.
    fn open_within(
        address: Option<&str>,
        facility: Option<&str>,
        limit: Duration,
    ) -> Result<Self, AuditError> {
        let name = format!("syslog {}", address.unwrap_or("of this machine"));
        let failed = |why: String| AuditError::Backend { name: name.clone(), why };
        let facility = facility.unwrap_or("authpriv").to_lowercase();
        let facility: Facility =
            facility.parse().map_err(|()| failed(format!("there is no facility {facility}")))?;
        let formatter =
            Formatter3164 { facility, process: "kubectl-seal".to_owned(), ..Formatter3164::default() };
        let (kind, rest) =
            address.map_or(("", ""), |address| address.split_once(':').unwrap_or((address, "")));
        let logger = match kind {
            "" => syslog::unix(formatter),
            "tcp" => connect(rest, limit)
                .map(|stream| Logger { formatter, backend: LoggerBackend::Tcp(BufWriter::new(stream)) })
                .map_err(Into::into),
            "udp" => syslog::udp(formatter, "[::]:0", rest),
            "unix" => syslog::unix_custom(formatter, rest),
            _ => return Err(failed("an address is unix:PATH, tcp:HOST:PORT or udp:HOST:PORT".to_owned())),
        };
        let logger = logger.map_err(|error| failed(describe(&error, limit)))?;
        limit_writes(&logger.backend, limit).map_err(|error| failed(error.to_string()))?;
        Ok(Self { name, logger: Mutex::new(logger), end: if kind == "tcp" { "\n" } else { "" }, limit })
    }
}

impl Backend for Syslog {
    fn record(&self, event: &Event) -> Result<(), AuditError> {
        let mut logger = self.logger.lock().unwrap_or_else(PoisonError::into_inner);
        let message = format!("{}{}", event.to_json(), self.end);
        logger.notice(message).map_err(|error| {
            // A part of the message may be under way: nothing can follow it, and nothing waits for it again.
            give_up(&logger.backend);
            AuditError::Backend { name: self.name.clone(), why: describe(&error, self.limit) }
        })
    }
}

/// Connects to the first address of a name that answers.
fn connect(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let begin = Instant::now();
    let mut failed = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        let left = limit.saturating_sub(begin.elapsed()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Says how long a message may take. Those over UDP take no time.
fn limit_writes(backend: &LoggerBackend, limit: Duration) -> io::Result<()> {
    match backend {
        LoggerBackend::Tcp(stream) => stream.get_ref().set_write_timeout(Some(limit)),
        #[cfg(unix)]
        LoggerBackend::Unix(socket) => socket.set_write_timeout(Some(limit)),
        #[cfg(unix)]
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_write_timeout(Some(limit)),
        _ => Ok(()),
    }
}

/// Ends a connection, unless it is one of messages that stand alone.
fn give_up(backend: &LoggerBackend) {
    let ended = match backend {
        LoggerBackend::Tcp(stream) => stream.get_ref().shutdown(Shutdown::Both),
        #[cfg(unix)]
        LoggerBackend::UnixStream(stream) => stream.get_ref().shutdown(Shutdown::Both),
        _ => Ok(()),
    };
    // If it is at its end already, so much the better.
    ended.unwrap_or(());
}

/// Says what happened.
fn describe(error: &syslog::Error, limit: Duration) -> String {
    match error {
        syslog::Error::Write(cause) | syslog::Error::Io(cause)
            if matches!(cause.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) =>
        {
            format!("nobody took anything within {} s", limit.as_secs())
        }
        error => error.to_string(),
    }
}

/// How long a log may take.
const LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::audit::Deed;

    fn event() -> Event {
        let text = str::to_owned;
        let (user, host, time) = (text("u"), text("h"), text("2026-01-02T03:04:05Z"));
        Event { deed: Deed::Decrypt, file: text("/a\n.yaml"), user, host, time }
    }

    fn is_whole(message: &str) -> bool {
        // The facility 10, authpriv, and the severity 5, notice.
        message.starts_with("<85>")
            && message.contains(r#""action":"decrypt""#)
            && message.contains(r"/a\n.yaml")
    }

    #[test]
    fn events_go_to_every_kind_of_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let (unix, udp) =
            (UnixDatagram::bind(&path).expect("a socket"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = |address: String| Syslog::open(Some(&address), None).expect("a log");
        let mut buffer = [0; 2048];
        open(format!("unix:{}", path.display())).record(&event()).expect("sent");
        let length = unix.recv(&mut buffer).expect("received");
        assert!(is_whole(&String::from_utf8_lossy(&buffer[..length])));
        open(format!("udp:{}", udp.local_addr().expect("an address"))).record(&event()).expect("sent");
        let length = udp.recv(&mut buffer).expect("received");
        assert!(is_whole(&String::from_utf8_lossy(&buffer[..length])));
        let log = open(format!("tcp:{}", tcp.local_addr().expect("an address")));
        log.record(&event()).expect("sent");
        let mut line = String::new();
        BufReader::new(tcp.accept().expect("connected").0).read_line(&mut line).expect("a line");
        assert!(is_whole(&line));
    }

    #[test]
    fn a_log_that_takes_nothing_holds_up_nobody_for_long() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("tcp:{}", tcp.local_addr().expect("an address"));
        let limit = Duration::from_millis(50);
        let log = Syslog::open_within(Some(&address), None, limit).expect("a log");
        // Until all that lies in between is full.
        let long = Event { file: "x".repeat(1 << 20), ..event() };
        let failure = (0..1000).find_map(|_| log.record(&long).err()).expect("a failure");
        assert!(failure.to_string().ends_with("nobody took anything within 0 s"), "{failure}");
        let begin = Instant::now();
        log.record(&event()).expect_err("the connection is at its end");
        drop(log);
        assert!(begin.elapsed() < limit, "nothing is waited for again");
    }

    #[test]
    fn no_log_is_a_failure() {
        for address in ["unix:/nonexistent", "tcp:127.0.0.1:1", "somewhere", "udp:"] {
            assert!(Syslog::open(Some(address), None).is_err(), "{address}");
        }
        assert!(Syslog::open(Some("udp:127.0.0.1:9"), Some("nothing")).is_err());
    }
}
