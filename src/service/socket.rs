//! The Unix socket: how it comes and goes, and who may connect.
//!
//! Invariants: the socket never has another mode at its path than the one it is to have; whoever is not admitted is not
//! read a byte of; a socket that somebody listens at is never taken away.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, chown};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

use crate::socket::SocketFile;

/// A socket that is listened at; its file goes with it.
pub(super) struct Socket {
    listener: UnixListener,
    _file: SocketFile,
    callers: Callers,
}

/// Who may connect, besides the user of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Callers {
    /// Users, by their numbers.
    pub(super) users: Vec<u32>,
    /// Groups, by their numbers: the one that a process runs with counts, not those that it also has.
    pub(super) groups: Vec<u32>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// Something else is at the path.
    #[error("{path}: is there, and is no socket", path = .0.display())]
    InTheWay(PathBuf),
    /// The system refuses.
    #[error("{path}: cannot be listened at", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// Another process listens at it.
    #[error("{path}: another process listens there", path = .0.display())]
    Taken(PathBuf),
}

impl Socket {
    /// Listens at a path; a socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// If that cannot be.
    pub(super) fn bind(path: &Path, callers: Callers) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io(path.to_owned(), error);
        free(path)?;
        let (listener, file) = SocketFile::bind(path, |file| callers.set_rights(file)).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, _file: file, callers })
    }

    /// Waits for the next one that connects: a connection, with the number of the user, or the number alone of one who was
    /// turned away.
    ///
    /// # Errors
    /// If the system refuses, for now.
    pub(super) async fn accept(&self) -> io::Result<Result<(UnixStream, u32), u32>> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?;
        Ok(if self.callers.admit(peer.uid(), peer.gid()) {
            Ok((stream, peer.uid()))
        } else {
            Err(peer.uid())
        })
    }
}

impl Callers {
    fn admit(&self, user: u32, group: u32) -> bool {
        user == geteuid().as_raw() || self.users.contains(&user) || self.groups.contains(&group)
    }

    /// Lets those connect that are admitted: who else the mode lets connect is turned away.
    fn set_rights(&self, path: &Path) -> io::Result<()> {
        let mode = match (self.users.as_slice(), self.groups.as_slice()) {
            ([], []) => 0o600,
            ([], &[group]) => {
                chown(path, None, Some(Gid::from_raw(group)))?;
                0o660
            }
            _ => 0o666,
        };
        fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

/// Makes sure that nobody listens at a path.
fn free(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(SocketError::Io(path.to_owned(), error)),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(SocketError::InTheWay(path.to_owned())),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => Err(SocketError::Taken(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(SocketError::Io(path.to_owned(), error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_for_its_user_and_goes_when_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let socket = Socket::bind(&path, Callers::default()).expect("a socket");
        assert_eq!(mode(&path), 0o600);
        let second = Socket::bind(&path, Callers::default()).err();
        assert!(matches!(second, Some(SocketError::Taken(_))));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_nobody_listens_at_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let users = Callers { users: vec![7], groups: Vec::new() };
        let old = Socket::bind(&path, users).expect("the old one is stale");
        assert_eq!(mode(&path), 0o666);
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, "no socket").expect("a file");
        drop(old);
        assert_eq!(fs::read(&path).expect("it is not ours"), b"no socket");
        let taken = Socket::bind(&path, Callers::default()).err();
        assert!(matches!(taken, Some(SocketError::InTheWay(_))));
    }

    #[test]
    fn only_those_are_admitted_that_were_named() {
        let own = geteuid().as_raw();
        let callers = Callers { users: vec![own + 1], groups: vec![77] };
        let admitted = [(own, 0), (own + 1, 0), (own + 2, 0), (own + 2, 77)]
            .map(|(user, group)| callers.admit(user, group));
        assert_eq!(admitted, [true, true, false, true]);
        assert!(!Callers::default().admit(own + 1, own));
    }
}
