//! Which creation rule of SOPS holds for a path: that of the nearest `.sops.yaml` above it.
//!
//! sops looks from the working directory on; a check knows none, and looks from the folder of the file, as whoever
//! encrypts the file beside it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;

use super::context::Snapshot;
use crate::format::ParseErrorKind;
use crate::sops::config::{Config, ConfigError};

/// The `.sops.yaml` files of a snapshot, each read once.
pub struct Policies<'a> {
    files: &'a dyn Snapshot,
    /// By the path of the policy, and whether it is that of before.
    known: Mutex<HashMap<(bool, String), Option<Arc<Policy>>>>,
}

/// A `.sops.yaml`.
pub struct Policy {
    /// Where it is.
    pub path: String,
    /// What it says, or why it cannot be read.
    pub config: Result<Config, String>,
}

impl<'a> Policies<'a> {
    /// Returns the policies of a snapshot.
    #[must_use]
    pub fn new(files: &'a dyn Snapshot) -> Self {
        Self { files, known: Mutex::default() }
    }

    /// Returns the policy for a file: the nearest above it.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<Arc<Policy>> {
        self.nearest(self.files, false, path)
    }

    /// Returns the policy that was there for a file before.
    pub(super) fn before(&self, before: &dyn Snapshot, path: &str) -> Option<Arc<Policy>> {
        self.nearest(before, true, path)
    }

    fn nearest(&self, files: &dyn Snapshot, is_before: bool, path: &str) -> Option<Arc<Policy>> {
        let mut folder = path;
        for _ in 0..MAX_DEPTH {
            let (above, _) = folder.rsplit_once('/').unwrap_or_default();
            let policy = if above.is_empty() { NAME.to_owned() } else { format!("{above}/{NAME}") };
            if files.contains(&policy) {
                return self.read(files, (is_before, policy));
            }
            if above.is_empty() {
                break;
            }
            folder = above;
        }
        None
    }

    fn read(&self, files: &dyn Snapshot, key: (bool, String)) -> Option<Arc<Policy>> {
        // What another thread left behind is whole: entries are put in as they are.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(policy) = known {
            return policy;
        }
        let policy = match files.read(&key.1) {
            Ok(None) => None,
            Ok(Some(text)) => Some(parse(&text).map_err(|error| error.to_string())),
            Err(reason) => Some(Err(reason)),
        };
        let policy = policy.map(|config| Arc::new(Policy { path: key.1.clone(), config }));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, policy.clone());
        policy
    }
}

impl Policy {
    /// Returns the path of a file as its creation rules see it: from the folder of the policy on.
    #[must_use]
    pub fn relative<'p>(&self, path: &'p str) -> &'p str {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        path.strip_prefix(folder).map_or(path, |rest| rest.trim_start_matches('/'))
    }
}

/// Reads a policy, if that costs no more than that of an honest one: patterns are compiled, and a short one may stand
/// for a large program.
///
/// # Errors
/// If it cannot be read, or would cost too much.
pub(super) fn parse(text: &[u8]) -> Result<Config, ConfigError> {
    if text.len() > MAX_LENGTH || is_costly(text) {
        return Err(ConfigError { line: 1, kind: ParseErrorKind::TooLarge.into() });
    }
    Config::parse(text)
}

/// Returns whether the patterns of a policy are too many, or repeat too much.
fn is_costly(text: &[u8]) -> bool {
    let rules = memmem::find_iter(text, b"_regex").take(MAX_PATTERNS + 1).count();
    let mut cost = 0_usize;
    for line in text.split(|byte| *byte == b'\n') {
        let mut of_line = 0_usize;
        for at in memchr::memchr2_iter(b'{', b'\\', line) {
            if line[at] == b'\\' {
                // A class of Unicode has many parts.
                let is_class = matches!(line.get(at + 1), Some(b'p' | b'P'));
                of_line += if is_class { UNICODE_CLASS } else { 0 };
                continue;
            }
            let is_count = |byte: &&u8| byte.is_ascii_digit() || **byte == b',';
            let digits = line[at + 1..].iter().take(MAX_COUNT).take_while(is_count).count();
            let count = str::from_utf8(&line[at + 1..at + 1 + digits]).unwrap_or_default();
            let count =
                count.split(',').filter_map(|count| count.parse::<usize>().ok()).max().unwrap_or_default();
            let is_repeated = at > 0 && matches!(line[at - 1], b')' | b'}');
            let more = if is_repeated { of_line.max(1).saturating_mul(count) } else { count };
            of_line = of_line.saturating_add(more);
        }
        cost = cost.saturating_add(of_line);
    }
    rules > MAX_PATTERNS || cost > MAX_COST
}

/// What a policy is called.
pub(super) const NAME: &str = ".sops.yaml";

/// How long a policy is at most.
const MAX_LENGTH: usize = 1 << 20;

/// How many patterns a policy has at most.
const MAX_PATTERNS: usize = 2_000;

/// How often the patterns of a policy repeat something, together, at most.
const MAX_COST: usize = 4_000;

/// How many repetitions a class of Unicode stands for.
const UNICODE_CLASS: usize = 4;

/// How long a count is at most.
const MAX_COUNT: usize = 16;

/// How many folders above a file are looked into, as sops does.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Files;

    #[test]
    fn a_policy_that_costs_too_much_is_not_read() {
        let rule = "- path_regex: '(?i)[\\pL\\pN]{200,500}x'\n";
        for text in [
            format!("creation_rules:\n{}", rule.repeat(80)),
            format!("creation_rules:\n{}", "- path_regex: a\n".repeat(2_001)),
            "creation_rules:\n- path_regex: ((a{100}){100}){100}\n".to_owned(),
            format!("# {}\n", "a".repeat(1 << 20)),
        ] {
            assert!(parse(text.as_bytes()).is_err());
        }
        let usual =
            "creation_rules: [{path_regex: '[0-9a-f]{40}/.{2,8}(a|b){3}$'}, {path_regex: '\\pL{1,64}'}]\n";
        assert!(parse(usual.as_bytes()).is_ok());
    }

    #[test]
    fn the_nearest_policy_counts() {
        let files: Files = [
            (".sops.yaml", "creation_rules: [{path_regex: ^a/, encrypted_regex: top}]\n"),
            ("a/b/.sops.yaml", "creation_rules: [{path_regex: ^c, encrypted_regex: below}]\n"),
            ("bad/.sops.yaml", "creation_rules: 1\n"),
        ]
        .into_iter()
        .collect();
        let policies = Policies::new(&files);
        let rule = |path: &str| {
            let policy = policies.of(path).expect("a policy");
            let config = policy.config.as_ref().expect("a configuration");
            let rule = config.rule_for(policy.relative(path)).expect("a good rule")?;
            Some(rule.selector.as_ref().expect("a selector").text().to_owned())
        };
        assert_eq!(rule("a/x.yaml").as_deref(), Some("top"));
        assert_eq!(rule("x.yaml"), None);
        assert_eq!(rule("a/b/c.yaml").as_deref(), Some("below"));
        assert_eq!(rule("a/b/d/c.yaml"), None);
        assert!(policies.of("bad/x").is_some_and(|policy| policy.config.is_err()));
        let none = Files::default();
        assert!(Policies::new(&none).of("a/b").is_none());
    }
}
