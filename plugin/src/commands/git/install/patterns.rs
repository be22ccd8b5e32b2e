//! Which files the drivers are for, as patterns of Git.
//!
//! Invariant: every encrypted file there is, and every file that a creation rule is for, matches a pattern. More may: what
//! is not encrypted is left to Git.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use selkie::sops::config::Config;

use super::repository::Repository;
use super::translation::{Name, names};
use crate::config_file::FILE_NAME;
use crate::failure::Failure;
use crate::git;

/// Patterns, and where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patterns {
    /// The patterns, as a file with attributes has them.
    pub patterns: Vec<String>,
    /// Where they come from, for people.
    pub why: String,
}

impl Patterns {
    /// Returns the lines of a file with attributes.
    pub(super) fn lines(&self) -> Vec<String> {
        self.patterns.iter().map(|pattern| format!("{pattern} merge=seal diff=seal")).collect()
    }
}

/// Chooses patterns: those of creation rules, if all tell how names end, and else the ends that files with secrets have;
/// with those of encrypted files that would be left out.
///
/// # Errors
/// If Git cannot tell which files there are.
pub(super) fn choose(repository: &Repository, encrypted: &[PathBuf]) -> Result<Patterns, Failure> {
    let (mut patterns, why) = match of_rules(repository)? {
        Some(patterns) => (patterns, "the names of the creation rules"),
        None => {
            (WIDE.map(|(_, pattern)| pattern.to_owned()).to_vec(), "the usual names of files with secrets")
        }
    };
    let missed = |patterns: &[String]| -> Result<Vec<&PathBuf>, Failure> {
        let covered = repository.matching(patterns, encrypted)?;
        Ok(encrypted.iter().zip(covered).filter(|(_, covered)| !covered).map(|(file, _)| file).collect())
    };
    let left_out = missed(&patterns)?;
    // Where one has such a name, others will.
    let more: BTreeSet<String> = left_out.into_iter().map(|file| pattern_of(file)).collect();
    let why = if more.is_empty() { why.to_owned() } else { format!("{why}, and of encrypted files") };
    patterns.extend(more);
    Ok(Patterns { patterns, why })
}

/// Returns the pattern for an encrypted file that no rule is for.
fn pattern_of(file: &Path) -> String {
    let bytes = file.as_os_str().as_encoded_bytes();
    let wide = WIDE.iter().find(|(end, _)| bytes.ends_with(end.as_bytes()));
    wide.map(|(_, pattern)| (*pattern).to_owned()).unwrap_or_else(|| {
        let pattern = git::pattern_for(file);
        // What is not UTF-8 is left open, so that the attributes stay a text.
        quoted(&if file.to_str().is_none() {
            pattern.replace(char::REPLACEMENT_CHARACTER, "*")
        } else {
            pattern
        })
    })
}

/// Returns the patterns of the creation rules of a repository; nothing if there are none, or one does not tell.
fn of_rules(repository: &Repository) -> Result<Option<Vec<String>>, Failure> {
    let files = repository.files()?;
    let mut patterns = BTreeSet::new();
    for path in files.iter().filter(|path| path.file_name().is_some_and(|name| name == FILE_NAME)) {
        let Some(folder) = path.to_str().and_then(|path| path.strip_suffix(FILE_NAME)) else {
            return Ok(None);
        };
        let text = std::fs::read(repository.top.join(path)).ok();
        // A rule that cannot be read may be for any file.
        let Some(config) = text.and_then(|text| Config::parse(&text).ok()) else { return Ok(None) };
        if config.errors().next().is_some() {
            return Ok(None);
        }
        for rule in config.creation_rules() {
            let Some(names) = rule.path_regex.as_deref().and_then(names) else { return Ok(None) };
            patterns.extend(names.iter().map(|name| pattern_for_name(folder, name)));
        }
    }
    let patterns: Vec<String> = patterns.into_iter().collect();
    Ok((!patterns.is_empty() && patterns.len() <= MOST).then_some(patterns))
}

/// Returns the pattern for files of a name below a folder, which is empty or ends with a slash.
fn pattern_for_name(folder: &str, name: &Name) -> String {
    let escaped = |path: &str| git::pattern_for(Path::new(path)).split_off(1);
    let below = format!("{folder}{}", name.folder);
    let file = if name.is_whole { escaped(&name.end) } else { format!("*{}", escaped(&name.end)) };
    quoted(&match below.is_empty() {
        true if name.is_below => file,
        true => format!("/{file}"),
        false if name.is_below => format!("/{}**/{file}", escaped(&below)),
        false => format!("/{}{file}", escaped(&below)),
    })
}

/// Returns a pattern in quotes, if a file with attributes needs them.
fn quoted(pattern: &str) -> String {
    let needs_quotes = pattern.starts_with(['"', '#', '!', '['])
        || pattern.chars().any(|character| character.is_whitespace() || character.is_control());
    if !needs_quotes {
        return pattern.to_owned();
    }
    let mut text = String::from("\"");
    for character in pattern.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            character if character.is_ascii_control() => {
                text.push_str(&format!("\\{:03o}", u32::from(character)));
            }
            character => text.push(character),
        }
    }
    text.push('"');
    text
}

/// The ends of names that files with secrets have, each with its pattern.
const WIDE: [(&str, &str); 5] =
    [(".yaml", "*.yaml"), (".yml", "*.yml"), (".json", "*.json"), (".env", "*.env"), (".ini", "*.ini")];

/// How many patterns rules may have before wide ones are clearer.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_for_files_below_the_folder_of_their_rules() {
        let patterns = |folder: &str, regex: &str| -> Vec<String> {
            names(regex).expect(regex).iter().map(|name| pattern_for_name(folder, name)).collect()
        };
        assert_eq!(patterns("", r"\.enc\.ya?ml$"), ["*.enc.yaml", "*.enc.yml"]);
        assert_eq!(patterns("apps/", r"\.yaml$"), ["/apps/**/*.yaml"]);
        assert_eq!(patterns("", r"^prod/.*\.yaml$"), ["/prod/**/*.yaml"]);
        assert_eq!(patterns("", r"^prod/db\.yaml$"), ["/prod/db.yaml"]);
        assert_eq!(patterns("", r"(^|/)db x\.yaml$"), ["\"*db\\\\ x.yaml\""]);
    }

    #[test]
    fn a_pattern_of_blanks_and_signs_is_quoted_for_git() {
        assert_eq!(quoted(&git::pattern_for(Path::new("a b*.bin"))), "\"/a\\\\ b\\\\*.bin\"");
        assert_eq!(pattern_of(Path::new("x/y.yml")), "*.yml");
    }
}
