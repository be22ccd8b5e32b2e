//! What `.helmignore` leaves out of a chart, as Helm reads it.

/// The rules of a `.helmignore`, and those that always hold.
pub(super) struct Ignore(Vec<Rule>);

struct Rule {
    pattern: String,
    place: Place,
    is_negated: bool,
    is_for_folders: bool,
}

enum Place {
    /// The path from the chart's folder.
    Path,
    /// The name alone.
    Name,
}

/// A line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of .helmignore is no pattern that Helm knows")]
pub struct IgnoreError(pub usize);

impl Ignore {
    /// Reads the rules.
    ///
    /// # Errors
    /// If a line cannot be used.
    pub(super) fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let text = String::from_utf8_lossy(text);
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let pattern: Vec<char> = line.chars().collect();
            if line.contains("**") || matches(&pattern, &['a', 'b', 'c']).is_none() {
                return Err(IgnoreError(number + 1));
            }
            rules.push(Rule::parse(line));
        }
        rules.push(Rule::parse("templates/.?*"));
        Ok(Self(rules))
    }

    /// Returns whether Helm leaves a file out, by its path from the chart's folder: for its own sake, or that of a folder
    /// that it is in.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders
            .map(|folder| (folder, true))
            .chain([(path, false)])
            .any(|(path, is_folder)| self.is_hit(path, is_folder))
    }

    fn is_hit(&self, path: &str, is_folder: bool) -> bool {
        for rule in &self.0 {
            let fits = rule.fits(path);
            match (rule.is_negated, rule.is_for_folders && !is_folder) {
                // This is what Helm does: a negated rule leaves out all that it does not name.
                (true, true) => return true,
                (true, false) if !fits => return true,
                (false, false) if fits => return true,
                _ => {}
            }
        }
        false
    }
}

impl Rule {
    fn parse(line: &str) -> Self {
        let (is_negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (is_for_folders, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let place = if line.contains('/') { Place::Path } else { Place::Name };
        let pattern = line.strip_prefix('/').unwrap_or(line).to_owned();
        Self { pattern, place, is_negated, is_for_folders }
    }

    fn fits(&self, path: &str) -> bool {
        let name = match self.place {
            Place::Path => path,
            Place::Name => path.rsplit('/').next().unwrap_or(path),
        };
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        matches(&chars(&self.pattern), &chars(name)).unwrap_or_default()
    }
}

/// Returns whether a pattern of Go's `filepath.Match` fits a name; `None` if it is none.
fn matches(pattern: &[char], name: &[char]) -> Option<bool> {
    let Some((&first, rest)) = pattern.split_first() else { return Some(name.is_empty()) };
    match first {
        '*' => {
            // What follows is looked at though nothing may fit, as it may be no pattern.
            let mut fits = matches(rest, name)?;
            let most = name.iter().take_while(|&&letter| letter != '/').count();
            for from in 1..=most {
                fits = fits || matches(rest, &name[from..])?;
            }
            Some(fits)
        }
        '[' => {
            let (set, rest) = set(rest)?;
            let fits = name.first().is_some_and(|&letter| letter != '/' && set.holds(letter));
            let tail = matches(rest, name.get(1..).unwrap_or_default())?;
            Some(fits && tail)
        }
        '?' => {
            let fits = name.first().is_some_and(|&letter| letter != '/');
            let tail = matches(rest, name.get(1..).unwrap_or_default())?;
            Some(fits && tail)
        }
        _ => {
            let (letter, rest) =
                if first == '\\' { rest.split_first().map(|(&l, r)| (l, r))? } else { (first, rest) };
            let tail = matches(rest, name.get(1..).unwrap_or_default())?;
            Some(name.first() == Some(&letter) && tail)
        }
    }
}

struct Set {
    is_negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn holds(&self, letter: char) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&letter)) != self.is_negated
    }
}

/// Reads a set of characters up to its end.
fn set(pattern: &[char]) -> Option<(Set, &[char])> {
    let mut rest = pattern;
    let is_negated = rest.first() == Some(&'^');
    if is_negated {
        rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&']') && !ranges.is_empty() {
            return Some((Set { is_negated, ranges }, &rest[1..]));
        }
        let (low, after) = letter_of_set(rest)?;
        let (high, after) = match after.split_first() {
            Some(('-', after)) => letter_of_set(after)?,
            _ => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

fn letter_of_set(pattern: &[char]) -> Option<(char, &[char])> {
    let (&first, rest) = pattern.split_first()?;
    match first {
        '-' | ']' => None,
        '\\' => rest.split_first().map(|(&letter, rest)| (letter, rest)),
        letter => Some((letter, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_out_as_helm_leaves_them_out() {
        let rules = Ignore::parse(b"# note\n.git/\n*.bak\n/docs/*.md\nci\n[a-c]?.txt\n").expect("rules");
        for path in [
            ".git/config",
            "x/y.bak",
            "docs/a.md",
            "ci/values.yaml",
            "sub/ci/x",
            "az.txt",
            "templates/.x.yaml",
        ] {
            assert!(rules.leaves_out(path), "{path}");
        }
        for path in ["values.yaml", "docs/a/b.md", "x/docs/a.md", "dz.txt", "templates/x.yaml", "git"] {
            assert!(!rules.leaves_out(path), "{path}");
        }
    }

    #[test]
    fn a_negated_rule_leaves_out_all_else() {
        let rules = Ignore::parse(b"!*.yaml").expect("rules");
        assert!(rules.leaves_out("README") && !rules.leaves_out("values.yaml"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, line) in [("a\n**/b", 2), ("[", 1), ("x[]", 1), ("a\\", 1)] {
            assert_eq!(Ignore::parse(text.as_bytes()).err(), Some(IgnoreError(line)), "{text}");
        }
    }
}
