//! Where a value stands in a document: keys and list positions from the root.
//!
//! The written form is that of `sops --extract`: `["key"]["other"][0]`.

use std::fmt;

/// A place in a document; the empty path is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<Step>);

/// One step down a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The item of a list at this 0-based position, comments not counted.
    Index(usize),
    /// The first value of a map with this key.
    Key(String),
}

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A component has no closing bracket, or the text does not start with one.
    #[error("component {0:?} of the path is not in brackets")]
    Bracket(String),
    /// A component is neither in quotes nor a position.
    #[error("component {0:?} of the path is neither a quoted key nor a list position")]
    Component(String),
}

impl TreePath {
    /// Returns the path of the root.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads a path such as `["key"]['other'][0]`.
    ///
    /// As in sops there are no escapes: a key may hold `]` and quotes, but not `[`.
    ///
    /// # Errors
    /// If a component is not in brackets, or holds neither a quoted key nor a number.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Some(components) = text.strip_prefix('[') else {
            return Err(PathError::Bracket(text.to_owned()));
        };
        components.split('[').map(parse_component).collect::<Result<_, _>>().map(Self)
    }

    /// Appends a step.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Removes the last step.
    pub fn pop(&mut self) -> Option<Step> {
        self.0.pop()
    }

    /// Returns the steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

fn parse_component(component: &str) -> Result<Step, PathError> {
    let Some(inner) = component.trim_end().strip_suffix(']') else {
        return Err(PathError::Bracket(component.to_owned()));
    };
    for quote in ['"', '\''] {
        let key = inner.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(key) = key {
            return Ok(Step::Key(key.to_owned()));
        }
    }
    inner.parse().map(Step::Index).map_err(|_| PathError::Component(inner.to_owned()))
}

impl FromIterator<Step> for TreePath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Index(index) => write!(formatter, "[{index}]"),
            Step::Key(key) => write!(formatter, "[\"{key}\"]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_it_is_written() {
        for text in ["", r#"["a"]"#, r#"["a"][0]["b c"]"#, r#"["a]b"]"#] {
            assert_eq!(TreePath::parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn both_kinds_of_quotes_hold_a_key() {
        assert_eq!(TreePath::parse("['a']"), TreePath::parse(r#"["a"]"#));
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        assert_eq!(TreePath::parse("a"), Err(PathError::Bracket("a".into())));
        assert_eq!(TreePath::parse("[\"a\""), Err(PathError::Bracket("\"a\"".into())));
        assert_eq!(TreePath::parse("[a]"), Err(PathError::Component("a".into())));
        assert_eq!(TreePath::parse("[-1]"), Err(PathError::Component("-1".into())));
    }
}
