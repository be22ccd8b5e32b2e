//! The audit log of the system, by its socket or over the network.

use std::sync::{Mutex, PoisonError};

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use super::{AuditError, Backend, Event};

/// A connection to a log of the system.
pub struct Syslog {
    name: String,
    logger: Mutex<Logger<LoggerBackend, Formatter3164>>,
    /// Where one message ends, if the transport does not tell.
    end: &'static str,
}

impl Syslog {
    /// Connects to a log: the socket of this machine without an address, else `unix:PATH`, `tcp:HOST:PORT` or
    /// `udp:HOST:PORT`.
    ///
    /// # Errors
    /// If the address is none, or nobody is there.
    pub fn open(address: Option<&str>, facility: Option<&str>) -> Result<Self, AuditError> {
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
            "tcp" => syslog::tcp(formatter, rest),
            "udp" => syslog::udp(formatter, "[::]:0", rest),
            "unix" => syslog::unix_custom(formatter, rest),
            _ => return Err(failed("an address is unix:PATH, tcp:HOST:PORT or udp:HOST:PORT".to_owned())),
        };
        let logger = logger.map_err(|error| failed(describe(&error)))?;
        Ok(Self { name, logger: Mutex::new(logger), end: if kind == "tcp" { "\n" } else { "" } })
    }
}

impl Backend for Syslog {
    fn record(&self, event: &Event) -> Result<(), AuditError> {
        let mut logger = self.logger.lock().unwrap_or_else(PoisonError::into_inner);
        let message = format!("{}{}", event.to_json(), self.end);
        logger
            .notice(message)
            .map_err(|error| AuditError::Backend { name: self.name.clone(), why: describe(&error) })
    }
}

/// Returns an error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", describe(cause)),
        None => error.to_string(),
    }
}

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
    fn no_log_is_a_failure() {
        for address in ["unix:/nonexistent", "tcp:127.0.0.1:1", "somewhere", "udp:"] {
            assert!(Syslog::open(Some(address), None).is_err(), "{address}");
        }
        assert!(Syslog::open(Some("udp:127.0.0.1:9"), Some("nothing")).is_err());
    }
}
