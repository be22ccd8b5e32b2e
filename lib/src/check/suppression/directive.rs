//! What a comment says that allows something: `seal:allow RULE[,RULE] reason="…" until=YYYY-MM-DD`.

use time::{Date, Month};

use crate::check::rule::Rule;
use crate::check::rules::RULES;

/// How such a comment begins.
pub(super) const MARK: &str = "seal:allow";

/// What a comment allows.
#[derive(Debug)]
pub(super) struct Directive {
    /// The rules.
    pub rules: Vec<&'static Rule>,
    /// Why.
    pub reason: String,
    /// The last day.
    pub until: Option<Date>,
}

/// Why a comment allows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirectiveError {
    #[error("{0} is not allowed by a comment")]
    Locked(&'static str),
    #[error("this comment allows nothing: it gives no reason")]
    NoReason,
    #[error("this comment allows nothing: it names no rule")]
    NoRule,
    #[error("this comment allows nothing: its reason has no closing quote")]
    OpenQuote,
    #[error("this comment allows nothing: its last day is no day")]
    NoDay,
    #[error("this comment allows nothing: it says more than rules, `reason` and `until`")]
    Unexpected,
    /// Its name, if it looks like one: else it might be anything.
    #[error("this comment allows nothing: there is no rule {}", .0.as_deref().unwrap_or("that is called so"))]
    UnknownRule(Option<String>),
}

impl DirectiveError {
    /// Returns what mends it.
    pub(super) const fn remedy(&self) -> &'static str {
        match self {
            Self::Locked(_) => {
                "write an entry of `allow` in .seal-check.yaml, with a reason, for others to see"
            }
            _ => "write `seal:allow RULE reason=\"why\" until=YYYY-MM-DD`; `until` can be left out",
        }
    }
}

impl Directive {
    /// Returns whether its last day is gone.
    pub(super) fn is_expired(&self, today: Date) -> bool {
        self.until.is_some_and(|until| until < today)
    }
}

/// Reads what stands in a comment, from its mark on.
pub(super) fn read(text: &str) -> Result<Directive, DirectiveError> {
    let mut rest = text.strip_prefix(MARK).unwrap_or(text).trim();
    let mut directive = Directive { rules: Vec::new(), reason: String::new(), until: None };
    let (mut names, mut has_reason) = (Vec::new(), false);
    while !rest.is_empty() {
        if let Some(value) = rest.strip_prefix("reason=") {
            let (value, behind) = value_of(value)?;
            if has_reason {
                return Err(DirectiveError::Unexpected);
            }
            has_reason = true;
            let value = value.trim().chars().take(MAX_REASON);
            directive.reason = value.map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
            rest = behind;
        } else if let Some(value) = rest.strip_prefix("until=") {
            let (value, behind) = value_of(value)?;
            if directive.until.is_some() {
                return Err(DirectiveError::Unexpected);
            }
            directive.until = Some(day(value).ok_or(DirectiveError::NoDay)?);
            rest = behind;
        } else if has_reason || directive.until.is_some() {
            return Err(DirectiveError::Unexpected);
        } else {
            let end = rest.find(|letter: char| letter == ',' || letter.is_whitespace()).unwrap_or(rest.len());
            names.push(&rest[..end]);
            rest = rest[end..].trim_start_matches(',');
        }
        rest = rest.trim_start();
    }
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let rule = crate::check::rule(name)
            .ok_or_else(|| DirectiveError::UnknownRule(looks_like_rule(name).then(|| name.to_owned())))?;
        if rule.id == "KEY001" || rule.id.starts_with("META") {
            return Err(DirectiveError::Locked(rule.id));
        }
        if !directive.rules.contains(&rule) {
            directive.rules.push(rule);
        }
    }
    match directive {
        Directive { ref rules, .. } if rules.is_empty() => Err(DirectiveError::NoRule),
        Directive { ref reason, .. } if reason.is_empty() => Err(DirectiveError::NoReason),
        directive => Ok(directive),
    }
}

/// Reads a day, as `YYYY-MM-DD`.
pub(in crate::check) fn day(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    let is_digit = |index: usize| bytes[index].is_ascii_digit();
    let has_form = bytes.len() == 10
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(is_digit);
    if !has_form {
        return None;
    }
    // What has this form is made of numbers; whether there is such a day is asked below.
    let (year, month) = (text[..4].parse().ok()?, text[5..7].parse::<u8>().ok()?);
    Date::from_calendar_date(year, Month::try_from(month).ok()?, text[8..].parse().ok()?).ok()
}

/// Parts a value, in quotes or not, from what stands behind it.
fn value_of(text: &str) -> Result<(&str, &str), DirectiveError> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        return text[1..].split_once(quote).ok_or(DirectiveError::OpenQuote);
    }
    Ok(text.split_at(text.find(char::is_whitespace).unwrap_or(text.len())))
}

/// Returns whether a name begins as that of some rule, and has three digits behind that: then it is no secret.
fn looks_like_rule(name: &str) -> bool {
    let Some((start, digits)) = name.len().checked_sub(3).and_then(|at| name.split_at_checked(at)) else {
        return false;
    };
    let is_start =
        RULES.iter().any(|rule| rule.id.trim_end_matches(|letter: char| letter.is_ascii_digit()) == start);
    is_start && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// How much of a reason is kept, in characters.
const MAX_REASON: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_reason_and_day_are_read() {
        let directive =
            read("seal:allow K8S006, TOK003 until=2027-06-30 reason=\"demo, user\"").expect("one");
        let names: Vec<_> = directive.rules.iter().map(|rule| rule.id).collect();
        assert_eq!((names, directive.reason.as_str()), (vec!["K8S006", "TOK003"], "demo, user"));
        assert_eq!(directive.until, day("2027-06-30"));
        assert!(directive.is_expired(day("2027-07-01").expect("a day")));
        assert!(!directive.is_expired(day("2027-06-30").expect("a day")));
        assert_eq!(read("seal:allow K8S006 reason=demo").expect("one").reason, "demo");
    }

    #[test]
    fn what_is_missing_is_told() {
        for (text, error) in [
            ("seal:allow", DirectiveError::NoRule),
            ("seal:allow reason=x", DirectiveError::NoRule),
            ("seal:allow K8S006", DirectiveError::NoReason),
            ("seal:allow K8S006 reason=\" \"", DirectiveError::NoReason),
            ("seal:allow K8S006 reason=\"x", DirectiveError::OpenQuote),
            ("seal:allow K8S006 reason=x until=soon", DirectiveError::NoDay),
            ("seal:allow K8S006 reason=x until=2027-02-30", DirectiveError::NoDay),
            ("seal:allow K8S006 reason=x y", DirectiveError::Unexpected),
            ("seal:allow K8S996 reason=x", DirectiveError::UnknownRule(Some("K8S996".to_owned()))),
            ("seal:allow hunter2 reason=x", DirectiveError::UnknownRule(None)),
            ("seal:allow HUNT2345 reason=x", DirectiveError::UnknownRule(None)),
            ("seal:allow ü001 reason=x", DirectiveError::UnknownRule(None)),
            ("seal:allow KEY001 reason=x", DirectiveError::Locked("KEY001")),
            ("seal:allow META003 reason=x", DirectiveError::Locked("META003")),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(error), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_comment_makes_it_panic(text in "(seal:allow)?[ A-Z0-9,a-z=\"'ü-]{0,60}") {
            if let Ok(directive) = read(&text) {
                proptest::prop_assert!(!directive.reason.is_empty() && !directive.rules.is_empty());
            }
            let _ = day(&text);
        }
    }
}
