//! Being a key service for others: what both faces share. Where it listens, who is asked before a key is used, and how
//! it ends.

#[cfg(unix)]
mod socket;

use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use selkie::keys::{KeyError, KeyService, Remote};
use selkie::keyservice::{Address, Gate, KeyServer, Listener, Operation, Peer, Use};
use tokio::sync::oneshot;

use crate::signals;

/// Why others cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyServerError {
    /// Other machines could use the keys.
    #[error(
        "whoever reaches {0} could use your keys: there is no encryption, and nobody is asked who they are"
    )]
    Exposed(String),
    /// Somebody else listens there.
    #[error("another key service listens at {0}")]
    InUse(Address),
    /// What there is at the path is not a socket.
    #[error("{0} is there already, and is no socket")]
    NotASocket(String),
    /// Nobody can listen there.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// There are no threads or signals.
    #[error("cannot serve: {0}")]
    Serve(String),
}

/// What a key service listens at, and what it leaves behind when it is dropped: nothing.
pub struct Place {
    /// Where it is.
    pub address: Address,
    listener: Listener,
    leftover: Option<Leftover>,
}

/// What has to be removed.
#[cfg(unix)]
type Leftover = socket::Socket;
#[cfg(not(unix))]
type Leftover = ();

/// A use of a key that somebody asks for.
pub struct Asked {
    /// What is to be done.
    pub operation: Operation,
    /// The kind of the key.
    pub kind: &'static str,
    /// The name of the key.
    pub key: String,
    /// Who asks.
    pub peer: Option<Peer>,
}

/// What the person who runs the service is told and asked, in the words of a face.
pub trait Voice {
    /// Hears that others are served from now on.
    fn begins(&self);

    /// Returns whether a key may be used.
    fn asks(&self, asked: &Asked) -> bool;

    /// Returns whether the audit log takes it that a key is about to be used.
    fn records(&self, asked: &Asked) -> bool;

    /// Hears how a use of a key ended, in a few words.
    fn used(&self, asked: &Asked, how: &str);

    /// Hears of somebody who is not served.
    fn turned_away(&self, peer: &Peer);

    /// Hears of the signal that ends the service.
    fn ends(&self, signal: i32);
}

impl Place {
    /// Begins to listen. At a socket, these further users are served, by their numbers.
    ///
    /// # Errors
    /// If that is not possible, or if other machines could use the keys and that is not allowed.
    pub fn new(address: Address, users: &[u32], allows_network: bool) -> Result<Self, KeyServerError> {
        match address {
            Address::Tcp { host, port } => Self::at_port(host, port, allows_network),
            #[cfg(unix)]
            Address::Unix { path, users: named } => {
                let users = [users, &named].concat();
                let (listener, socket) = socket::bind(&path, !users.is_empty())?;
                Ok(Self {
                    address: Address::Unix { path, users: Vec::new() },
                    listener: Listener::Unix { listener, users },
                    leftover: Some(socket),
                })
            }
            #[cfg(not(unix))]
            address => {
                let _ = users;
                Err(KeyServerError::Listen { address, source: io::ErrorKind::Unsupported.into() })
            }
        }
    }

    /// Returns whether other machines, or other users of this one, may reach the service.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match &self.listener {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) if address.ip().is_loopback() => Reach::Machine,
                _ => Reach::Network,
            },
            #[cfg(unix)]
            Listener::Unix { .. } => Reach::User,
        }
    }

    fn at_port(host: String, port: u16, allows_network: bool) -> Result<Self, KeyServerError> {
        let address = Address::Tcp { host, port };
        let Address::Tcp { host, port } = &address else { return Err(KeyServerError::InUse(address)) };
        let failed = |source| KeyServerError::Listen { address: address.clone(), source };
        // As in Go, no host is every one.
        let host = if host.is_empty() { "::" } else { host.as_str() };
        let places: Vec<_> = (host, *port).to_socket_addrs().map_err(failed)?.collect();
        if !allows_network && places.iter().any(|place| !place.ip().is_loopback()) {
            return Err(KeyServerError::Exposed(address.to_string()));
        }
        let listener = TcpListener::bind(&*places).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => KeyServerError::InUse(address.clone()),
            _ => failed(source),
        })?;
        // The one that the system chose, if it was to choose.
        let port = listener.local_addr().map_err(failed)?.port();
        let host = host.to_owned();
        Ok(Self { address: Address::Tcp { host, port }, listener: Listener::Tcp(listener), leftover: None })
    }
}

/// Who may reach a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every user of this machine.
    Machine,
    /// Every user of other machines.
    Network,
    /// Whoever runs it, and those that were named.
    User,
}

/// Serves until a signal comes. If `asks`, the voice is asked before each use of a key.
///
/// # Errors
/// If the service cannot be started, or breaks off.
pub fn serve(
    place: Place,
    services: Vec<Box<dyn KeyService>>,
    voice: &dyn Voice,
    asks: bool,
) -> Result<(), KeyServerError> {
    let (sender, events) = mpsc::channel();
    let broken = |error: &dyn std::error::Error| KeyServerError::Serve(error.to_string());
    let Place { listener, leftover, .. } = place;
    let (leftover, is_asking) = (Arc::new(Mutex::new(leftover)), Arc::new(AtomicBool::new(false)));
    let ending = Ending { leftover: Arc::clone(&leftover), is_asking: Arc::clone(&is_asking) };
    let on_signal = sender.clone();
    let _watch = signals::Watch::new(move |signal| {
        // Whoever listens has ended if nobody does.
        let _ = on_signal.send(Event::Signal(signal));
        ending.clone().insist();
    })
    .map_err(|error| broken(&error))?;
    let desk = Desk { events: sender.clone(), questions: asks.then(Mutex::default) };
    let (end, ended) = oneshot::channel::<()>();
    let remote = Remote::default();
    // Before the thread, so that what is wrong is told here.
    remote.runtime().map_err(|error| broken(&error))?;
    let server = KeyServer::new(services, desk);
    thread::spawn(move || {
        let served = remote.runtime().map_err(|error| error.to_string()).and_then(|runtime| {
            let end = async move { drop(ended.await) };
            runtime.block_on(server.serve(listener, end)).map_err(|error| error.to_string())
        });
        // As above.
        let _ = sender.send(Event::Ended(served));
    });
    voice.begins();
    let result = attend(&events, voice, end, &is_asking);
    lock(&leftover).take();
    result
}

/// Ends the process if a signal does not do so in time: a person may be thinking about a question.
#[derive(Clone)]
struct Ending {
    leftover: Arc<Mutex<Option<Leftover>>>,
    is_asking: Arc<AtomicBool>,
}

impl Ending {
    fn insist(self) {
        thread::spawn(move || {
            let deadline = Instant::now() + 2 * GRACE;
            while Instant::now() < deadline && !self.is_asking.load(Ordering::SeqCst) {
                thread::sleep(GRACE / 100);
            }
            lock(&self.leftover).take();
            signals::exit(0);
        });
    }
}

/// Tells and asks what comes up until the service has ended.
fn attend(
    events: &Receiver<Event>,
    voice: &dyn Voice,
    end: oneshot::Sender<()>,
    is_asking: &AtomicBool,
) -> Result<(), KeyServerError> {
    let (mut end, mut deadline) = (Some(end), None);
    loop {
        let event = match deadline {
            None => events.recv().ok(),
            Some(deadline) => {
                events.recv_timeout(Instant::saturating_duration_since(&deadline, Instant::now())).ok()
            }
        };
        match event {
            Some(Event::Asks { asked, by_person, answer }) => {
                let is_admitted = deadline.is_none()
                    && (!by_person || {
                        is_asking.store(true, Ordering::SeqCst);
                        let is_admitted = voice.asks(&asked);
                        is_asking.store(false, Ordering::SeqCst);
                        is_admitted
                    })
                    && voice.records(&asked);
                // Who asked may have gone meanwhile.
                let _ = answer.send(is_admitted);
            }
            Some(Event::Used(asked, how)) => voice.used(&asked, &how),
            Some(Event::TurnedAway(peer)) => voice.turned_away(&peer),
            Some(Event::Signal(signal)) => {
                voice.ends(signal);
                drop(end.take());
                deadline = Some(Instant::now() + GRACE);
            }
            Some(Event::Ended(result)) => return result.map_err(KeyServerError::Serve),
            // What is still under way is given up.
            None => return Ok(()),
        }
    }
}

/// What happens while others are served.
enum Event {
    Asks { asked: Asked, by_person: bool, answer: Sender<bool> },
    Ended(Result<(), String>),
    Signal(i32),
    TurnedAway(Peer),
    Used(Asked, String),
}

/// Hands on what others ask for to the thread that talks with the person who runs the service.
struct Desk {
    events: Sender<Event>,
    /// Held while a question is asked: one at a time.
    questions: Option<Mutex<()>>,
}

impl Desk {
    fn tell(&self, event: Event) {
        // If nobody hears it, the service is about to end.
        let _ = self.events.send(event);
    }
}

impl Gate for Desk {
    fn admits(&self, asked: &Use<'_>) -> bool {
        let _turn = self.questions.as_ref().map(lock);
        if !asked.is_awaited() {
            return false;
        }
        let (answer, answered) = mpsc::channel();
        self.tell(Event::Asks { asked: Asked::new(asked), by_person: self.questions.is_some(), answer });
        answered.recv().unwrap_or_default()
    }

    fn help(&self, ask: &mut dyn FnMut()) {
        let _turn = self.questions.as_ref().map(lock);
        ask();
    }

    fn ended(&self, asked: &Use<'_>, result: Option<Result<(), &KeyError>>) {
        let how = match result {
            None => "refused".to_owned(),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(error)) => format!("failed: {error}"),
        };
        self.tell(Event::Used(Asked::new(asked), how));
    }

    fn turned_away(&self, peer: &Peer) {
        self.tell(Event::TurnedAway(peer.clone()));
    }
}

impl Asked {
    fn new(asked: &Use<'_>) -> Self {
        Self {
            operation: asked.operation,
            kind: asked.key.kind().name,
            key: asked.key.to_string(),
            peer: asked.peer.cloned(),
        }
    }

    /// Returns the name of the key for people: whoever asks may have made it up, so what is long is cut.
    #[must_use]
    pub fn shown_key(&self) -> String {
        match self.key.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{}…", &self.key[..end]),
            None => self.key.clone(),
        }
    }

    /// Returns who asks, in words.
    #[must_use]
    pub fn who(&self) -> String {
        self.peer.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many letters of a key people are shown: more than keys have, but for those of age against quantum computers.
const MAX_SHOWN: usize = 200;

/// How long what is under way may take once the service is to end.
const GRACE: Duration = Duration::from_secs(2);
