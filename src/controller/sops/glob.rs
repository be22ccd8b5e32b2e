//! Patterns for names: `*` stands for any characters, `?` for one, all else for itself.

/// A pattern for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Returns a pattern.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// Returns whether a name as a whole is one that the pattern stands for.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut place) = (0, 0);
        // Where the last `*` is, and where what it stands for ends.
        let mut star = None;
        while place < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, place));
                    at += 1;
                }
                Some(&letter) if letter == '?' || letter == name[place] => {
                    at += 1;
                    place += 1;
                }
                _ => {
                    let Some((of_star, end)) = star else { return false };
                    star = Some((of_star, end + 1));
                    at = of_star + 1;
                    place = end + 1;
                }
            }
        }
        pattern[at..].iter().all(|&letter| letter == '*')
    }
}

/// Returns whether one of some patterns stands for a name.
#[must_use]
pub fn any(patterns: &[Glob], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_whole_names() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("team-*", "team-a", true),
            ("team-*", "my-team-a", false),
            ("*-b", "a-b-b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-cd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("ä?", "äö", true),
            ("**a**", "a", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
