//! SEAL005: a Secret lies in clear beside its SealedSecret.

use std::collections::{BTreeSet, HashSet};

use memchr::memmem;

use crate::check::{
    Check, Context, Facts, File, Finding, Findings, Mode, Needles, ObjectFact, Rule, Severity, Standing,
    decode,
};

pub(super) static RULE: Rule = Rule {
    id: "SEAL005",
    severity: Severity::Error,
    title: "a Secret lies in clear beside its SealedSecret",
    explanation: "The file that a Secret was sealed from is easily committed with what came of it: then the SealedSecret \
                  protects nothing, as the same values lie beside it in clear.\n\n\
                  Found are Secrets with values in clear that have the name of a SealedSecret of the same change or in \
                  the same folder. Accepted are Secrets that SOPS encrypted, and those with placeholders only. A Secret \
                  that was there before is a warning.\n\n\
                  Take the file of the Secret out of the commit (`git rm --cached PATH`) and have Git ignore it. If it \
                  was ever pushed, change the values and seal them again: `kubectl seal SECRET > SEALED`.",
    needles: Needles::SECRET,
    check: Check::Change(check),
};

fn check(facts: &[Facts], context: &Context<'_>, found: &mut Findings) {
    let beside = beside(facts, context);
    let mut sealed = Sealed::default();
    for facts in facts.iter().chain(&beside) {
        for object in facts.objects.iter().filter(|object| object.is_sealed) {
            sealed.add(folder(&facts.path), object);
        }
    }
    let all = facts.iter().map(|facts| (facts, Severity::Error));
    for (facts, severity) in all.chain(beside.iter().map(|facts| (facts, Severity::Warning))) {
        for object in facts.objects.iter().filter(|object| is_clear(object)) {
            if sealed.has(folder(&facts.path), object) {
                tell(&facts.path, object, severity, found);
            }
        }
    }
}

/// Returns what is in the files that lie in a folder with changed ones and may hold the other half of a pair.
fn beside(facts: &[Facts], context: &Context<'_>) -> Vec<Facts> {
    let has_half = |facts: &&Facts| facts.objects.iter().any(|object| object.is_sealed || is_clear(object));
    let folders: BTreeSet<_> = facts.iter().filter(has_half).map(|facts| folder(&facts.path)).collect();
    if folders.is_empty() {
        return Vec::new();
    }
    let changed: HashSet<_> = facts.iter().map(|facts| facts.path.as_str()).collect();
    let paths = folders.into_iter().flat_map(|folder| files(folder, context.after.paths()));
    let paths = paths.filter(|path| !changed.contains(path) && is_structured(path)).take(MAX_FILES);
    paths.filter_map(|path| read(path, context)).collect()
}

/// Returns the files of a folder, without those of the folders in it.
fn files<'a>(folder: &'a str, paths: &'a [String]) -> impl Iterator<Item = &'a str> {
    let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut next = paths.partition_point(|path| *path < start);
    std::iter::from_fn(move || {
        loop {
            let name = paths.get(next)?.strip_prefix(start.as_str())?;
            let Some((inner, _)) = name.split_once('/') else {
                next += 1;
                return Some(paths[next - 1].as_str());
            };
            // All that is below an inner folder is passed over at once: `0` is what follows `/`.
            let behind = format!("{start}{inner}0");
            next = paths.partition_point(|path| path.as_str() < behind.as_str());
        }
    })
}

fn read(path: &str, context: &Context<'_>) -> Option<Facts> {
    // What cannot be read is not part of the change.
    let bytes = context.after.read(path).ok().flatten()?;
    memmem::find(&bytes, b"Secret")?;
    let content = decode(&bytes);
    Some(Facts::of(&File::new(path, &bytes, &content, Mode::File), context.config))
}

/// The names of SealedSecrets.
#[derive(Default)]
struct Sealed<'a> {
    /// Namespaces that are written down, and names.
    names: HashSet<(&'a str, &'a str)>,
    /// Folders, namespaces, and names.
    places: HashSet<(&'a str, Option<&'a str>, &'a str)>,
}

impl<'a> Sealed<'a> {
    fn add(&mut self, folder: &'a str, object: &'a ObjectFact) {
        self.places.extend([(folder, Some(object.namespace.as_str()), object.name.as_str())]);
        self.places.insert((folder, None, &object.name));
        if !object.namespace.is_empty() {
            self.names.insert((&object.namespace, &object.name));
        }
    }

    /// Returns whether there is one of the name of a Secret. What names no namespace is given that of its folder.
    fn has(&self, folder: &str, object: &ObjectFact) -> bool {
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        if namespace.is_empty() {
            return self.places.contains(&(folder, None, name));
        }
        self.names.contains(&(namespace, name)) || self.places.contains(&(folder, Some(""), name))
    }
}

fn is_clear(object: &ObjectFact) -> bool {
    !object.is_sealed && !object.is_encrypted && !object.name.is_empty() && object.clear.is_some()
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_structured(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end))
}

fn tell(path: &str, object: &ObjectFact, severity: Severity, found: &mut Findings) {
    let Some(clear) = object.clear.clone() else { return };
    let parts = ["Secret", &object.namespace, &object.name].into_iter().filter(|part| !part.is_empty());
    found.add(Finding {
        rule: &RULE,
        severity,
        path: path.to_owned(),
        span: clear.span,
        start: clear.start,
        end: clear.end,
        object: parts.collect::<Vec<_>>().join("/"),
        pointer: clear.pointer,
        message: "this Secret is in clear, and there is a SealedSecret of the same name".to_owned(),
        remedy: format!("git rm --cached {path}"),
        fix: None,
        value: None,
        standing: Standing::New,
    });
}

/// How many unchanged files are read at most.
const MAX_FILES: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::Repository;

    fn sealed(metadata: &str) -> String {
        format!("apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {{{metadata}}}\n")
    }

    fn secret(metadata: &str, value: &str) -> String {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{{metadata}}}\nstringData:\n  a: {value}\n")
    }

    fn found(repository: &Repository) -> Vec<(String, Severity)> {
        let found = repository.check().into_iter().filter(|finding| finding.rule == &RULE);
        let show = |finding: Finding| {
            (
                format!("{}:{} {} {}", finding.path, finding.start.line, finding.object, finding.pointer),
                finding.severity,
            )
        };
        found.map(show).collect()
    }

    #[test]
    fn secrets_beside_their_sealed_secrets_are_found() {
        let wanted = ("b/s.yaml:5 Secret/n/a /stringData/a".to_owned(), Severity::Error);
        let repository = Repository::default()
            .with("c/sealed.yaml", sealed("name: a, namespace: n"))
            .with("b/s.yaml", secret("name: a, namespace: n", "hunter2"));
        assert_eq!(found(&repository), [wanted]);
        let wanted = ("b/s.yaml:5 Secret/a /stringData/a".to_owned(), Severity::Error);
        let old = sealed("name: a, namespace: n");
        let repository = Repository::default()
            .with("b/sealed.yaml", &old)
            .with_old("b/sealed.yaml", &old)
            .with("b/c/x.yaml", "a: b\n")
            .with("b/s.yaml", secret("name: a", "hunter2"));
        assert_eq!(found(&repository), [wanted]);
        let old = secret("name: a", "hunter2");
        let repository = Repository::default()
            .with("sealed.yaml", sealed("name: a"))
            .with("s.yaml", &old)
            .with_old("s.yaml", &old);
        assert_eq!(found(&repository), [("s.yaml:5 Secret/a /stringData/a".to_owned(), Severity::Warning)]);
    }

    #[test]
    fn other_secrets_are_clean() {
        let pairs = [
            (sealed("name: a, namespace: n"), secret("name: b, namespace: n", "hunter2")),
            (sealed("name: a, namespace: n"), secret("name: a, namespace: m", "hunter2")),
            (sealed("name: a, namespace: n"), secret("name: a, namespace: n", "${PASSWORD}")),
            (sealed("name: a"), secret("name: a", "ENC[AES256_GCM,data:x]")),
            (sealed("name: a"), "kind: Secret\nmetadata: {name: a}\ndata: {a: JHtBfQ==}\n".to_owned()),
            (sealed("name: a"), "kind: A\nmetadata: {name: a}\ndata: {a: Secret}\n".to_owned()),
        ];
        for (sealed, secret) in pairs {
            let repository = Repository::default().with("sealed.yaml", &sealed).with("s.yaml", &secret);
            assert_eq!(found(&repository), [], "{sealed}{secret}");
        }
        let repository = Repository::default()
            .with("staging/s.yaml", secret("name: a", "hunter2"))
            .with("production/sealed.yaml", sealed("name: a"));
        assert_eq!(found(&repository), []);
    }

    #[test]
    fn files_of_a_folder_are_those_directly_in_it() {
        let paths = ["a.yaml", "b/c.yaml", "b/d/e.yaml", "b/d/f.yaml", "b/d.yaml", "b/g", "b0/h", "c"];
        let mut paths = paths.map(str::to_owned);
        paths.sort_unstable();
        assert_eq!(files("b", &paths).collect::<Vec<_>>(), ["b/c.yaml", "b/d.yaml", "b/g"]);
        assert_eq!(files("", &paths).collect::<Vec<_>>(), ["a.yaml", "c"]);
        assert_eq!(files("x", &paths).count(), 0);
    }
}
