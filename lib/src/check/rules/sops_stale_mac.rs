//! SOPS004: an encrypted file was changed without its key.

use std::iter::zip;

use crate::check::sops_file::{SopsFile, SopsValue, metadata_line, places_of};
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};
use crate::secret::SecretBytes;
use crate::sops::{LeafState, Metadata, append_plaintext};
use crate::tree::{NodeId, Tree};

use super::sops_broken::has_mac;

pub(super) static RULE: Rule = Rule {
    id: "SOPS004",
    severity: Severity::Error,
    title: "an encrypted file was changed without its key",
    explanation: "SOPS signs the values of a file, in their order, with a MAC that only a holder of the data key can \
        write. This file has other values than the version before, and the same MAC: it was changed by an ordinary \
        editor, or by somebody who does not have the key. sops refuses to decrypt it, and so does whatever deploys \
        it.\n\n\
        Accepted is every change that the MAC does not cover: comments, null and empty values, the names of keys in \
        clear, and with \"mac_only_encrypted\" all values in clear.\n\n\
        To mend it, take the change back and make it again with \"kubectl seal edit PATH\", which writes a new MAC.",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let Some(old_file) = file.old() else { return };
    let (Some(sops), Some(old)) = (file.sops(), old_file.sops()) else { return };
    let (Some(tree), Some(old_tree)) = (sops.tree(), old.tree()) else { return };
    let (Some(metadata), Some(old_metadata)) = (sops.only_metadata(), old.only_metadata()) else { return };
    // One that cannot be read is told as broken; it excuses no change.
    if metadata.mac != old_metadata.mac && has_mac(metadata.mac.as_bytes()) || old_metadata.mac.is_empty() {
        return;
    }
    let remedy = format!("take the change back, and make it with: kubectl seal edit {}", file.path());
    let message = "the values are not those that the MAC was made for: from here on, sops refuses the file";
    if let Some(value) = first_change((old, old_tree, old_metadata), (sops, tree, metadata)) {
        let finding = match value {
            Some(value) => places_of(tree).finding(&RULE, file, value, message),
            None => {
                let message =
                    "a value is gone from the end, and the MAC was made with it: sops refuses the file";
                Finding::new(&RULE, file, metadata_line(file, "mac"), message).at("", "/sops/mac")
            }
        };
        found.add(finding.remedy(remedy));
    } else if metadata.last_modified != old_metadata.last_modified {
        let message = "the time of the last change is not the one that the MAC was made for";
        let span = metadata_line(file, "lastmodified");
        found.add(Finding::new(&RULE, file, span, message).at("", "/sops/lastmodified").remedy(remedy));
    }
}

/// Returns the first value that the MAC covers and that is another one than before; `Some(None)` if one is gone.
fn first_change<'s>(
    old: (&SopsFile, &Tree, &Metadata),
    new: (&'s SopsFile, &Tree, &Metadata),
) -> Option<Option<&'s SopsValue>> {
    let (before, after) = (covered(old.0, old.2), covered(new.0, new.2));
    let is_other = |(left, right): (&&SopsValue, &&SopsValue)| !is_same(old.1, left.id, new.1, right.id);
    match zip(&before, &after).position(is_other) {
        Some(position) => after.get(position).copied().map(Some),
        None if after.len() == before.len() => None,
        None => Some(after.get(before.len()).copied()),
    }
}

/// Returns whether a MAC takes two values for one: it covers what they say, not how they are written.
fn is_same(left: &Tree, left_id: NodeId, right: &Tree, right_id: NodeId) -> bool {
    let said = |tree: &Tree, id: NodeId| {
        let mut said = SecretBytes::new();
        append_plaintext(tree, tree.node(id).value, &mut said);
        said
    };
    said(left, left_id).expose_secret() == said(right, right_id).expose_secret()
}

/// Returns the values that the MAC of a document covers.
fn covered<'s>(sops: &'s SopsFile, metadata: &Metadata) -> Vec<&'s SopsValue> {
    let is_covered = |value: &&SopsValue| {
        value.state != LeafState::Empty && (value.selected || !metadata.mac_only_encrypted)
    };
    sops.values().iter().filter(is_covered).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn changed(old: &str, new: &str) -> Vec<String> {
        let found = Repository::default().with_old("a.yaml", old).with("a.yaml", new).found();
        found.into_iter().filter(|line| line.starts_with("SOPS004")).collect()
    }

    #[test]
    fn changes_that_the_mac_covers_are_found() {
        let old = encrypted(Format::Yaml, "a_unencrypted: 1\nb: x\nc: y\n", "");
        assert_eq!(changed(&old, &old.replace(": 1\n", ": 2\n")), ["SOPS004 a.yaml:1 /a_unencrypted"]);
        assert_eq!(changed(&old, &format!("z_unencrypted: 1\n{old}")), ["SOPS004 a.yaml:2 /a_unencrypted"]);
        let gone: String =
            old.lines().filter(|line| !line.starts_with("c:")).map(|line| format!("{line}\n")).collect();
        assert_eq!(changed(&old, &gone).len(), 1);
        let later = old.replace("2026-", "2027-");
        assert!(changed(&old, &later)[0].ends_with("/sops/lastmodified"));
        let other = encrypted(Format::Yaml, "a_unencrypted: 1\nb: x\nc: z\n", "");
        let line =
            |text: &str| text.lines().find(|line| line.starts_with("c:")).map(str::to_owned).expect("a line");
        assert_eq!(changed(&old, &old.replace(&line(&old), &line(&other))), ["SOPS004 a.yaml:3 /c"]);
    }

    #[test]
    fn changes_that_the_mac_does_not_cover_are_clean() {
        let old = encrypted(Format::Yaml, "a_unencrypted: 1\nb: x\nc_unencrypted: true\n", "");
        for new in [
            old.clone(),
            old.replace("a_unencrypted: 1", "a_unencrypted: '1'"),
            old.replace("c_unencrypted: true", "c_unencrypted: 'True'"),
            format!("# note\n{old}"),
            format!("empty: ''\nnone: null\nmap: {{}}\n{old}"),
            old.replace("a_unencrypted", "z_unencrypted"),
            old.replace("age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8", "age1other"),
            encrypted(Format::Yaml, "a_unencrypted: 2\nb: x\n", ""),
        ] {
            assert_eq!(changed(&old, &new), [""; 0], "{new}");
        }
    }

    #[test]
    fn a_mac_may_cover_encrypted_values_only() {
        let old = include_str!("../../../../testdata/sops/mac-only-encrypted/encrypted-3.13.3.yaml");
        let new = old.replace("pub_unencrypted: hi", "pub_unencrypted: changed");
        assert_ne!(old, new);
        assert_eq!(changed(old, &new), [""; 0]);
    }
}
