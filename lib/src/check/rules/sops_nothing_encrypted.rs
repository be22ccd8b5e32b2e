//! SOPS006: an encrypted file encrypts nothing, or not its Secret.

use crate::check::sops_file::{
    PREFIX, SopsFile, SopsValue, is_encoded_file, metadata_line, places_of, secret_data,
};
use crate::check::{
    Check, Context, File, Finding, Findings, Needles, Rule, Severity, is_placeholder, is_secret_name,
};
use crate::sops::LeafState;
use crate::tree::{NodeId, Tree};

pub(super) static RULE: Rule = Rule {
    id: "SOPS006",
    severity: Severity::Error,
    title: "an encrypted file encrypts nothing, or not its Secret",
    explanation: "The file has metadata of SOPS, so that everybody takes it for encrypted, and its own rule selects none \
        of its values, or leaves values of a Secret out. Most often a pattern is too narrow (\"^data$\", where the \
        Secret has stringData), or has a mistake.\n\n\
        It is a warning if the file has no Secret of Kubernetes; if others of the Secret's values are encrypted and \
        the name of this one is not that of a secret; and for a document without metadata beside others that have \
        some: Flux takes such a file, sops does not.\n\n\
        To mend it, correct \"encrypted_regex\" (or whatever the rule is) in .sops.yaml, and encrypt the file anew: \
        \"kubectl seal decrypt -i PATH\", then \"kubectl seal encrypt -i PATH\".",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let Some(tree) = sops.tree() else { return };
    let secrets = secret_data(tree);
    if !secret_values(file, context, sops, &secrets, found) {
        nothing(file, sops, !secrets.is_empty(), found);
    }
    bare_documents(file, sops, tree, found);
}

/// Tells values of Secrets that the rule leaves in clear; returns whether there are any.
fn secret_values(
    file: &File<'_>,
    context: &Context<'_>,
    sops: &SopsFile,
    secrets: &[NodeId],
    found: &mut Findings,
) -> bool {
    let Some(tree) = sops.tree() else { return false };
    let mut is_any = false;
    let mut places = places_of(tree);
    for &data in secrets {
        let values = sops.values_below(data);
        let has_encrypted = values.iter().any(|value| value.state == LeafState::Encrypted);
        for value in values.iter().filter(|value| is_left_out(context, sops, value)) {
            let is_worse = !has_encrypted || is_secret_name(sops.key(value));
            let message = "this value of a Secret is in clear, as the file's own rule does not select it";
            let finding = places.finding(&RULE, file, value, message).value(sops.bytes(value));
            let severity = if is_worse { Severity::Error } else { Severity::Warning };
            found.add(finding.severity(severity).remedy(remedy(file)));
            is_any = true;
        }
    }
    is_any
}

fn is_left_out(context: &Context<'_>, sops: &SopsFile, value: &SopsValue) -> bool {
    let bytes = sops.bytes(value);
    let text = str::from_utf8(bytes).unwrap_or_default();
    let key = sops.key(value);
    // Certificates are public.
    let is_public = [".crt", ".cer", ".pub"].iter().any(|end| key.ends_with(end));
    !value.selected
        && value.state == LeafState::Clear
        && !bytes.starts_with(PREFIX)
        && !is_public
        && !is_encoded_file(text)
        && !is_placeholder(text, context.config)
}

/// Tells a file in which nothing is encrypted, and nothing would be.
fn nothing(file: &File<'_>, sops: &SopsFile, has_secret: bool, found: &mut Findings) {
    let all = || sops.values().iter().chain(sops.comments());
    let is_clear = |value: &&SopsValue| value.state == LeafState::Clear;
    let has_encrypted = all().any(|value| value.state == LeafState::Encrypted);
    // What is selected and in clear is told value by value.
    if has_encrypted || all().filter(is_clear).any(|value| value.selected) {
        return;
    }
    let mut clear = sops.values().iter().filter(is_clear).peekable();
    let Some(&first) = clear.peek() else { return };
    let Some(selector) = sops.selector(first) else { return };
    let worst = clear.find(|value| is_secret_name(sops.key(value)));
    let is_kubernetes = file.is_structured() && file.outline().roots().all(|root| root.get("kind").is_some());
    let severity = if is_kubernetes && !has_secret { Severity::Warning } else { Severity::Error };
    let message =
        format!("nothing in this file is encrypted: its rule, {}, selects no value", selector.field());
    let finding = match (worst, sops.tree()) {
        (Some(value), Some(tree)) => {
            places_of(tree).finding(&RULE, file, value, message).value(sops.bytes(value))
        }
        _ => {
            let field = selector.field();
            Finding::new(&RULE, file, metadata_line(file, field), message).at("", format!("/sops/{field}"))
        }
    };
    found.add(finding.severity(severity).remedy(remedy(file)));
}

/// Tells the first document that has no metadata, beside others that have some: for sops, that spoils the file.
fn bare_documents(file: &File<'_>, sops: &SopsFile, tree: &Tree, found: &mut Findings) {
    if !sops.judged_documents().any(|is_judged| is_judged) {
        return;
    }
    let mut bare = tree.documents().iter().zip(sops.judged_documents()).filter(|(_, is_judged)| !is_judged);
    let Some(first) = bare.find_map(|(&root, _)| tree.items(root).next()) else { return };
    let start = tree.node(first).key_start as usize;
    let end = start + tree.key(first).map_or(0, <[u8]>::len);
    let message =
        "this document has no metadata of SOPS, and others of the file have: sops cannot decrypt the file";
    let remedy = "put what is encrypted into a file of its own";
    found.add(Finding::new(&RULE, file, start..end, message).severity(Severity::Warning).remedy(remedy));
}

fn remedy(file: &File<'_>) -> String {
    let path = file.path();
    format!(
        "correct the rule in .sops.yaml, then: kubectl seal decrypt -i {path} && kubectl seal encrypt -i {path}"
    )
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn found(path: &str, text: &str) -> Vec<String> {
        let found = Repository::default().with(path, text).check();
        let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS006");
        found
            .map(|finding| format!("{} {} {}", finding.severity.name(), finding.start.line, finding.pointer))
            .collect()
    }

    /// Returns a document whose rule is another one than that by which it was encrypted.
    fn with_rule(text: &str, from: &str, to: &str) -> String {
        let changed = text.replace(from, to);
        assert_ne!(text, changed);
        changed
    }

    #[test]
    fn a_secret_outside_of_the_rule_is_found() {
        let source = "kind: Secret\nmetadata: {name: n}\ndata: {a: b}\nstringData:\n  password: horse\n  user: me\n  ca.crt: x\n  later: ${LATER}\n";
        let narrow = encrypted(Format::Yaml, source, "encrypted_regex=^data$");
        assert_eq!(found("a.yaml", &narrow), ["error 5 /stringData/password", "error 6 /stringData/user"]);
        let one = encrypted(Format::Yaml, source, "encrypted_regex=^password$");
        assert_eq!(found("a.yaml", &one), ["error 3 /data/a", "warning 6 /stringData/user"]);
        let list = "kind: List\nitems:\n- kind: Secret\n  data:\n    a: b\n- kind: x\n  spec: {c: d}\n";
        let list = encrypted(Format::Yaml, list, "encrypted_regex=^spec$");
        assert_eq!(found("a.yaml", &list), ["error 5 /items/0/data/a"]);
    }

    #[test]
    fn a_file_that_encrypts_nothing_is_found() {
        let text = encrypted(
            Format::Yaml,
            "user: a_name\ndb:\n  password: horse\nx_unencrypted: y\n",
            "encrypted_regex=x",
        );
        let start = text.find("ENC[").expect("a value");
        let end = start + text[start..].find('\n').expect("an end");
        let text = format!("{}y{}", &text[..start], &text[end..]);
        let text = with_rule(&text, "encrypted_regex: x", "encrypted_regex: ^data$");
        assert_eq!(found("a.yaml", &text), ["error 3 /db/password"]);
        let plain = text.replace("password", "colour");
        assert!(found("a.yaml", &plain)[0].ends_with("/sops/encrypted_regex"), "{plain}");
        let object = plain.replace("user: a_name", "kind: ConfigMap");
        assert!(found("a.yaml", &object)[0].starts_with("warning"));
    }

    #[test]
    fn encrypted_secrets_and_empty_files_are_clean() {
        let source = "apiVersion: v1\nkind: Secret\nmetadata: {name: n}\ntype: Opaque\ndata: {a: b, e: ''}\nstringData: {c: d}\n";
        for rule in
            ["encrypted_regex=^(data|stringData)$", "", "unencrypted_regex=^(apiVersion|kind|metadata|type)$"]
        {
            assert_eq!(found("a.yaml", &encrypted(Format::Yaml, source, rule)), [""; 0], "{rule}");
        }
        let tls = "kind: Secret\ndata:\n  tls.crt: public\n  tls.key: private\n";
        assert_eq!(found("a.yaml", &encrypted(Format::Yaml, tls, "encrypted_regex=^tls.key$")), [""; 0]);
        let several = "kind: Namespace\nmetadata: {name: n}\n---\nkind: Secret\ndata: {a: b}\n";
        assert_eq!(found("a.yaml", &encrypted(Format::Yaml, several, "encrypted_regex=^data$")), [""; 0]);
        let map = "kind: ConfigMap\ndata: {a: b}\nx: y\n";
        assert_eq!(found("a.yaml", &encrypted(Format::Yaml, map, "encrypted_regex=^x$")), [""; 0]);
    }

    #[test]
    fn a_document_without_metadata_is_a_warning() {
        let one = encrypted(Format::Yaml, "kind: Secret\ndata: {a: b}\n", "encrypted_regex=^data$");
        assert_eq!(found("a.yaml", &format!("kind: Namespace\n---\n{one}")), ["warning 1 "]);
    }
}
