//! Reading whole files, and replacing them so that a failure leaves the old bytes.
//!
//! A file is replaced by writing its successor beside it, flushing it to the disk, and renaming it. A signal
//! leaves the old file or the new one, and nothing beside it.
//! Symbolic links stay: what they lead to is replaced. Pipes and devices are written to. A file with several
//! names is overwritten where it is: else the other names would keep the old content, which may be plaintext.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use selkie::secret::SecretBytes;
use selkie::tree::MAX_SOURCE;

use crate::signals;
use crate::successor::{self, Successor};

/// Who may read a file that did not exist before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever the user's mask lets.
    Everyone,
    /// Nobody but its owner: the file holds plaintext.
    Owner,
}

/// What must be at a path for it to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Nothing.
    Absent,
    /// Whatever is there.
    Anything,
    /// This content, which was read from there.
    Content(&'a [u8]),
}

/// Something else is at the path than was expected.
#[derive(Debug, thiserror::Error)]
#[error("it was changed by something else meanwhile")]
struct Changed;

/// Reads a file.
///
/// # Errors
/// If it cannot be read, or is longer than [`MAX_SOURCE`].
pub fn read(path: &Path) -> io::Result<SecretBytes> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(MAX_SOURCE);
    read_stream(&mut file, expected)
}

/// Reads a stream, of which about `expected` bytes are expected, to its end.
///
/// # Errors
/// If it cannot be read, or is longer than [`MAX_SOURCE`].
pub fn read_stream(stream: &mut dyn Read, expected: usize) -> io::Result<SecretBytes> {
    // One byte more than expected, so that an honest length needs no growing to find the end.
    let mut content = SecretBytes::with_capacity(expected + 1);
    let mut buffer = zeroize::Zeroizing::new(vec![0; CHUNK.min(expected + 1)]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(content),
            Ok(length) => content.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if content.len() > MAX_SOURCE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the input is too large"));
        }
    }
}

/// Writes `content` to `path`, in place of what is there.
///
/// An existing file keeps its mode and, where the system allows it, its owner; `audience` is for a new
/// one.
///
/// # Errors
/// If the file cannot be written. An existing one then has its old content.
pub fn write(path: &Path, content: &[u8], audience: Audience) -> io::Result<()> {
    write_expecting(path, content, audience, Expected::Anything)
}

/// Writes `content` to `path` as [`write()`] does, if there is what is expected.
///
/// # Errors
/// If the file cannot be written, or something else is there: see [`is_changed`]. It then stays as it is.
pub fn write_expecting(
    path: &Path,
    content: &[u8],
    audience: Audience,
    expected: Expected<'_>,
) -> io::Result<()> {
    // Where signals cannot be watched, they may leave something beside the file, and the file as it was.
    drop(signals::listen());
    let target = follow_links(path)?;
    match fs::metadata(&target) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        // A file may be read-only where its folder is not: to take its place would go around that.
        Ok(metadata) if metadata.is_file() && is_read_only(&target) => {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        Ok(metadata) if has_other_names(&metadata) => overwrite(&target, content, expected),
        Ok(metadata) if metadata.is_file() => replace(&target, content, &metadata, expected),
        Ok(_) => OpenOptions::new().write(true).open(&target)?.write_all(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&target, content, audience, expected),
        Err(error) => Err(error),
    }
}

/// Returns whether a file was not written as something else was there than was expected.
#[must_use]
pub fn is_changed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Changed>())
}

/// Returns the error of making a file where there must be none.
pub(crate) fn changed_if_there(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::AlreadyExists { io::Error::other(Changed) } else { error }
}

impl Expected<'_> {
    /// Makes sure that the expected is at a path.
    ///
    /// # Errors
    /// If it is not, or cannot be read.
    pub(crate) fn check(self, path: &Path) -> io::Result<()> {
        let is_there = match self {
            Self::Absent => fs::symlink_metadata(path).is_err(),
            Self::Anything => true,
            Self::Content(content) => read(path)?.expose_secret() == content,
        };
        if is_there { Ok(()) } else { Err(io::Error::other(Changed)) }
    }
}

/// Writes a file that does not exist.
fn create(target: &Path, content: &[u8], audience: Audience, expected: Expected<'_>) -> io::Result<()> {
    Successor { target, content, audience, expected }.put(&|_| Ok(()))
}

/// Puts a new file with the mode of the old one in its place.
fn replace(target: &Path, content: &[u8], old: &fs::Metadata, expected: Expected<'_>) -> io::Result<()> {
    let successor = Successor { target, content, audience: Audience::Owner, expected };
    match successor.put(&|file| inherit(file, old)) {
        // The folder takes no new files, or the file is a mount point: it can only be overwritten.
        Err(error) if is_obstacle(&error) => overwrite(target, content, expected),
        result => result,
    }
}

/// Overwrites a file where it is, after room for the new content was set aside.
fn overwrite(target: &Path, content: &[u8], expected: Expected<'_>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(target)?;
    let _held = successor::hold();
    expected.check(target)?;
    reserve(&file, content.len())?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    successor::count_written();
    file.sync_all()
}

#[cfg(unix)]
fn has_other_names(metadata: &fs::Metadata) -> bool {
    metadata.is_file() && std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &fs::Metadata) -> bool {
    false
}

fn is_obstacle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices
    )
}

/// Returns what a path leads to once no link is left, whether it exists or not.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            // A link of the kernel's own, such as `/proc/self/fd/1`, leads where no path does.
            Ok(_) if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) => return Ok(target),
            Ok(next) => target = folder_of(&target).join(next),
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other("the symbolic links on the way lead to no end"))
}

/// Makes sure, as far as that can be known before, that a file can be made at an absolute path, together with
/// the folders on the way.
///
/// # Errors
/// If something else is on the way, or the folder that is there takes no new entries.
pub fn check_creation(path: &Path) -> io::Result<()> {
    let folder = path.ancestors().skip(1).find(|folder| fs::symlink_metadata(folder).is_ok());
    let folder = folder.unwrap_or(Path::new("/"));
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    check_access(folder)
}

#[cfg(unix)]
fn is_read_only(path: &Path) -> bool {
    use rustix::fs::{Access, access};

    // That it cannot be told shows up in writing.
    access(path, Access::WRITE_OK) == Err(rustix::io::Errno::ACCESS)
}

#[cfg(not(unix))]
fn is_read_only(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly())
}

#[cfg(unix)]
fn check_access(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};

    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn check_access(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns what tells whether two absolute paths lead to one file, whether it exists or not: the path
/// without links, as far as it leads.
#[must_use]
pub fn identity(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(canonical), ..) => canonical,
        (Err(_), Some(folder), Some(name)) => identity(folder).join(name),
        _ => path.to_owned(),
    }
}

/// Returns the folder that a path is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder; one for secrets is for its owner alone, unless it is there.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(folder: &Path, audience: Audience) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    if audience == Audience::Owner {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    #[cfg(not(unix))]
    let _ = audience;
    builder.create(folder)
}

#[cfg(unix)]
fn inherit(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        // Only a privileged user can keep another's ownership; for the rest, the file becomes theirs.
        drop(fchown(file, Some(old.uid()), Some(old.gid())));
    }
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn inherit(file: &File, old: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(old.permissions())
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn reserve(file: &File, length: usize) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, (length as u64).max(1)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn reserve(_: &File, _: usize) -> io::Result<()> {
    Ok(())
}

const CHUNK: usize = 1 << 18;

const MAX_LINKS: usize = 40;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777
    }

    #[cfg(unix)]
    #[test]
    fn folders_for_secrets_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let made = folder.path().join("a/b");
        make_folder(&made, Audience::Owner).expect("made");
        for made in [made.as_path(), folder_of(&made)] {
            assert_eq!(fs::metadata(made).expect("there").permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn replaced_file_keeps_its_mode_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        write(&path, b"new", Audience::Owner).expect("replaced");
        assert_eq!((fs::read(&path).expect("read"), mode(&path)), (b"new".to_vec(), 0o640));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn new_plaintext_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        write(&path, b"new", Audience::Owner).expect("written");
        assert_eq!(mode(&path), 0o600);
        let path = folder.path().join("b");
        write(&path, b"new", Audience::Everyone).expect("written");
        assert_eq!(mode(&path) & 0o600, 0o600);
    }

    #[test]
    fn what_a_link_leads_to_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        symlink("target", &link).expect("linked");
        write(&link, b"created", Audience::Owner).expect("created");
        write(&link, b"replaced", Audience::Owner).expect("replaced");
        assert!(fs::symlink_metadata(&link).expect("it exists").is_symlink());
        assert_eq!(fs::read(&target).expect("read"), b"replaced");
    }

    #[test]
    fn all_names_of_a_file_keep_one_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, "a longer text").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        fs::hard_link(&path, &other).expect("linked");
        write_expecting(&path, b"new", Audience::Owner, Expected::Content(b"a longer text"))
            .expect("written");
        assert_eq!((fs::read(&other).expect("read"), mode(&other)), (b"new".to_vec(), 0o640));
        let changed = write_expecting(&path, b"x", Audience::Owner, Expected::Content(b"other"));
        assert!(is_changed(&changed.expect_err("it is not as expected")));
        assert_eq!(fs::read(&other).expect("read"), b"new");
    }

    #[test]
    fn file_can_be_made_below_folders_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "").expect("written");
        check_creation(&folder.path().join("a/b/c")).expect("it can be made");
        let below_a_file = check_creation(&folder.path().join("file/b/c")).expect_err("a file");
        assert_eq!(below_a_file.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn circle_of_links_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        symlink("a", &path).expect("linked");
        assert!(write(&path, b"", Audience::Owner).is_err());
    }

    #[test]
    fn pipe_is_written_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path).expect("read")
        });
        write(&path, b"through", Audience::Owner).expect("written");
        assert_eq!(reader.join().expect("it ran"), b"through");
        assert!(!fs::metadata(&path).expect("it exists").is_file());
    }

    #[test]
    fn overwriting_shortens_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "a longer text").expect("written");
        overwrite(&path, b"short", Expected::Anything).expect("overwritten");
        assert_eq!(fs::read(&path).expect("read"), b"short");
    }

    #[test]
    fn reading_a_folder_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(
            read(folder.path()).map(|_| ()).expect_err("a folder").kind(),
            io::ErrorKind::IsADirectory
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_lead_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::os::unix::fs::symlink(&one, &two).expect("linked");
        std::os::unix::fs::symlink(&two, &one).expect("linked");
        let error = write(&one, b"x", Audience::Everyone).expect_err("no file");
        assert_eq!(error.to_string(), "the symbolic links on the way lead to no end");
    }

    #[test]
    fn stream_longer_than_expected_is_read_whole() {
        let content = read_stream(&mut &[7; 1000][..], 3).expect("read");
        assert_eq!(content.expose_secret(), [7; 1000]);
    }
}
