//! Which findings of a file are about what was changed: the others were there before.
//!
//! Invariants: what is there more often than before is new, all of it, so that copying a document hides nothing; what a
//! rule finds by comparing, or by a whole file of SOPS, is never old; the work grows with the size of the files.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::ops::Range;

use super::config::Scope;
use super::file::File;
use super::finding::{Finding, Standing};
use super::object::{Object, objects};
use super::rule::{Rule, Severity};

/// Marks the findings that are old: in a document, or in lines, that the change did not touch.
pub(super) fn mark_old(file: &File<'_>, scope: Scope, found: &mut [Finding]) {
    let Some(old) = file.old().filter(|_| scope != Scope::File && found.iter().any(can_be_old)) else {
        return;
    };
    // What is no text has neither documents nor lines.
    if !file.is_text() {
        return;
    }
    let is_old: Box<dyn Fn(&Finding) -> bool + '_> = match scope {
        Scope::ChangedDocument => Box::new(old_documents(file, old)),
        Scope::ChangedLine => Box::new(old_lines(file, old)),
        Scope::File => return,
    };
    for finding in found.iter_mut().filter(|finding| can_be_old(finding)) {
        if is_old(finding) {
            finding.standing = Standing::Old;
            finding.severity = finding.severity.min(Severity::Warning);
        }
    }
}

/// Returns whether a rule compares a file with what was there before.
pub(super) fn compares(rule: &Rule) -> bool {
    matches!(rule.id, "SEAL004" | "SOPS004" | "SOPS009" | "SOPS012")
}

fn can_be_old(finding: &Finding) -> bool {
    // A file of SOPS has one key and one MAC, and each of its documents counts for both.
    let is_whole = finding.rule.id.starts_with("SOPS") || finding.rule.id.starts_with("META");
    !is_whole && !compares(finding.rule) && finding.standing == Standing::New
}

/// Returns what tells whether a finding is in a document that was there before, byte for byte.
fn old_documents<'f>(file: &'f File<'_>, old: &'f File<'_>) -> impl Fn(&Finding) -> bool + 'f {
    let spans: Vec<_> = documents(file);
    let texts: Vec<_> = spans.iter().map(|span| text(file, span)).collect();
    let known = more_than(&texts, documents(old).iter().map(|span| text(old, span)));
    let is_old: Vec<bool> = texts.iter().map(|text| !known.contains(text)).collect();
    move |finding| {
        let behind = spans.partition_point(|span| span.start <= finding.span.start);
        let document = behind.checked_sub(1).filter(|&at| finding.span.start < spans[at].end.max(1));
        document.is_some_and(|document| is_old[document])
    }
}

/// Returns what tells whether a finding is in lines that were there before, in an object that was.
fn old_lines<'f>(file: &'f File<'_>, old: &'f File<'_>) -> impl Fn(&Finding) -> bool + 'f {
    let lines: Vec<_> = file.text().split('\n').collect();
    let new = more_than(&lines, old.text().split('\n'));
    // How many lines before each are new.
    let mut before = vec![0_usize];
    for line in &lines {
        before.push(before[before.len() - 1] + usize::from(new.contains(line)));
    }
    let labels: HashSet<String> = if old.is_structured() {
        objects(old.outline()).map(Object::label).collect()
    } else {
        HashSet::new()
    };
    move |finding| {
        let first = finding.start.line.saturating_sub(1);
        let count = |line: usize| before[line.min(before.len() - 1)];
        // What was no Secret before is one now: then no line of it is old.
        let has_object = finding.object.is_empty() || labels.contains(&finding.object);
        has_object && count(first) == count(finding.end.line.max(first + 1))
    }
}

/// Returns those of some texts that are among them more often than they were.
fn more_than<T: Copy + Eq + Hash>(now: &[T], before: impl Iterator<Item = T>) -> HashSet<T> {
    let mut counts: HashMap<T, isize> = HashMap::new();
    for text in now {
        *counts.entry(*text).or_default() += 1;
    }
    for text in before {
        if let Some(count) = counts.get_mut(&text) {
            *count -= 1;
        }
    }
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(text, _)| text).collect()
}

/// Returns the documents of a file; of what is no YAML, all of it.
fn documents(file: &File<'_>) -> Vec<Range<usize>> {
    if !file.is_structured() {
        return std::iter::once(0..file.text().len()).collect();
    }
    file.outline().documents().iter().map(|document| document.span.clone()).collect()
}

/// Returns the text of a document without the line ends around it, which other documents bring and take.
fn text<'f>(file: &'f File<'_>, span: &Range<usize>) -> &'f str {
    file.text().get(span.clone()).unwrap_or_default().trim_matches('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Content, Mode, Position, rule};

    fn file<'a>(path: &'a str, content: &'a Content<'a>) -> File<'a> {
        let Content::Text(text) = content else { panic!("a text") };
        File::new(path, text.as_bytes(), content, Mode::File)
    }

    /// Returns which places of a mark in a text are old.
    fn old_of(path: &str, scope: Scope, id: &str, old: &str, new: &str) -> Vec<bool> {
        let (old, content) = (Content::Text(old.into()), Content::Text(new.into()));
        let old = file(path, &old);
        let file = file(path, &content).with_old(Some(&old));
        let rule = rule(id).expect("a rule");
        let finding = |at: usize| Finding::new(rule, &file, at..at + 4, "here");
        let mut found: Vec<_> = new.match_indices("MARK").map(|(at, _)| finding(at)).collect();
        mark_old(&file, scope, &mut found);
        for finding in &found {
            let is_old = finding.standing == Standing::Old;
            assert_eq!(finding.severity, if is_old { Severity::Warning } else { rule.severity });
        }
        found.iter().map(|finding| finding.standing == Standing::Old).collect()
    }

    fn documents_of(old: &str, new: &str) -> Vec<bool> {
        old_of("a.yaml", Scope::ChangedDocument, "K8S001", old, new)
    }

    #[test]
    fn documents_that_the_change_does_not_touch_are_old() {
        let old = "a: MARK\n---\nb: MARK\n";
        assert_eq!(documents_of(old, "a: MARK\n---\nb: MARK\nc: 1\n"), [true, false]);
        assert_eq!(documents_of(old, "---\nb: MARK\n---\na: MARK\n---\nc: MARK\n"), [true, true, false]);
        assert_eq!(documents_of(old, "a: MARK # c\n---\nb: MARK\n"), [false, true]);
        assert_eq!(documents_of(old, "a: MARK\r\n---\nb: MARK\n"), [false, true]);
    }

    #[test]
    fn copies_are_new() {
        let old = "a: MARK\n---\nb: MARK\n";
        assert_eq!(documents_of(old, "a: MARK\n---\nb: MARK\n---\na: MARK\n"), [false, true, false]);
        let lines = |old, new| old_of("a.env", Scope::ChangedLine, "TOK003", old, new);
        assert_eq!(lines("A=MARK\nB=MARK\n", "A=MARK\nB=MARK\nA=MARK\n"), [false, true, false]);
    }

    #[test]
    fn other_files_are_one_document() {
        let of = |scope| old_of("a.env", scope, "TOK003", "A=MARK\nB=1\n", "A=MARK\nB=2\nC=MARK\n");
        assert_eq!(of(Scope::ChangedDocument), [false, false]);
        assert_eq!(of(Scope::ChangedLine), [true, false]);
        assert_eq!(of(Scope::File), [false, false]);
    }

    #[test]
    fn what_is_found_by_comparing_or_in_a_whole_file_is_never_old() {
        for id in ["SEAL004", "SOPS001", "SOPS004", "META001"] {
            let old =
                old_of("a.yaml", Scope::ChangedDocument, id, "a: MARK\n---\nb: 1\n", "a: MARK\n---\nb: 2\n");
            assert_eq!(old, [false], "{id}");
        }
    }

    #[test]
    fn lines_of_what_was_another_object_are_new() {
        let old = Content::Text("kind: ConfigMap\nmetadata: {name: a}\ndata: {b: c}\n".into());
        let new = Content::Text("kind: Secret\nmetadata: {name: a}\ndata: {b: c}\n".into());
        let old = file("a.yaml", &old);
        let file = file("a.yaml", &new).with_old(Some(&old));
        let rule = rule("K8S001").expect("a rule");
        let mut found = vec![Finding::new(rule, &file, 40..41, "here").at("Secret/a", "/data/b")];
        assert_eq!(found[0].start, Position { line: 3, column: 8 });
        mark_old(&file, Scope::ChangedLine, &mut found);
        assert_eq!(found[0].standing, Standing::New);
    }
}
