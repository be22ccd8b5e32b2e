//! A file that SOPS encrypted before, and that is in clear now: whatever the creation rules say, that is how most secrets
//! get out.

use std::collections::HashSet;

use crate::check::sops_file::{bytes_of, keys_of, places_of};
use crate::check::{Context, File, Finding, Fix};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::sops::{LeafState, Selector, leaves};

use super::{RULE, is_real};

/// Returns what is wrong with a file that has no metadata: one of the values is in clear that were encrypted at its path
/// before.
pub(super) fn finding(file: &File<'_>, context: &Context<'_>) -> Option<Finding> {
    let sops = file.old()?.sops()?;
    let encrypted = sops.values().iter().filter(|value| value.state == LeafState::Encrypted);
    let wanted: HashSet<u64> = encrypted.map(|value| value.place).collect();
    if wanted.is_empty() {
        return None;
    }
    let message = "this file was encrypted before, and is in clear now";
    let remedy = format!("kubectl seal encrypt -i {}", file.path());
    let finish = |finding: Finding| finding.fix(Fix::Encrypt).remedy(remedy.clone());
    if sops.format == Format::Binary {
        return Some(finish(Finding::new(&RULE, file, 0..0, message)));
    }
    let Ok(tree) = sops.format.read(SecretBytes::from(file.text().as_bytes())) else {
        // A template is looked at by others.
        return (!file.text().contains("{{")).then(|| finish(Finding::new(&RULE, file, 0..0, message)));
    };
    let selector = Selector::default();
    let clear =
        leaves(sops.format, &tree, &selector).into_iter().filter(|leaf| leaf.state == LeafState::Clear);
    let values = keys_of(&tree, clear);
    let leaked =
        values.iter().find(|value| wanted.contains(&value.place) && is_real(&tree, value, context))?;
    let finding = places_of(&tree).finding(&RULE, file, leaked, message);
    Some(finish(finding.value(bytes_of(&tree, leaked.id))))
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn found(path: &str, old: &str, new: &str) -> Vec<String> {
        let found = Repository::default().with_old(path, old).with(path, new).found();
        found.into_iter().filter(|line| line.starts_with("SOPS001")).collect()
    }

    #[test]
    fn what_was_encrypted_before_is_found_in_clear() {
        for (format, path, text, place) in [
            (Format::Yaml, "a.yaml", "x: 1\na: b\n", "1 /x"),
            (Format::Json, "a.json", "{\"a\": \"b\"}\n", "1 /a"),
            (Format::Dotenv, "a.env", "A=b\n", "1 /A"),
            (Format::Ini, "a.ini", "[a]\nb = c\n", "2 /a/b"),
            (Format::Binary, "a.bin", "anything\n", "1"),
            (Format::Binary, "id", "anything\n", "1"),
        ] {
            assert_eq!(found(path, &encrypted(format, text, ""), text), [format!("SOPS001 {path}:{place}")]);
        }
        let text = "kind: X\ndata: {a: b}\nc: d\n";
        let old = encrypted(Format::Yaml, text, "encrypted_regex=^data$");
        assert_eq!(found("a.yaml", &old, text), ["SOPS001 a.yaml:2 /data/a"]);
    }

    #[test]
    fn what_takes_the_place_of_an_encrypted_file_is_clean() {
        let old = encrypted(Format::Yaml, "kind: Secret\ndata: {a: b}\n", "encrypted_regex=^data$");
        for new in [
            "",
            "# moved\n",
            "kind: ExternalSecret\nspec: {data: [{secretKey: a}]}\n",
            "kind: Secret\ndata: {}\n",
            "kind: Secret\ndata: {a: ''}\n",
            "kind: Secret\ndata: {a: '${LATER}'}\n",
        ] {
            assert_eq!(found("a.yaml", &old, new), [""; 0], "{new}");
        }
    }
}
