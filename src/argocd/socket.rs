//! The socket of a plugin, in the folder in which the repo-server looks.
//!
//! Invariants: it is there under its name once it can be connected to, and for its own user alone; it replaces one that
//! was left behind; what is removed in the end is this one, and not one that replaced it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::socket::SocketFile;

/// The socket of a plugin, removed when it is dropped.
pub(super) struct Socket(SocketFile);

impl Socket {
    /// Listens at a socket in a folder.
    pub(super) fn bind(folder: &Path, name: &str) -> io::Result<(UnixListener, Self)> {
        let path = folder.join(format!("{name}.sock"));
        let (listener, file) =
            SocketFile::bind(&path, |file| fs::set_permissions(file, Permissions::from_mode(0o600)))?;
        Ok((listener, Self(file)))
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_replaces_what_was_left_and_goes_with_its_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("selkie-v1.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        let (first, socket) = Socket::bind(folder.path(), "selkie-v1").expect("a socket");
        assert_eq!(socket.path(), path);
        UnixStream::connect(&path).expect("it is served");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        // One that replaces it stays.
        let (_second, other) = Socket::bind(folder.path(), "selkie-v1").expect("a socket");
        drop((first, socket));
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }
}
