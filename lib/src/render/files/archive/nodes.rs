//! What is at each path of an archive, and where links lead.
//!
//! Invariants: nothing is below a file or a link; what is at a path stays of its kind; no link leads out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use super::FilesError;
use crate::render::Limits;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A file, by the number of its content.
    File(usize),
    /// A folder.
    Folder,
    /// A file that is larger than what is read, with its size.
    Large(u64),
    /// A link to this target.
    Link(String),
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// To a file.
    File(usize),
    /// To a file that is larger than what is read.
    Large(u64),
    /// Around in circles.
    Loop,
    /// Nowhere.
    Nothing,
}

/// All that is in an archive, by path.
pub(super) struct Nodes<'a> {
    nodes: BTreeMap<String, Node>,
    /// How many bytes all paths have.
    names: u64,
    limits: &'a Limits,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { nodes: BTreeMap::new(), names: 0, limits }
    }

    /// Adds what is at a path, and the folders above it. What was there before is replaced if it is of the same kind.
    pub(super) fn add(&mut self, path: &str, node: Node) -> Result<(), FilesError> {
        // From below, as what is above a folder that is there is there, too.
        let (mut at, mut missing) = (path, Vec::new());
        while let Some((folder, _)) = at.rsplit_once('/') {
            match self.nodes.get(folder) {
                Some(Node::Folder) => break,
                Some(_) => return Err(twice(folder)),
                None => missing.push(folder),
            }
            at = folder;
        }
        for folder in missing {
            self.put(folder, Node::Folder)?;
        }
        self.put(path, node)
    }

    fn put(&mut self, path: &str, node: Node) -> Result<(), FilesError> {
        match self.nodes.get_mut(path) {
            Some(old) if is_same_kind(old, &node) => *old = node,
            Some(_) => return Err(twice(path)),
            None => {
                self.limits.check_files(self.nodes.len() + 1)?;
                self.names += path.len() as u64;
                self.limits.check_total(self.names)?;
                self.nodes.insert(path.to_owned(), node);
            }
        }
        Ok(())
    }

    /// Returns what is at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Returns where all paths of files lead, those below links to folders included.
    pub(super) fn files(&self) -> Result<BTreeMap<String, Found>, FilesError> {
        let mut children: HashMap<&str, Vec<&str>> = HashMap::new();
        for path in self.nodes.keys() {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            children.entry(folder).or_default().push(name);
        }
        let mut files = BTreeMap::new();
        let (mut seen, mut names, mut steps) = (0, 0, 0);
        let root = Rc::new(Within { folder: String::new(), above: None });
        let mut folders = vec![(String::new(), root)];
        while let Some((shown, within)) = folders.pop() {
            for name in children.get(within.folder.as_str()).into_iter().flatten() {
                let shown = join(&shown, name);
                (seen, names) = (seen + 1, names + shown.len() as u64);
                self.limits.check_files(seen)?;
                self.limits.check_total(names)?;
                if shown.len() > MAX_PATH {
                    return Err(FilesError::Archive("a path is longer than 4096 bytes".to_owned()));
                }
                match self.resolve(&within.folder, name, &mut steps)? {
                    Place::Folder(folder) if within.has(&folder) => {}
                    Place::Folder(folder) => {
                        let within = Rc::new(Within { folder, above: Some(Rc::clone(&within)) });
                        folders.push((shown, within));
                    }
                    Place::Other(found) => {
                        files.insert(shown, found);
                    }
                }
            }
        }
        Ok(files)
    }

    /// Returns where a name in a folder leads, in the way in which a system follows links.
    fn resolve(&self, folder: &str, name: &str, steps: &mut u64) -> Result<Place, FilesError> {
        let outside = || FilesError::Outside { path: join(folder, name) };
        let mut rest = VecDeque::from([name]);
        let mut at = folder.to_owned();
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            *steps += 1;
            if *steps > MAX_STEPS {
                return Err(FilesError::Archive("it holds too many links to follow".to_owned()));
            }
            match name {
                "" | "." => continue,
                ".." if at.is_empty() => return Err(outside()),
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&at, name);
            match self.nodes.get(&next) {
                Some(Node::Folder) => at = next,
                Some(Node::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Ok(Place::Other(Found::Loop));
                    }
                    if target.starts_with('/') {
                        return Err(outside());
                    }
                    for name in target.split('/').rev() {
                        rest.push_front(name);
                    }
                }
                Some(Node::File(number)) if rest.is_empty() => {
                    return Ok(Place::Other(Found::File(*number)));
                }
                Some(Node::Large(size)) if rest.is_empty() => return Ok(Place::Other(Found::Large(*size))),
                // What is nowhere leads out nevertheless if it would, were it there.
                _ => {
                    let below = rest.iter().fold(join(&at, name), |path, name| join(&path, name));
                    return match super::super::normalized("", &below) {
                        Some(_) => Ok(Place::Other(Found::Nothing)),
                        None => Err(outside()),
                    };
                }
            }
        }
        Ok(Place::Folder(at))
    }
}

/// A folder, and all that it is seen in.
struct Within {
    folder: String,
    above: Option<Rc<Within>>,
}

impl Within {
    fn has(&self, folder: &str) -> bool {
        std::iter::successors(Some(self), |within| within.above.as_deref())
            .any(|within| within.folder == folder)
    }
}

enum Place {
    Folder(String),
    Other(Found),
}

fn twice(path: &str) -> FilesError {
    FilesError::Archive(format!("{path} is there twice, as different things"))
}

fn is_same_kind(one: &Node, other: &Node) -> bool {
    use Node::{File, Folder, Large, Link};
    matches!((one, other), (File(_) | Large(_), File(_) | Large(_)) | (Folder, Folder) | (Link(_), Link(_)))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// How long a path may be, in bytes.
pub(super) const MAX_PATH: usize = 4096;

/// How many links are followed on the way to one file, as in Linux.
const MAX_LINKS: usize = 40;

/// How many names are looked up on the way to all files.
const MAX_STEPS: u64 = 10_000_000;
