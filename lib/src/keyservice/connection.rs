//! Connections, and who is at the other side of them.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::Connected;

use super::Address;
use crate::keys::{Cause, ServiceError};

/// Who is at the other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever sends from this address.
    Address(SocketAddr),
    /// A process of this machine.
    Process {
        /// Its number, where the system tells. It may have ended, and another one may have its number.
        process: Option<i32>,
        /// The number of its user.
        user: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "{address}"),
            Self::Process { process: Some(process), user } => {
                write!(formatter, "process {process} of user {user}")
            }
            Self::Process { process: None, user } => write!(formatter, "a process of user {user}"),
        }
    }
}

/// What a key service listens at.
#[derive(Debug)]
pub enum Listener {
    /// A port of TCP. Whoever reaches it is served.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix {
        /// The socket.
        listener: std::os::unix::net::UnixListener,
        /// The users that are served, by their numbers, besides root and whoever runs this process.
        users: Vec<u32>,
    },
}

/// A listener that is waited for.
pub(super) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix {
        listener: tokio::net::UnixListener,
        users: Users,
    },
}

impl Acceptor {
    pub(super) fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(tokio::net::TcpListener::from_std(listener)?))
            }
            #[cfg(unix)]
            Listener::Unix { listener, users } => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Ok(Self::Unix { listener, users: Users::new(&users)? })
            }
        }
    }

    /// Waits for the next one, which is turned away if it is not one of the users.
    pub(super) async fn accept(&self) -> io::Result<Result<(Stream, Peer), Peer>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Ok((Box::pin(stream), Peer::Address(address))))
            }
            #[cfg(unix)]
            Self::Unix { listener, users } => {
                let (stream, _) = listener.accept().await?;
                let peer = peer_of(&stream)?;
                Ok(if users.admit(&peer) { Ok((Box::pin(stream), peer)) } else { Err(peer) })
            }
        }
    }
}

/// A connection that is served.
pub(super) struct Connection {
    pub stream: Stream,
    pub peer: Peer,
    /// Held as long as the connection is there.
    pub _place: OwnedSemaphorePermit,
}

/// What bytes go through.
pub(super) type Stream = Pin<Box<dyn Io>>;

pub(super) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

/// Connects to a key service, unless its socket belongs to somebody else.
pub(super) async fn connect(address: &Address) -> Result<Stream, ServiceError> {
    let failed = |error: io::Error| unreachable(address, &error);
    match address {
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            Ok(Box::pin(stream))
        }
        #[cfg(unix)]
        Address::Unix { path, users } => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(failed)?;
            let peer = peer_of(&stream).map_err(failed)?;
            if !Users::new(users).map_err(failed)?.admit(&peer) {
                return Err(untrusted(address, &peer));
            }
            Ok(Box::pin(stream))
        }
        #[cfg(not(unix))]
        Address::Unix { .. } => Err(ServiceError::new(
            Cause::Unreachable,
            format!("the key service {address} cannot be reached: there are no such sockets on this system"),
        )),
    }
}

fn unreachable(address: &Address, error: &io::Error) -> ServiceError {
    let text = error.to_string();
    let what = text.split(" (os error").next().unwrap_or_default();
    ServiceError::new(Cause::Unreachable, format!("the key service {address} cannot be reached: {what}"))
        .with_remedy(format!(
            "see whether the key service runs, or start it with `kubectl seal keyservice --listen {address}`"
        ))
}

#[cfg(unix)]
fn untrusted(address: &Address, peer: &Peer) -> ServiceError {
    let user = match peer {
        Peer::Process { user, .. } => user.to_string(),
        Peer::Address(_) => "UID".to_owned(),
    };
    let trusted = match address {
        Address::Unix { users, .. } => users.iter().map(|user| format!("uid={user}&")).collect(),
        Address::Tcp { .. } => String::new(),
    };
    ServiceError::new(
        Cause::Untrusted,
        format!(
            "the key service {address} is run by user {user}, whom nobody said to trust: it was asked nothing"
        ),
    )
    .with_remedy(format!(
        "if that user may have your data keys, name the key service as {address}?{trusted}uid={user}"
    ))
}

/// The users that may be at the other side of a socket.
#[cfg(unix)]
pub(super) struct Users(Vec<u32>);

#[cfg(unix)]
impl Users {
    fn new(others: &[u32]) -> io::Result<Self> {
        // Both ends are this process: what a peer sees of it.
        let (end, _other) = tokio::net::UnixStream::pair()?;
        let own = end.peer_cred()?.uid();
        Ok(Self([&[own, ROOT], others].concat()))
    }

    fn admit(&self, peer: &Peer) -> bool {
        matches!(peer, Peer::Process { user, .. } if self.0.contains(user))
    }
}

#[cfg(unix)]
fn peer_of(stream: &tokio::net::UnixStream) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    Ok(Peer::Process { process: credentials.pid(), user: credentials.uid() })
}

#[cfg(unix)]
const ROOT: u32 = 0;
