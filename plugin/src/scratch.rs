//! A folder for plaintext that a program of the user must be able to open, kept off the disk where the
//! system allows it.
//!
//! Only its owner can enter the folder, and it is removed with all it holds when it is dropped.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::session::Environment;

/// A folder of the process's own.
pub struct Scratch {
    folder: TempDir,
    in_memory: bool,
}

impl Scratch {
    /// Makes a folder: in memory if a place for that is found, else where temporary files go.
    ///
    /// # Errors
    /// If no folder can be made.
    pub fn new(environment: &Environment) -> io::Result<Self> {
        let named = |name| environment.get(name).map(PathBuf::from);
        let places = [named("TMPDIR"), named("XDG_RUNTIME_DIR"), Some(PathBuf::from("/dev/shm"))];
        let in_memory = places.into_iter().flatten().filter(|place| is_memory(place));
        if let Some(folder) = in_memory.filter_map(|place| private_folder(&place).ok()).next() {
            return Ok(Self { folder, in_memory: true });
        }
        let place = named("TMPDIR").unwrap_or_else(std::env::temp_dir);
        Ok(Self { folder: private_folder(&place)?, in_memory: false })
    }

    #[cfg(test)]
    pub(crate) fn in_folder(place: &Path, in_memory: bool) -> io::Result<Self> {
        Ok(Self { folder: private_folder(place)?, in_memory })
    }

    /// Returns where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns whether what is in the folder stays in memory.
    #[must_use]
    pub const fn in_memory(&self) -> bool {
        self.in_memory
    }

    /// Leaves the folder behind, and returns where it is.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// Makes a folder that only its owner can enter.
fn private_folder(place: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".selkie-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(place)
}

/// Returns whether a folder is on a file system that lives in memory.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn is_memory(place: &Path) -> bool {
    const RAMFS: u32 = 0x8584_58f6;
    const TMPFS: u32 = 0x0102_1994;
    rustix::fs::statfs(place).is_ok_and(|place| {
        // The type of the field differs between systems; its values have 32 bits.
        let kind = place.f_type as u32;
        kind == TMPFS || kind == RAMFS
    })
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn is_memory(_: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_is_private_and_goes_with_its_content() {
        let scratch = Scratch::new(&Environment::default()).expect("a folder");
        let path = scratch.path().to_owned();
        assert_eq!(fs::metadata(&path).expect("it exists").permissions().mode() & 0o7777, 0o700);
        fs::write(path.join("a"), "secret").expect("written");
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn place_that_does_not_exist_is_passed_over_or_refused() {
        let missing: Environment = [("TMPDIR", "/nonexistent")].into_iter().collect();
        match Scratch::new(&missing) {
            Ok(scratch) => assert!(scratch.in_memory()),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
        }
    }
}
