//! SOPS009: an encrypted value was copied or moved, so that it cannot be decrypted.

use std::collections::HashMap;

use crate::check::sops_file::{SopsFile, places_of};
use crate::check::{Check, Context, File, Findings, Needles, Rule, Severity};
use crate::sops::LeafState;

pub(super) static RULE: Rule = Rule {
    id: "SOPS009",
    severity: Severity::Error,
    title: "an encrypted value was copied or moved, so that it cannot be decrypted",
    explanation: "SOPS binds an encrypted value to the keys above it. This one stands below other keys than those it was \
        encrypted for: it was copied, or its key was renamed, by an ordinary editor. No key decrypts it there, and \
        sops refuses the whole file.\n\n\
        Accepted is an encrypted file that is copied or moved as a whole: the keys in it are the same. Items of a \
        list may change their order, as far as this rule is concerned.\n\n\
        To mend it, take the change back and make it with \"kubectl seal edit PATH\", which encrypts values for the \
        keys that they get.",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let Some(tree) = sops.tree() else { return };
    let before = file.old().and_then(File::sops).map(homes).unwrap_or_default();
    let now = homes(sops);
    let mut places = places_of(tree);
    for value in sops.values().iter().filter(|value| value.state == LeafState::Encrypted) {
        let bytes = sops.bytes(value);
        let (home, message) = match (before.get(bytes), now.get(bytes)) {
            (Some(&home), _) => {
                (home, "this encrypted value was somewhere else before, and cannot be decrypted here")
            }
            (None, Some(&home)) => {
                (home, "this encrypted value is a copy of another one, and cannot be decrypted here")
            }
            (None, None) => continue,
        };
        if home == value.place {
            continue;
        }
        let remedy = format!("take the change back, and make it with: kubectl seal edit {}", file.path());
        found.add(places.finding(&RULE, file, value, message).remedy(remedy));
    }
}

/// Returns for each encrypted value the place where it stands first.
fn homes(sops: &SopsFile) -> HashMap<&[u8], u64> {
    let mut homes = HashMap::new();
    for value in sops.values().iter().filter(|value| value.state == LeafState::Encrypted) {
        homes.entry(sops.bytes(value)).or_insert(value.place);
    }
    homes
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn found(text: &str, old: &str) -> Vec<String> {
        let repository = Repository::default().with("a.yaml", text);
        let repository = if old.is_empty() { repository } else { repository.with_old("a.yaml", old) };
        repository.found().into_iter().filter(|line| line.starts_with("SOPS009")).collect()
    }

    #[test]
    fn copies_and_renamed_keys_are_found() {
        let text = encrypted(Format::Yaml, "a: b\nm:\n  c: d\n", "");
        let line = text.lines().find(|line| line.starts_with("a:")).expect("a value");
        let copied = text.replacen("m:\n", &format!("m:\n  {line}\n"), 1);
        assert_eq!(found(&copied, ""), ["SOPS009 a.yaml:3 /m/a"]);
        let before = format!("z{line}\n{text}");
        assert_eq!(found(&before, &text), ["SOPS009 a.yaml:1 /za"]);
        let renamed = text.replacen("m:\n", "n:\n", 1);
        assert_eq!(found(&renamed, ""), [""; 0]);
        assert_eq!(found(&renamed, &text), ["SOPS009 a.yaml:3 /n/c"]);
    }

    #[test]
    fn values_in_their_places_are_clean() {
        let text = encrypted(Format::Yaml, "a: b\nl: [c, d]\nm: {n: o}\n---\na: e\n", "");
        assert_eq!(found(&text, &text), [""; 0]);
        let moved = encrypted(Format::Yaml, "m: {n: o}\nl: [d]\nx: b\n", "");
        assert_eq!(found(&moved, &text), [""; 0]);
        let line = text.lines().find(|line| line.starts_with("a:")).expect("a value").to_owned();
        let reordered = format!("{}{line}\n", text.replacen(&format!("{line}\n"), "", 1));
        assert_eq!(found(&reordered, &text), [""; 0]);
    }
}
