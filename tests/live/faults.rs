//! A proxy between a controller and the API server, which lets a test say what goes wrong.
//!
//! It speaks HTTP/1.1 without TLS, one request for each connection. Behind it stands `kubectl proxy`, which passes on
//! what it gets to the API server, with the token of an account.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;

use super::cluster::Cluster;
use crate::peer::Peer;

/// A proxy that runs until this goes.
pub struct Proxy {
    /// The URL of it, in the network of the API server.
    pub url: String,
    shared: Arc<Shared>,
    behind: Child,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Answer with a status, in place of the API server, which does not hear of it.
    Answer(u16),
    /// Pass it on, and end the connection in place of an answer.
    CutAfter,
    /// End the connection at once.
    CutBefore,
    /// Begin to answer a watch, and say that its version is too old.
    Expired,
    /// Nothing of that.
    None,
    /// Pass it on after a while.
    Slow(Duration),
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
}

impl Seen {
    /// Returns whether it changes nothing.
    pub fn is_reading(&self) -> bool {
        self.method == "GET"
    }

    /// Returns whether it is answered for as long as there are changes.
    pub fn is_watch(&self) -> bool {
        self.target.contains("watch=true") || self.target.contains("watch=1")
    }
}

type Rule = Box<dyn Fn(&Seen) -> Fault + Send>;

struct Shared {
    upstream: SocketAddr,
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Seen>>,
    open: Mutex<HashMap<usize, [TcpStream; 2]>>,
}

impl Proxy {
    /// Starts one, for whoever has the token of a configuration.
    pub fn start(cluster: &Cluster, kubeconfig: &Path) -> Result<Self, Failed> {
        static PORT: AtomicU16 = AtomicU16::new(7000);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let mut command = cluster.command(&Peer::Kubectl.path().ok_or("there is no kubectl")?)?;
        command.arg("proxy").arg("--kubeconfig").arg(kubeconfig);
        command.args(["--accept-hosts=.*", "--reject-paths=^$", &format!("--port={port}")]);
        command.arg(format!("--address={}", cluster.inside)).env("HOME", &cluster.folder);
        let behind = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let upstream = format!("{}:{port}", cluster.inside).parse()?;
        let listener = TcpListener::bind((cluster.outside.as_str(), 0))?;
        let shared = Arc::new(Shared {
            upstream,
            rule: Mutex::new(Box::new(|_| Fault::None)),
            seen: Mutex::default(),
            open: Mutex::default(),
        });
        let proxy = Self { url: format!("http://{}", listener.local_addr()?), shared, behind };
        super::decryptor::wait("kubectl proxy", || Ok(TcpStream::connect(upstream).ok()))?;
        let shared = Arc::clone(&proxy.shared);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    // Whoever asked sees that it failed.
                    let _ = shared.serve(stream);
                });
            }
        });
        Ok(proxy)
    }

    /// Says from now on what to do with requests.
    pub fn rule(&self, rule: impl Fn(&Seen) -> Fault + Send + 'static) {
        *lock(&self.shared.rule) = Box::new(rule);
    }

    /// Ends all connections that are open, as if the API server had failed.
    pub fn cut(&self) {
        for (_, streams) in lock(&self.shared.open).drain() {
            for stream in streams {
                // It may be closed already.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Returns how many requests came since they were last taken.
    pub fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Returns what came since this was last asked.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.shared.seen))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        // It may have ended.
        let _ = self.behind.kill();
        let _ = self.behind.wait();
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let Some((head, body)) = read_request(&mut client)? else { return Ok(()) };
        let mut words = head.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let seen = Seen { method: word(), target: word() };
        lock(&self.seen).push(seen.clone());
        let fault = (lock(&self.rule))(&seen);
        match fault {
            Fault::Answer(status) => return answer(&mut client, status),
            Fault::CutBefore => return client.shutdown(Shutdown::Both),
            Fault::Expired => return expire(&mut client),
            Fault::Slow(wait) => thread::sleep(wait),
            Fault::CutAfter | Fault::None => {}
        }
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = TcpStream::connect(self.upstream)?;
        lock(&self.open).insert(number, [client.try_clone()?, server.try_clone()?]);
        let passed = pass(client, server, &head, &body, fault);
        lock(&self.open).remove(&number);
        passed
    }
}

/// Passes a request on, and its answer back.
fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    head: &str,
    body: &[u8],
    fault: Fault,
) -> io::Result<()> {
    server.write_all(closing(head).as_bytes())?;
    server.write_all(body)?;
    if matches!(fault, Fault::CutAfter) {
        // The answer tells that it was done.
        server.read_to_end(&mut Vec::new())?;
        return client.shutdown(Shutdown::Both);
    }
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

/// Reads a request; `None` if there is none.
fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16384]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            count => body.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(Some((head, body)))
}

/// Returns the head of a request after which the connection ends.
fn closing(head: &str) -> String {
    let is_of_connection = |line: &str| line.to_ascii_lowercase().starts_with("connection:");
    let lines = head.trim_end().split("\r\n").filter(|line| !is_of_connection(line));
    lines.collect::<Vec<_>>().join("\r\n") + "\r\nConnection: close\r\n\r\n"
}

/// Answers as the API server does when it fails.
fn answer(client: &mut TcpStream, status: u16) -> io::Result<()> {
    let reason = match status {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"made up","reason":"{reason}","code":{status}}}"#
    );
    write!(
        client,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    client.shutdown(Shutdown::Both)
}

/// Answers a watch as the API server does when etcd has forgotten the version that it goes on from.
fn expire(client: &mut TcpStream) -> io::Result<()> {
    let event = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{event}\n"
    )?;
    client.shutdown(Shutdown::Both)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
