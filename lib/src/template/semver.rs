//! Versions and constraints as Masterminds' `semver` v3 reads and compares them.

use std::cmp::Ordering;
use std::fmt::{Display, Formatter};

/// A version, which may lack its minor and patch numbers where it is read.
#[derive(Clone, Debug)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    pub prerelease: String,
    pub metadata: String,
    pub original: String,
    /// Whether Go has a pointer to it, as the function `semver` returns.
    pub is_pointer: bool,
}

/// Why text is no version.
pub enum VersionFault {
    Message(&'static str),
    Segment(String),
}

impl VersionFault {
    /// Returns what Go says; without the number if the text may be secret.
    pub fn message(&self, is_public: bool) -> String {
        match self {
            Self::Message(message) => (*message).to_owned(),
            Self::Segment(number) => {
                let number = if is_public { number } else { crate::template::call::HIDDEN };
                format!(
                    "error parsing version segment: strconv.ParseUint: parsing \"{number}\": value out of range"
                )
            }
        }
    }
}

impl Version {
    /// Reads a version.
    pub fn parse(text: &str) -> Result<Self, VersionFault> {
        const INVALID: VersionFault = VersionFault::Message("invalid semantic version");
        let parts = Parts::parse(text, |character| character.is_ascii_digit()).ok_or(INVALID)?;
        if !parts.rest.is_empty() {
            return Err(INVALID);
        }
        let number = |text: Option<&str>| {
            let text = text.unwrap_or("0");
            text.parse::<u64>().map_err(|_| VersionFault::Segment(text.to_owned()))
        };
        let version = Self {
            major: number(Some(parts.major))?,
            minor: number(parts.minor)?,
            patch: number(parts.patch)?,
            prerelease: parts.prerelease.to_owned(),
            metadata: parts.metadata.to_owned(),
            original: text.to_owned(),
            is_pointer: true,
        };
        let has_leading_zero = |part: &str| {
            part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if version.prerelease.split('.').any(has_leading_zero) {
            return Err(VersionFault::Message("version segment starts with 0"));
        }
        Ok(version)
    }

    /// Returns another version with the `v` of this one.
    pub fn with(&self, major: u64, minor: u64, patch: u64) -> Self {
        let mut next = Self {
            major,
            minor,
            patch,
            prerelease: String::new(),
            metadata: String::new(),
            original: String::new(),
            is_pointer: false,
        };
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{prefix}{next}");
        next
    }

    /// Returns what Go calls its type.
    pub fn type_name(&self) -> &'static str {
        if self.is_pointer { "*semver.Version" } else { "semver.Version" }
    }

    /// Returns what Go calls its kind.
    pub fn kind_name(&self) -> &'static str {
        if self.is_pointer { "ptr" } else { "struct" }
    }

    fn numbers(&self) -> (u64, u64, u64) {
        (self.major, self.minor, self.patch)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.numbers() == other.numbers()
            && self.prerelease == other.prerelease
            && self.metadata == other.metadata
            && self.original == other.original
    }
}

impl Display for Version {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(formatter, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(formatter, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

/// Compares versions, without their metadata.
pub fn compare(one: &Version, other: &Version) -> Ordering {
    one.numbers().cmp(&other.numbers()).then_with(|| compare_prereleases(&one.prerelease, &other.prerelease))
}

fn compare_prereleases(one: &str, other: &str) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        let ordering = match (ones.next(), others.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(one), Some(other)) => match (one.parse::<u64>(), other.parse::<u64>()) {
                (Ok(one), Ok(other)) => one.cmp(&other),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => one.cmp(other),
            },
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

/// The parts of a version in text.
struct Parts<'p> {
    /// All of it, without what follows.
    text: &'p str,
    major: &'p str,
    minor: Option<&'p str>,
    patch: Option<&'p str>,
    prerelease: &'p str,
    metadata: &'p str,
    rest: &'p str,
}

impl<'p> Parts<'p> {
    /// Reads as much of a version as there is.
    fn parse(text: &'p str, is_number: fn(char) -> bool) -> Option<Self> {
        let take = |text: &'p str| {
            let end = text.find(|character| !is_number(character)).unwrap_or(text.len());
            Some(text.split_at(end)).filter(|(number, _)| !number.is_empty())
        };
        let (major, mut rest) = take(text.strip_prefix('v').unwrap_or(text))?;
        let mut further = || {
            let (number, after) = take(rest.strip_prefix('.')?)?;
            rest = after;
            Some(number)
        };
        let minor = further();
        let patch = further();
        let mut extra = |sign: char| {
            let tail = rest.strip_prefix(sign)?;
            let is_letter = |character: char| character.is_ascii_alphanumeric() || character == '-';
            let mut end = 0;
            loop {
                let part = &tail[end..];
                let length = part.find(|character| !is_letter(character)).unwrap_or(part.len());
                if length == 0 {
                    // A point with nothing behind it is not part of it.
                    end = end.checked_sub(1)?;
                    break;
                }
                end += length;
                if !tail[end..].starts_with('.') {
                    break;
                }
                end += 1;
            }
            rest = &tail[end..];
            Some(&tail[..end])
        };
        let prerelease = extra('-').unwrap_or("");
        let metadata = extra('+').unwrap_or("");
        let text = &text[..text.len() - rest.len()];
        Some(Self { text, major, minor, patch, prerelease, metadata, rest })
    }
}

/// Constraints: any of the groups, all of a group.
pub struct Constraints(Vec<Vec<Constraint>>);

/// Why text is no constraint.
pub enum ConstraintFault {
    Improper(String),
    Version,
}

struct Constraint {
    operator: &'static str,
    version: Version,
    is_dirty: bool,
    is_minor_dirty: bool,
    is_patch_dirty: bool,
}

impl Constraints {
    /// Reads constraints.
    pub fn parse(text: &str) -> Result<Self, ConstraintFault> {
        let text = with_ranges_as_bounds(text);
        let groups = text.split("||").map(|group| {
            let improper = || ConstraintFault::Improper(group.to_owned());
            let mut rest = group;
            let mut constraints = Vec::new();
            loop {
                rest = rest.trim_start_matches(SPACES);
                let operator = operator_of(&mut rest);
                rest = rest.trim_start_matches(SPACES);
                let parts = Parts::parse(rest, is_number_or_wildcard).ok_or_else(improper)?;
                constraints.push(Constraint::of(operator, &parts)?);
                let has_space = parts.rest.starts_with(SPACES);
                rest = parts.rest.trim_start_matches(SPACES);
                if rest.is_empty() {
                    return Ok(constraints);
                }
                match rest.strip_prefix(',') {
                    Some(after) => rest = after,
                    None if has_space => {}
                    // What begins a new constraint at once is one without a space between.
                    None => return Err(improper()),
                }
            }
        });
        groups.collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether a version is allowed.
    pub fn allow(&self, version: &Version) -> bool {
        self.0.iter().any(|group| {
            let includes = group.iter().any(|constraint| !constraint.version.prerelease.is_empty());
            let is_included = includes || version.prerelease.is_empty();
            is_included && group.iter().all(|constraint| constraint.allows(version))
        })
    }
}

impl Constraint {
    fn of(operator: &'static str, parts: &Parts<'_>) -> Result<Self, ConstraintFault> {
        let is_wild = |part: Option<&str>| part.is_none_or(|part| matches!(part, "x" | "X" | "*"));
        let tail = if parts.prerelease.is_empty() { String::new() } else { format!("-{}", parts.prerelease) };
        let (mut is_minor_dirty, mut is_patch_dirty) = (false, false);
        let text = if is_wild(Some(parts.major)) {
            format!("0.0.0{tail}")
        } else if is_wild(parts.minor) {
            is_minor_dirty = true;
            format!("{}.0.0{tail}", parts.major)
        } else if is_wild(parts.patch) {
            is_patch_dirty = true;
            format!("{}.{}.0{tail}", parts.major, parts.minor.unwrap_or("0"))
        } else {
            parts.text.to_owned()
        };
        let is_dirty = is_wild(Some(parts.major)) || is_minor_dirty || is_patch_dirty;
        let version = Version::parse(&text).map_err(|_| ConstraintFault::Version)?;
        Ok(Self { operator, version, is_dirty, is_minor_dirty, is_patch_dirty })
    }

    fn allows(&self, version: &Version) -> bool {
        let wanted = &self.version;
        let ordering = compare(version, wanted);
        match self.operator {
            "!=" => self.differs(version),
            "<" => ordering.is_lt(),
            "<=" | "=<" => {
                if !self.is_dirty {
                    return ordering.is_le();
                }
                version.major < wanted.major
                    || (version.major == wanted.major
                        && (version.minor <= wanted.minor || self.is_minor_dirty))
            }
            "=>" | ">=" => ordering.is_ge(),
            ">" => {
                if self.is_dirty && version.major != wanted.major {
                    version.major > wanted.major
                } else if self.is_minor_dirty {
                    false
                } else if self.is_patch_dirty {
                    version.minor > wanted.minor
                } else {
                    ordering.is_gt()
                }
            }
            "^" => ordering.is_ge() && self.is_caret(version),
            "~" | "~>" => ordering.is_ge() && self.is_tilde(version),
            _ if self.is_dirty => ordering.is_ge() && self.is_tilde(version),
            _ => ordering.is_eq(),
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if self.is_dirty {
            if wanted.major != version.major || (wanted.minor != version.minor && !self.is_minor_dirty) {
                return true;
            }
            if self.is_minor_dirty {
                return false;
            }
            if wanted.patch != version.patch && !self.is_patch_dirty {
                return true;
            }
            if self.is_patch_dirty {
                return compare_prereleases(&version.prerelease, &wanted.prerelease).is_ne();
            }
        }
        compare(version, wanted).is_ne()
    }

    fn is_tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        let is_any = wanted.numbers() == (0, 0, 0) && !self.is_minor_dirty && !self.is_patch_dirty;
        is_any || (version.major == wanted.major && (version.minor == wanted.minor || self.is_minor_dirty))
    }

    fn is_caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if wanted.major > 0 || self.is_minor_dirty {
            return version.major == wanted.major;
        }
        if version.major > 0 {
            return false;
        }
        if wanted.minor > 0 || self.is_patch_dirty {
            return version.minor == wanted.minor;
        }
        version.minor == 0 && version.patch == wanted.patch
    }
}

fn operator_of(text: &mut &str) -> &'static str {
    let operator = OPERATORS.iter().find(|operator| text.starts_with(**operator)).unwrap_or(&"");
    *text = &text[operator.len()..];
    operator
}

fn is_number_or_wildcard(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, 'x' | 'X' | '*' | '|')
}

/// Writes `1.2 - 1.4` as `>= 1.2, <= 1.4`.
fn with_ranges_as_bounds(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((bounds, after)) = range_at(rest) {
            out += &bounds;
            rest = after;
        } else {
            let width = rest.chars().next().map_or(1, char::len_utf8);
            out += &rest[..width];
            rest = &rest[width..];
        }
    }
    out
}

fn range_at(text: &str) -> Option<(String, &str)> {
    let low = Parts::parse(text.trim_start_matches(SPACES), is_number_or_wildcard)?;
    let middle = low.rest.trim_start_matches(SPACES);
    let after = middle.strip_prefix('-')?;
    let high = after.trim_start_matches(SPACES);
    if middle.len() == low.rest.len() || high.len() == after.len() {
        return None;
    }
    let high = Parts::parse(high, is_number_or_wildcard)?;
    Some((format!(">= {}, <= {} ", low.text, high.text), high.rest.trim_start_matches(SPACES)))
}

/// The longest first, where one starts with another.
const OPERATORS: &[&str] = &["!=", ">=", "=>", "<=", "=<", "~>", "=", ">", "<", "~", "^"];

const SPACES: &[char] = &[' ', '\t', '\n', '\r', '\x0C'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_those_of_masterminds() {
        let cases = [
            ("^1.2", "1.9.0", true),
            ("^0.2", "0.3.0", false),
            ("~1.2.3", "1.2.9", true),
            (">=1.0.0 <2", "1.5.0", true),
            (">= 1.2, < 3.0.0 || >= 4.2.3", "4.2.4", true),
            ("1.2 - 1.4.5", "1.4.6", false),
            ("1.2.x", "1.2.7", true),
            ("*", "1.2.3-beta", false),
            (">1-0", "1.2.3-beta", false),
            ("!=1.2.x", "1.2.4", false),
        ];
        for (constraint, version, expected) in cases {
            let constraints = Constraints::parse(constraint).unwrap_or_else(|_| panic!("{constraint}"));
            let version = Version::parse(version).unwrap_or_else(|_| panic!("{version}"));
            assert_eq!(constraints.allow(&version), expected, "{constraint} {version}");
        }
    }
}
