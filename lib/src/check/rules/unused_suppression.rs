//! META002: something is allowed for nothing, or no longer.

use std::ops::Range;

use crate::check::{Check, File, Finding, Needles, Rule, Severity};

pub(super) static RULE: Rule = Rule {
    id: "META002",
    severity: Severity::Warning,
    title: "something is allowed for nothing, or no longer",
    explanation: "What a repository allows by name is allowed for a reason and, if it says so, until a day. A comment or an \
        entry of `allow` that is malformed, that names no rule or reason, whose last day is gone, or that no finding \
        needs any more, is told here: it would allow the next mistake at its place without anybody having decided it. \
        Of those, only what is needed no more had any effect.\n\n\
        A comment allows findings in its own line or, if it stands alone, in the next one. It begins with `seal:allow`, \
        names one or several rules, a reason in quotes and, if wanted, the last day: \
        `# seal:allow K8S006 reason=\"demo user\" until=2027-06-30`. What looks like a comment and is part of a value \
        allows nothing. JSON has no comments, and KEY001 is allowed by none: for these there are entries of `allow` in \
        .seal-check.yaml, with `path`, `rule`, `reason` and, if wanted, `pointer` and `until`.\n\n\
        To mend it, complete the comment, give it another day, put it where the finding is, or take it out.",
    needles: Needles::ANY_FILE,
    check: Check::Checker,
};

/// Returns what tells that something allows nothing.
pub(in crate::check) fn suppression(
    file: &File<'_>,
    span: Range<usize>,
    message: &str,
    remedy: &str,
) -> Finding {
    Finding::new(&RULE, file, span, message).remedy(remedy)
}
