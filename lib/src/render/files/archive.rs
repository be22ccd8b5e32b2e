//! Files in a gzip-compressed tar archive, unpacked in memory.
//!
//! Folders, regular files and links are taken, `.git` is passed over, and anything else is refused, as is what would lead
//! out of the archive. Invariants: limits hold while it is unpacked, not after; an archive that is cut short, or goes on
//! behind its end, gives nothing.

mod meter;
mod nodes;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use tar::{Entry, EntryType};

use meter::{Compressed, HEAD, Meter, Unpacked};
use nodes::{Found, MAX_PATH, Node, Nodes};

use super::{Files, FilesError};
use crate::render::Limits;
use crate::secret::SecretBytes;

/// Files that were in an archive.
pub struct Archive {
    files: BTreeMap<String, Found>,
    contents: Vec<SecretBytes>,
    limits: Limits,
}

impl Archive {
    /// Unpacks an archive. A file that is larger than the limit of files is refused when it is read, as in a folder.
    ///
    /// # Errors
    /// If it is damaged, leads out of itself, or is beyond a limit.
    pub fn unpack(gzip: impl Read, limits: &Limits) -> Result<Self, FilesError> {
        Self::unpack_counted(gzip, limits, &mut |_| Ok(()))
    }

    /// Unpacks an archive as [`Self::unpack`] does. `count` is told how many bytes a file takes, before they are taken,
    /// and may wait, or refuse them.
    ///
    /// # Errors
    /// As [`Self::unpack`], or if `count` refuses.
    pub fn unpack_counted(
        gzip: impl Read,
        limits: &Limits,
        count: &mut dyn FnMut(u64) -> Result<(), FilesError>,
    ) -> Result<Self, FilesError> {
        let meter = Meter::new(limits);
        let (nodes, contents) = (Nodes::new(limits), Vec::new());
        let unpacking = Unpacking { nodes, contents, total: 0, meter: &meter, limits, count };
        // A limit stops a read as an error of the system would.
        unpacking.run(gzip).map_err(|error| match meter.exceeded() {
            Some(limit) => limit.into(),
            None => error,
        })
    }
}

impl Files for Archive {
    fn paths(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> Result<SecretBytes, FilesError> {
        match self.files.get(path) {
            Some(Found::File(number)) => Ok(self.contents[*number].expose_secret().into()),
            Some(Found::Large(size)) => {
                self.limits.check_file(path, *size)?;
                Err(FilesError::Missing { path: path.to_owned() })
            }
            Some(Found::Loop) => {
                let source = io::Error::other("it is a link that leads around in circles");
                Err(FilesError::Io { path: path.to_owned(), source })
            }
            Some(Found::Nothing) | None => Err(FilesError::Missing { path: path.to_owned() }),
        }
    }
}

/// An archive on its way into memory.
struct Unpacking<'a> {
    nodes: Nodes<'a>,
    contents: Vec<SecretBytes>,
    total: u64,
    meter: &'a Meter,
    limits: &'a Limits,
    count: &'a mut dyn FnMut(u64) -> Result<(), FilesError>,
}

impl Unpacking<'_> {
    fn run(mut self, gzip: impl Read) -> Result<Archive, FilesError> {
        let gzip = MultiGzDecoder::new(BufReader::new(Compressed { bytes: gzip, meter: self.meter }));
        let mut archive = tar::Archive::new(Unpacked { bytes: gzip, meter: self.meter });
        let entries = archive.entries().map_err(|error| damaged(&error))?;
        self.meter.allow(HEAD);
        for entry in entries {
            let mut entry = entry.map_err(|error| damaged(&error))?;
            self.add(&mut entry)?;
            // What was not read of it is read on the way to the next.
            let rest = entry.size().max(entry.header().entry_size().unwrap_or(u64::MAX));
            self.meter.allow(rest.saturating_add(HEAD));
        }
        self.end(archive.into_inner())?;
        let files = self.nodes.files()?;
        // A file counts as often as it is there.
        let size = |found: &Found| match found {
            Found::File(number) => self.contents[*number].len() as u64,
            _ => 0,
        };
        self.limits.check_total(files.values().map(size).fold(0, u64::saturating_add))?;
        Ok(Archive { files, contents: self.contents, limits: self.limits.clone() })
    }

    fn add(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), FilesError> {
        let kind = entry.header().entry_type();
        // What holds for all entries, such as the name of a commit.
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let (path, is_folder) = path(&entry.path_bytes())?;
        if path.split('/').any(|name| name == GIT) {
            return Ok(());
        }
        match kind {
            EntryType::Directory => self.folder(&path),
            EntryType::Regular | EntryType::Continuous if is_folder && entry.size() == 0 => {
                self.folder(&path)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if !is_folder => {
                self.file(&path, entry)
            }
            EntryType::Symlink => {
                let target = target(&path, entry)?;
                self.nodes.add(&path, Node::Link(target))
            }
            EntryType::Link => self.hard_link(&path, entry),
            EntryType::Block | EntryType::Char | EntryType::Fifo => Err(FilesError::Special { path }),
            _ => Err(FilesError::Archive(format!("{path} is of a kind that no archive of files has"))),
        }
    }

    fn folder(&mut self, path: &str) -> Result<(), FilesError> {
        // The root itself.
        if path.is_empty() { Ok(()) } else { self.nodes.add(path, Node::Folder) }
    }

    fn file(&mut self, path: &str, entry: &mut Entry<'_, impl Read>) -> Result<(), FilesError> {
        if is_sparse_by_extension(entry)? {
            return Err(FilesError::Archive(format!(
                "{path} is a sparse file in the format of POSIX, which is not read; pack it without --sparse"
            )));
        }
        let size = entry.size();
        if size > self.limits.file_bytes {
            return self.nodes.add(path, Node::Large(size));
        }
        self.total = self.total.saturating_add(size);
        self.limits.check_total(self.total)?;
        if entry.header().entry_type() == EntryType::GNUSparse {
            let stored = entry.header().entry_size().map_err(|error| damaged(&error))?;
            self.meter.add_holes(size.saturating_sub(stored))?;
        }
        self.nodes.add(path, Node::File(self.contents.len()))?;
        self.meter.allow(size.saturating_add(HEAD));
        (self.count)(size)?;
        self.contents.push(content(entry, size)?);
        Ok(())
    }

    /// Adds a further name of a file that was before it.
    fn hard_link(&mut self, link: &str, entry: &Entry<'_, impl Read>) -> Result<(), FilesError> {
        let target = entry.link_name_bytes().unwrap_or_default();
        let (target, _) = path(&target)?;
        match self.nodes.get(&target) {
            Some(node @ (Node::File(_) | Node::Large(_))) => {
                let node = node.clone();
                self.nodes.add(link, node)
            }
            _ => Err(FilesError::Archive(format!("{link} is a link to what is no file before it"))),
        }
    }

    /// Makes sure that the archive was whole: it ends with two blocks of zeros, and nothing follows.
    fn end(&self, mut rest: impl Read) -> Result<(), FilesError> {
        let mut block = [0; 8 << 10];
        loop {
            self.meter.allow(HEAD);
            match rest.read(&mut block) {
                Ok(0) => break,
                Ok(length) if block[..length].iter().all(|byte| *byte == 0) => {}
                Ok(_) => return Err(FilesError::Archive("something follows its end".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(damaged(&error)),
            }
        }
        if self.meter.zeros() >= END { Ok(()) } else { Err(cut_short()) }
    }
}

/// Returns a path of an archive, and whether it says that it is a folder.
fn path(bytes: &[u8]) -> Result<(String, bool), FilesError> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    if bytes.len() > MAX_PATH {
        return Err(FilesError::Archive(format!("a path is longer than 4096 bytes: {}…", shown())));
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return Err(FilesError::Archive(format!("a path is not UTF-8: {}", shown())));
    };
    let leads_out = text.starts_with('/') || text.contains('\0') || text.split('/').any(|name| name == "..");
    if leads_out {
        return Err(FilesError::Outside { path: text.to_owned() });
    }
    let names: Vec<_> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    Ok((names.join("/"), names.is_empty() || text.ends_with('/')))
}

/// Returns where a link leads, as it says.
fn target(path: &str, entry: &Entry<'_, impl Read>) -> Result<String, FilesError> {
    let bytes = entry.link_name_bytes().unwrap_or_default();
    let is_usable = !bytes.is_empty() && bytes.len() <= MAX_PATH && !path.is_empty();
    match str::from_utf8(&bytes) {
        Ok(text) if is_usable && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(FilesError::Archive(format!("{path} is a link that no system can follow"))),
    }
}

fn content(entry: &mut impl Read, size: u64) -> Result<SecretBytes, FilesError> {
    // No more than the limit of files, which was checked.
    let length = usize::try_from(size).map_err(|_| cut_short())?;
    let mut content = vec![0; length];
    entry.read_exact(&mut content).map_err(|error| damaged(&error))?;
    Ok(content.into())
}

/// Returns whether the extensions of an entry say that its content is not what it holds.
fn is_sparse_by_extension(entry: &mut Entry<'_, impl Read>) -> Result<bool, FilesError> {
    let Some(extensions) = entry.pax_extensions().map_err(|error| damaged(&error))? else { return Ok(false) };
    for extension in extensions {
        let extension = extension.map_err(|error| damaged(&error))?;
        if extension.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says that an archive is damaged. What the parser says of it may quote what is inside.
fn damaged(error: &io::Error) -> FilesError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_short(),
        _ => FilesError::Archive("it is damaged, or is no gzip-compressed tar archive".to_owned()),
    }
}

fn cut_short() -> FilesError {
    FilesError::Archive("it is cut short".to_owned())
}

/// The folder in which Git keeps a repository, or a file that names it.
const GIT: &str = ".git";

/// How many zeros are at the end of an archive.
const END: u64 = 1024;

/// How many bytes of a path are shown that cannot be one.
const SHOWN: usize = 64;

#[cfg(test)]
mod tests;
