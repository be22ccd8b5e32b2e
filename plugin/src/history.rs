//! The history of files, as Git tells it: which versions there were, and who brought them.
//!
//! Commits come one after the other, parents first, so that those of branches that were merged stand in one line. A
//! file that was moved unchanged is the same file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::failure::Failure;
use crate::git;

/// What Git tells of files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct History {
    /// All commits that changed one of them, parents first.
    pub commits: Vec<Commit>,
    /// The files, in the order in which they came up.
    pub files: Vec<FileHistory>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: String,
    /// When it was made.
    pub time: OffsetDateTime,
    /// Who wrote it.
    pub author: String,
}

/// The history of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct FileHistory {
    /// Its last path, from the root of the repository.
    pub path: PathBuf,
    /// The paths that it had before, the oldest first.
    pub formerly: Vec<PathBuf>,
    /// Its versions: the commit, by its place, and the name of the content. Without one, the file was deleted.
    pub versions: Vec<(usize, Option<String>)>,
}

/// Which commits to look at.
#[derive(Clone, Debug)]
pub enum Revisions {
    /// What all branches, tags and other references reach.
    All,
    /// What these reach; the current commit if there are none.
    Of(Vec<String>),
}

/// Returns the history of what `paths` name; `folder` is in the repository. There is none without commits.
///
/// # Errors
/// If Git cannot tell.
pub fn read(folder: &Path, revisions: &Revisions, paths: &[String]) -> Result<History, Failure> {
    let revisions = match revisions {
        Revisions::All => vec!["--all"],
        Revisions::Of(names) if names.is_empty() => vec!["HEAD"],
        Revisions::Of(names) => match names.iter().find(|name| !git::is_revision(folder, name)) {
            Some(name) => return Err(Failure::Check(format!("Git knows no commit or branch {name}"))),
            None => names.iter().map(String::as_str).collect(),
        },
    };
    if revisions == ["HEAD"] && git::is_unborn(folder, "HEAD") {
        return Ok(History::default());
    }
    let paths = paths.iter().map(String::as_str);
    let arguments = LOG.iter().copied().chain(revisions).chain(["--"]).chain(paths);
    let said = git::said(folder, &arguments.collect::<Vec<_>>(), "the Git history")?;
    Ok(parse(&String::from_utf8_lossy(&said)))
}

/// Reads what `git log` says.
fn parse(said: &str) -> History {
    let mut history = History::default();
    let mut known: HashMap<PathBuf, usize> = HashMap::new();
    let mut tokens = said.split('\0').map(|token| token.trim_start_matches('\n'));
    while let Some(token) = tokens.next() {
        if let Some(head) = token.strip_prefix('\u{1}') {
            history.commits.extend(commit(head));
            continue;
        }
        let Some(change) = token.strip_prefix(':').and_then(Change::parse) else { continue };
        let (Some(mut path), Some(at)) =
            (tokens.next().map(PathBuf::from), history.commits.len().checked_sub(1))
        else {
            break;
        };
        if change.moves {
            let Some(new) = tokens.next().map(PathBuf::from) else { break };
            if let Some(file) = known.remove(&path) {
                history.files[file].formerly.push(path);
                history.files[file].path.clone_from(&new);
                known.insert(new.clone(), file);
            }
            path = new;
        }
        let file = *known.entry(path.clone()).or_insert_with(|| {
            history.files.push(FileHistory { path, formerly: Vec::new(), versions: Vec::new() });
            history.files.len() - 1
        });
        history.files[file].versions.push((at, change.content));
    }
    history
}

fn commit(head: &str) -> Option<Commit> {
    let mut fields = head.splitn(3, '\u{2}');
    let (id, seconds, author) = (fields.next()?, fields.next()?, fields.next()?);
    // A clock that is beyond all dates makes no commit undone.
    let time = seconds.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    Some(Commit {
        id: id.to_owned(),
        time: time.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        author: author.to_owned(),
    })
}

/// What a commit did to a file.
struct Change {
    /// The name of the content; none if it is gone, or is no file.
    content: Option<String>,
    /// Whether the file has another path than before.
    moves: bool,
}

impl Change {
    /// Reads `MODE… NAME… STATUS`; of a merge, there is a mode and a name for each parent.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches(':');
        let words: Vec<_> = text.split(' ').collect();
        let (status, words) = words.split_last()?;
        let (modes, names) = words.split_at(words.len() / 2);
        let is_file = modes.last()?.starts_with("100");
        let content = names.last().filter(|_| is_file).map(|&name| name.to_owned());
        // Of a merge, only the new path is told.
        Some(Self { content, moves: status.starts_with('R') && modes.len() == 2 })
    }
}

/// Without whatever a configuration could bring in.
const LOG: [&str; 15] = [
    "log",
    "--topo-order",
    "--reverse",
    "--full-history",
    "--root",
    "-c",
    "--raw",
    "-z",
    "--no-abbrev",
    "--find-renames=100%",
    "--no-color",
    "--no-notes",
    "--no-show-signature",
    "--no-ext-diff",
    "--format=%x01%H%x02%ct%x02%an",
];

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\u{1}c1\u{2}60\u{2}Ann\0\n:000000 100644 0000 aaaa A\0a.yaml\0:000000 120000 0000 bbbb A\0l\0\
        \u{1}c2\u{2}120\u{2}Bob\0\n:100644 100644 aaaa aaaa R100\0a.yaml\0b.yaml\0\
        \u{1}c3\u{2}180\u{2}Ann\0\n::100644 100644 100644 aaaa cccc dddd MM\0b.yaml\0\
        \u{1}c4\u{2}240\u{2}Ann\0\n:100644 000000 dddd 0000 D\0b.yaml\0";

    #[test]
    fn a_file_is_followed_through_moves_and_merges() {
        let history = parse(SAID);
        let file = &history.files[0];
        assert_eq!(file.path, Path::new("b.yaml"));
        assert_eq!(file.formerly, [Path::new("a.yaml")]);
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(file.versions, [(0, name("aaaa")), (1, name("aaaa")), (2, name("dddd")), (3, None)]);
        assert_eq!(history.commits[1].author, "Bob");
        assert_eq!(history.commits[2].time.unix_timestamp(), 180);
    }

    #[test]
    fn links_have_no_content() {
        assert_eq!(parse(SAID).files[1].versions, [(0, None)]);
    }
}
