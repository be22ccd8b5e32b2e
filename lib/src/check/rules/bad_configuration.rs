//! META003: the configuration of the checks cannot be used, or protects less than before.

use crate::check::baseline::Baseline;
use crate::check::config::{Config, Weaker, weaker};
use crate::check::context::{Context, Snapshot};
use crate::check::facts::Facts;
use crate::check::{Check, File, Finding, Findings, Mode, Needles, Rule, Severity, decode};

pub(super) static RULE: Rule = Rule {
    id: "META003",
    severity: Severity::Error,
    title: "the configuration of the checks cannot be used, or protects less",
    explanation: "Nothing is checked by a configuration that says something that does not exist: a word that is \
        misspelt would switch off in silence what somebody relies on. So a field, a rule or a value of \
        .seal-check.yaml that is not known, and a line of .seal-baseline that is no entry, stop a commit.\n\n\
        A change of .seal-check.yaml that switches a rule off, makes it less, allows more or takes more values for \
        placeholders is a warning, even where it is meant: whoever reviews the change shall see it. It counts from the \
        same commit on. So is an entry that .seal-baseline did not have, as what it stands for is told no more.\n\n\
        To mend an error, correct the line that is named; `kubectl seal hook config` shows how the file is understood. \
        What protects most (K8S001, KEY001, META001 and the rules of SOPS) is made less only with a `reason` beside it, \
        and this rule never.",
    needles: Needles::ANY_FILE,
    check: Check::Change(check),
};

/// Returns what tells that `.seal-check.yaml` or `.seal-baseline` cannot be used: callers read these themselves, and
/// tell it in place of what they cannot check. `line` is that of the error, from 1 on.
#[must_use]
pub fn unusable(file: &File<'_>, line: usize, message: &str) -> Finding {
    let span = file.line(line.clamp(1, file.line_count().max(1)));
    Finding::new(&RULE, file, span, message)
        .remedy("correct the line; `kubectl seal hook config` tells whether it is right")
}

fn check(_facts: &[Facts], context: &Context<'_>, found: &mut Findings) {
    let Some(before) = context.before else { return };
    check_configuration(before, context.after, found);
    check_baseline(before, context.after, found);
}

fn check_configuration(before: &dyn Snapshot, after: &dyn Snapshot, found: &mut Findings) {
    let (old, new) = (read(before, Config::NAME), read(after, Config::NAME));
    if old == new {
        return;
    }
    // What cannot be used now was told by the caller. What could not be used before protected as much as nothing said.
    let Ok(config) = Config::parse(&new) else { return };
    let less = weaker(&Config::parse(&old).unwrap_or_default(), &config);
    tell(Config::NAME, &new, less, "things are protected less", found);
}

fn check_baseline(before: &dyn Snapshot, after: &dyn Snapshot, found: &mut Findings) {
    let (old, new) = (read(before, Baseline::NAME), read(after, Baseline::NAME));
    if old == new {
        return;
    }
    let added = Baseline::added(&old, &new);
    let less = added.into_iter().map(|(span, place)| Weaker {
        span,
        message: format!("what {} finds in `{}` is told no more", place.rule, place.path),
    });
    tell(Baseline::NAME, &new, less.collect(), "entries are new", found);
}

/// Tells what is protected less by a file: a warning for each, until they are too many.
fn tell(path: &str, text: &[u8], less: Vec<Weaker>, more_of: &str, found: &mut Findings) {
    let content = decode(text);
    let file = File::new(path, text, &content, Mode::File);
    let tell = |Weaker { span, message }: Weaker| {
        let end = span.end.min(file.text().len());
        Finding::new(&RULE, &file, span.start.min(end)..end, message)
            .severity(Severity::Warning)
            .remedy("if it is meant, say so to whoever reviews this change; take it back otherwise")
    };
    let more = less.len().saturating_sub(MAX_TOLD);
    for weaker in less.into_iter().take(MAX_TOLD) {
        found.add(tell(weaker));
    }
    if more > 0 {
        found.add(tell(Weaker { span: 0..0, message: format!("{more} more {more_of}") }));
    }
}

/// Returns a file that says how others are checked; what cannot be read says nothing, and callers tell it.
fn read(files: &dyn Snapshot, path: &str) -> Vec<u8> {
    files.read(path).ok().flatten().unwrap_or_default()
}

/// How many things are told at most, one by one.
const MAX_TOLD: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::Repository;

    fn told(old: &str, new: &str) -> Vec<String> {
        let mut repository = Repository::default().with_config(new);
        if !old.is_empty() {
            repository = repository.with_old(Config::NAME, old);
        }
        if !new.is_empty() {
            repository = repository.with(Config::NAME, new);
        }
        let found = repository.check().into_iter().filter(|finding| finding.rule == &RULE);
        let show = |finding: Finding| {
            format!("{} {} {}", finding.start.line, finding.severity.name(), finding.message)
        };
        found.map(show).collect()
    }

    #[test]
    fn what_protects_less_is_told_at_its_line() {
        for (old, new, wanted) in [
            ("", "version: 1\nrules:\n  K8S002: off\n", "3 warning K8S002 is set to `off`, and was `error`"),
            ("rules: {K8S006: error}", "version: 1", "1 warning K8S006 is set to `warning`, and was `error`"),
            ("rules: {K8S006: error}", "", "1 warning K8S006 is set to `warning`, and was `error`"),
            (
                "",
                "paths:\n- match: docs/**\n  rules:\n    K8S002: warning\n",
                "4 warning K8S002 is `warning` in `docs/**`",
            ),
            (
                "paths: [{match: 'prod/**', rules: {K8S006: error}}]",
                "",
                "1 warning K8S006 is not `error` any more in `prod/**`",
            ),
            (
                "",
                "allow:\n- {path: a.json, rule: K8S001, pointer: /data/a, reason: x}",
                "2 warning K8S001 is allowed in `a.json at /data/a`",
            ),
            (
                "allow: [{path: a, rule: K8S001, reason: x, until: 2027-01-01}]",
                "allow: [{path: a, rule: K8S001, reason: x}]",
                "1 warning K8S001 is allowed in `a`",
            ),
            (
                "placeholders: [AB]",
                "placeholders:\n- AB\n- 'ACE*'",
                "3 warning more values are placeholders now",
            ),
            (
                "paths:\n- {match: '**', rules: {K8S001: warning}, reason: x}\n- {match: 'prod/**', rules: {K8S001: error}}",
                "paths:\n- {match: '**', rules: {K8S001: warning}, reason: x}",
                "1 warning K8S001 is not `error` any more in `prod/**`",
            ),
            (
                "",
                "rules:\n  SOPS012: {severity: warning, reason: x}",
                "2 warning SOPS012 is never worse than `warning` now",
            ),
            ("strict: true", "strict: false", "1 warning warnings stop no commit any more: `strict` is off"),
            ("scope: file", "", "1 warning `scope` is `changed-document`, and was `file`"),
            (
                "sops: {require-mac: always}",
                "sops: {require-mac: never}",
                "1 warning `require-mac` is `never`, and was `always`",
            ),
            (
                "sealed: {cert: a.pem}",
                "sealed:\n  cert: b.pem",
                "2 warning Secrets are sealed for another certificate",
            ),
            (
                "extra-kinds: [{group: a.b, kind: C, encrypted: spec.d}]",
                "",
                "1 warning objects of kind C need not be encrypted any more",
            ),
        ] {
            assert_eq!(told(old, new), [wanted], "{old} -> {new}");
        }
    }

    #[test]
    fn what_protects_as_much_is_not_told() {
        for (old, new) in [
            ("", "version: 1\n# nothing else\n"),
            ("", "rules: {K8S006: error}\nstrict: true\nscope: file\nfix: stage\n"),
            ("rules: {K8S002: off}", "rules: {K8S002: warning}"),
            ("rules: {K8S002: off}", "rules:\n  K8S002: off\n"),
            ("", "paths: [{match: 'prod/**', rules: {K8S006: error}}]"),
            ("allow: [{path: a, rule: K8S001, reason: x}]", "allow: [{path: a, rule: K8S001, reason: y}]"),
            ("allow: [{path: a, rule: K8S001, reason: x}]", ""),
            ("placeholders: ['CHANGE_*']", ""),
        ] {
            assert_eq!(told(old, new), Vec::<String>::new(), "{old} -> {new}");
        }
    }

    #[test]
    fn what_a_baseline_has_more_is_told_at_its_line() {
        let line =
            |rule: &str, path: &str| format!("{rule} {path} Secret/x#/data/a {0}${0}\n", "0".repeat(32));
        let (one, two) = (line("K8S001", "a%20b.yaml"), line("K8S002", "c.yaml"));
        let told = |old: &str, new: &str| {
            let repository = Repository::default().with_old(Baseline::NAME, old).with(Baseline::NAME, new);
            let found = repository.check().into_iter().filter(|finding| finding.rule == &RULE);
            let show = |finding: Finding| {
                format!("{} {} {}", finding.start.line, finding.severity.name(), finding.message)
            };
            found.map(show).collect::<Vec<_>>()
        };
        let new = "2 warning what K8S001 finds in `a b.yaml` is told no more";
        assert_eq!(told(&two, &format!("{two}{one}")), [new]);
        assert_eq!(told("# nothing\n", &format!("# two\n{one}{two}")).len(), 2);
        let many: String = (0..60).map(|index| line("K8S001", &format!("{index}"))).collect();
        let told_of_many = told("", &many);
        assert_eq!(told_of_many.len(), 51);
        assert!(told_of_many.contains(&"1 warning 10 more entries are new".to_owned()), "{told_of_many:?}");
        for (old, new) in
            [(format!("{two}{one}"), one.clone()), (format!("{two}{one}"), format!("{one}\n{two}"))]
        {
            assert_eq!(told(&old, &new), Vec::<String>::new());
        }
    }

    #[test]
    fn of_two_entries_the_order_counts() {
        let (one, two) = ("{match: a, rules: {K8S006: error}}", "{match: 'a*', rules: {K8S006: warning}}");
        let told = told(&format!("paths: [{two}, {one}]"), &format!("paths: [{one}, {two}]"));
        assert_eq!(told, ["1 warning the entries of `paths` are in another order: look which one wins"]);
    }

    #[test]
    fn a_configuration_may_make_it_worse_and_never_less() {
        let found = told("", "rules: {META003: error, K8S002: off}");
        assert_eq!(found, ["1 error K8S002 is set to `off`, and was `error`"]);
        assert!(Config::parse(b"rules: {META003: warning}").is_err());
    }

    #[test]
    fn what_cannot_be_used_is_told_at_its_line() {
        let text = b"version: 1\nrule: {}\n";
        let error = Config::parse(text).expect_err("an error");
        let content = decode(text);
        let file = File::new(Config::NAME, text, &content, Mode::File);
        let finding = unusable(&file, error.line, &error.message);
        assert_eq!((finding.start.line, finding.severity), (2, Severity::Error));
        assert_eq!(finding.message, "the configuration has no field `rule`; did you mean `rules`?");
        assert_eq!(unusable(&file, 99, "x").start.line, 2);
    }
}
