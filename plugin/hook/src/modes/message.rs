//! The message of a commit, as Git may store it.
//!
//! Invariants: in doubt a line is looked at, comments among them; lines keep their numbers.

use std::path::Path;

use selkie::check::Mode;

use super::surroundings;
use crate::change::{Change, Item, Source};
use crate::git::{GitError, Repository, text};

/// The message in a file.
pub(super) fn message(
    repository: Option<&Repository>,
    file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let content = std::fs::read(file).map_err(|error| GitError::File {
        path: file.display().to_string(),
        reason: error.kind().to_string(),
    })?;
    // Git says so where nobody edits the message: then it adds nothing that it takes out again.
    let is_edited = environment("GIT_EDITOR").as_deref() != Some(":");
    let end = if is_edited { end(&content) } else { content.len() };
    let content = content[..end].to_vec();
    let name = file.file_name().unwrap_or(file.as_os_str());
    let path = text(name.as_encoded_bytes());
    visit(Change {
        label: String::new(),
        after: surroundings(repository)?,
        before: None,
        items: vec![Item { path, mode: Mode::File, new: Source::Bytes(content.into()), old: None }],
        is_whole: false,
        policy: None,
        others: Vec::new(),
        others_before: None,
        left_out: 0,
    })
}

/// Returns where a message ends: before the difference that Git shows to whoever writes it, and takes out again. Comments
/// are looked at, and so is what is below scissors of somebody else: whether Git takes them out is said where nobody
/// else can see it, such as on its command line.
fn end(message: &[u8]) -> usize {
    let mut end = 0;
    let mut scissors: Option<(usize, &[u8])> = None;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match scissors {
            None => {
                let comment = line.trim_ascii_end().strip_suffix(SCISSORS);
                let comment = comment.map(<[u8]>::trim_ascii_end).filter(|comment| !comment.is_empty());
                scissors = comment.map(|comment| (end, comment));
            }
            Some((place, _)) if DIFFERENCES.iter().any(|start| line.starts_with(start)) => return place,
            // Git explains, in comments, what comes.
            Some((_, comment)) if line.starts_with(comment) => {}
            Some(_) => scissors = None,
        }
        end += line.len();
    }
    message.len()
}

/// The line below which nothing is part of a message, without the comment character.
const SCISSORS: &[u8] = b"------------------------ >8 ------------------------";

/// How a difference begins.
const DIFFERENCES: &[&[u8]] = &[b"diff --git ", b"diff --cc ", b"diff --combined "];

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: &str = "# ------------------------ >8 ------------------------\n";

    #[test]
    fn a_message_ends_before_the_difference_that_git_shows() {
        let kept = |message: &str| message[..end(message.as_bytes())].to_owned();
        let explained = "# Do not modify or remove the line above.\n#\n";
        for diff in ["diff --git a/x b/x\n-secret\n", "diff --cc x\n"] {
            assert_eq!(kept(&format!("Add\n# no\n{CUT}{explained}{diff}")), "Add\n# no\n");
            let other = CUT.replace('#', ";;");
            assert_eq!(kept(&format!("Add\n{other};; look\n{diff}")), "Add\n");
            // Somebody's own scissors are before those of Git.
            assert_eq!(kept(&format!("Add\n{CUT}text\n{CUT}{diff}")), format!("Add\n{CUT}text\n"));
        }
        for message in [
            format!("Add\n{CUT}text\ndiff --git a/x b/x\n"),
            format!("Add\n{CUT}{explained}# On branch main\n"),
            "Add\ndiff --git a/x b/x\n".to_owned(),
            "------------------------ >8 ------------------------\ndiff --git a b\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(kept(&message), message);
        }
    }
}
