//! The socket of a key service: there for its users alone from its first moment, in place of a dead one but never of a
//! living one, and gone when the service ends.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use selkie::keyservice::Address;

use super::KeyServerError;

/// A socket in the file system, which is removed when this is dropped, unless another one is there by then.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    identity: Identity,
}

/// Which file it is, whatever it is called.
type Identity = (u64, u64);

/// Begins to listen at a path. If `for_others`, every user gets through: who is served, the listener must see to.
pub(super) fn bind(path: &Path, for_others: bool) -> Result<(UnixListener, Socket), KeyServerError> {
    let address = || Address::Unix { path: path.to_owned(), users: Vec::new() };
    let failed = |source: io::Error| KeyServerError::Listen { address: address(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Nobody else gets into this folder: before its permissions are set, the socket is out of reach.
    let hidden = tempfile::Builder::new().prefix(".").rand_bytes(6).tempdir_in(folder).map_err(failed)?;
    let made = hidden.path().join("s");
    let listener = UnixListener::bind(&made).map_err(failed)?;
    // To connect takes the permission to write.
    let mode = if for_others { 0o666 } else { 0o600 };
    fs::set_permissions(&made, Permissions::from_mode(mode)).map_err(failed)?;
    match fs::hard_link(&made, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Of two that find a dead one, the second must not take away what the first has put in its place.
            let _turn = turn(folder, PATIENCE).map_err(failed)?;
            if is_alive(path)
                .map_err(failed)?
                .ok_or_else(|| KeyServerError::NotASocket(path.display().to_string()))?
            {
                return Err(KeyServerError::InUse(address()));
            }
            fs::rename(&made, path).map_err(failed)?;
        }
        linked => linked.map_err(failed)?,
    }
    let identity = identity(path).map_err(failed)?;
    Ok((listener, Socket { path: path.to_owned(), identity }))
}

/// Waits until nobody else puts a socket into a folder, but not for long: anybody who can read it may hold it.
fn turn(folder: &Path, patience: Duration) -> io::Result<File> {
    let (folder, begin) = (File::open(folder)?, Instant::now());
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) if begin.elapsed() < patience => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process does not let go of the folder"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Returns whether somebody listens at a socket; `None` if it is none.
fn is_alive(path: &Path) -> io::Result<Option<bool>> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Ok(None),
        // It has gone since.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(false)),
        found => found.map(drop)?,
    }
    match UnixStream::connect(path) {
        Ok(_) => Ok(Some(true)),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            Ok(Some(false))
        }
        // It is not for us to say.
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // It is dead: the next one takes its place.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How long others may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_for_its_user_and_goes_with_the_service() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let (listener, socket) = bind(&path, false).expect("it is bound");
        let mode = fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let client = UnixStream::connect(&path).expect("it listens");
        listener.accept().expect("somebody came");
        drop(client);
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing else is left");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_for_others_lets_them_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let (_listener, _socket) = bind(&path, true).expect("it is bound");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o666);
    }

    #[test]
    fn who_holds_the_folder_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = turn(folder.path(), Duration::ZERO).expect("nobody holds it");
        let error = turn(folder.path(), 2 * PAUSE).expect_err("somebody holds it");
        assert!(error.to_string().contains("does not let go"), "{error}");
        drop(held);
        turn(folder.path(), Duration::ZERO).expect("nobody holds it any more");
    }

    #[test]
    fn a_living_socket_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let _living = UnixListener::bind(&path).expect("it is bound");
        assert!(matches!(bind(&path, false), Err(KeyServerError::InUse(_))));
        UnixStream::connect(&path).expect("it still listens");
    }

    #[test]
    fn a_dead_socket_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).expect("it is bound"));
        let (_listener, socket) = bind(&path, false).expect("the other one is dead");
        UnixStream::connect(&path).expect("it listens");
        // Whoever puts another one in place keeps it.
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "other").expect("written");
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        fs::write(&path, "text").expect("written");
        assert!(matches!(bind(&path, false), Err(KeyServerError::NotASocket(_))));
        assert_eq!(fs::read(&path).expect("it is there"), b"text");
        assert!(matches!(bind(&folder.path().join("a/b"), false), Err(KeyServerError::Listen { .. })));
    }
}
