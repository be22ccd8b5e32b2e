//! SEAL001: a value of a SealedSecret is not sealed.

use super::sealed_objects::sealed_objects;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Needles, Object, Rule, Severity, is_placeholder,
};
use crate::sealed::{ItemError, SealingCert, key_bits};

pub(super) static RULE: Rule = Rule {
    id: "SEAL001",
    severity: Severity::Error,
    title: "a value of a SealedSecret is not sealed",
    explanation: "A SealedSecret is safe in a repository because only the controller can open its values. A value that \
                  is in clear, or only base64, is a value that everybody can read, though the object looks safe.\n\n\
                  A sealed value is base64 of a length, a session key that was encrypted to a certificate of 2048, 3072 \
                  or 4096 bits (or of the size of the repository's own certificate), and what was encrypted under it. \
                  Values of templates and placeholders are accepted. A value that was sealed for a key of another size \
                  than the repository's certificate is a warning.\n\n\
                  Write the Secret into a file that is not committed, and seal it: `kubectl seal SECRET > SEALED`. What \
                  was committed in clear has to be changed, too.",
    needles: Needles::SECRET,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let objects = sealed_objects(file);
    if objects.is_empty() {
        return;
    }
    // A certificate that cannot be read is not this rule's to tell.
    let cert = context.config.sealing_cert().and_then(|path| context.after.read(path).ok().flatten());
    let bits = cert.and_then(|cert| SealingCert::parse(&cert).ok()).map(|cert| cert.bits());
    for object in objects {
        for entry in PLACES.iter().filter_map(|place| object.entry.at(place)).flat_map(Entry::walk) {
            if let Some((message, severity)) = judge(entry, bits, context) {
                tell(file, object, entry, message, severity, found);
            }
        }
    }
}

/// Returns what is wrong with a value, and how bad that is.
fn judge(entry: Entry<'_>, cert: Option<usize>, context: &Context<'_>) -> Option<(&'static str, Severity)> {
    let text = entry.text()?;
    let is_later =
        entry.is_null() || entry.has_action() || is_cut(text) || is_placeholder(text, context.config);
    if is_later {
        return None;
    }
    // Lines may be folded, which is no leak.
    let compact = text.contains(' ').then(|| text.split_ascii_whitespace().collect::<String>());
    match key_bits(compact.as_deref().unwrap_or(text)) {
        Err(ItemError::Base64(_)) => Some(("this value is not sealed: it is in clear", Severity::Error)),
        Err(_) => Some(("this value is not sealed: it is too short for a sealed one", Severity::Error)),
        Ok(bits) if cert.is_some_and(|cert| cert.div_ceil(8) == bits / 8) => None,
        Ok(bits) if cert.is_some() && is_known(bits) => {
            let message =
                "this value was sealed for a key of another size than the certificate of this repository";
            Some((message, Severity::Warning))
        }
        Ok(bits) if is_known(bits) => None,
        Ok(bits) if bits % 1024 == 0 && bits <= 16384 => {
            Some(("this value was sealed for a key of an unusual size", Severity::Warning))
        }
        Ok(_) => Some(("this value is not sealed: it is base64 of something else", Severity::Error)),
    }
}

/// Returns whether a text is the beginning of a sealed value, with dots in place of the rest, or dots alone.
fn is_cut(text: &str) -> bool {
    let head = text.trim_end_matches(['.', '…']);
    let is_base64 = head.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    let has_dots = text.ends_with("...") || text.ends_with('…');
    has_dots && (head.is_empty() || head.starts_with("Ag") && is_base64)
}

fn is_known(bits: usize) -> bool {
    [2048, 3072, 4096].contains(&bits)
}

fn tell(
    file: &File<'_>,
    object: Object<'_>,
    entry: Entry<'_>,
    message: &str,
    severity: Severity,
    found: &mut Findings,
) {
    let finding = Finding::new(&RULE, file, entry.span(), message)
        .at(object.label(), entry.pointer(Some(object.entry)))
        .value(entry.text().unwrap_or_default().as_bytes())
        .severity(severity)
        .remedy(format!("seal the Secret again: kubectl seal SECRET > {}", file.path()));
    found.add(finding);
}

/// Where values of SealedSecrets are, or where people put those of Secrets that they call so.
const PLACES: &[&[&str]] =
    &[&["spec", "encryptedData"], &["spec", "data"], &["spec", "stringData"], &["data"], &["stringData"]];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::{Repository, found};
    use crate::sealed::encode_base64;

    fn item(bytes: u16) -> String {
        let mut item = bytes.to_be_bytes().to_vec();
        item.resize(2 + usize::from(bytes) + 20, 0xa7);
        encode_base64(&item)
    }

    fn sealed(values: &str) -> String {
        let head =
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: a, namespace: b}\n";
        format!("{head}spec:\n  encryptedData:\n{values}")
    }

    #[test]
    fn values_that_are_not_sealed_are_found_on_their_lines() {
        let base64 = encode_base64(b"hunter2");
        let long = encode_base64(&[b'x'; 700]);
        let short = encode_base64(&[&[1, 0][..], &[7; 200]].concat());
        let good = item(512);
        let text = sealed(&format!(
            "    a: {good}\n    b: hunter2\n    c: {base64}\n    d: {long}\n    e: {short}\n"
        ));
        let wanted = [
            "7 /spec/encryptedData/b",
            "8 /spec/encryptedData/c",
            "9 /spec/encryptedData/d",
            "10 /spec/encryptedData/e",
        ];
        assert_eq!(found("SEAL001", "a.yaml", &text), wanted);
        let dots = sealed("    a: hunter2...\n    b: hunter2…\n    c: Ag hunter2...\n");
        assert_eq!(found("SEAL001", "a.yaml", &dots).len(), 3);
        let text = format!(
            r#"{{"kind": "List", "items": [
            {{"kind": "SealedSecret", "apiVersion": "bitnami.com/v1alpha1", "spec":
              {{"encryptedData": {{"a": "{base64}"}}}}}}]}}"#
        );
        assert_eq!(found("SEAL001", "a.json", &text), ["3 /spec/encryptedData/a"]);
        let text = "kind: SealedSecret\nmetadata: {name: a}\nstringData:\n  a: hunter2\nspec:\n  data:\n    b: hunter2\n";
        assert_eq!(found("SEAL001", "a.yaml", text), ["4 /stringData/a", "7 /spec/data/b"]);
    }

    #[test]
    fn sealed_values_and_those_to_come_are_clean() {
        let good = item(256);
        let folded = format!("{}\n      {}", &good[..100], &good[100..]);
        let values = [
            format!("    a: {good}\n    b: {}\n    c: {}\n", item(384), item(512)),
            format!("    a: |\n      {folded}\n    b: >-\n      {folded}\n"),
            "    a: ${SEALED}\n    b: {{ .Values.sealed }}\n    c:\n    d: \"\"\n".to_owned(),
            "    a: AgBy3i4OJSWK+PiTySYZZA9rO43cGDEq.....\n".to_owned(),
            "    a: ...\n    b: AgA…\n".to_owned(),
            "    {}\n".to_owned(),
        ];
        for values in values {
            assert_eq!(found("SEAL001", "a.yaml", &sealed(&values)), [""; 0], "{values}");
        }
        let old = format!("kind: SealedSecret\nspec:\n  data: {good}\n");
        assert_eq!(found("SEAL001", "a.yaml", &old), [""; 0]);
        let others = "kind: SealedSecretList\nitems: []\n---\nkind: A\nspec: {kind: SealedSecret, encryptedData: {a: b}}\n";
        assert_eq!(found("SEAL001", "a.yaml", others), [""; 0]);
        assert_eq!(found("SEAL001", "a.md", &sealed("    a: hunter2\n")), [""; 0]);
    }

    #[test]
    fn what_kubeseal_writes_is_clean() {
        let texts = [
            ("a.yaml", include_str!("../../../../testdata/sealed-secrets/sealed-strict.yaml")),
            ("a.yaml", include_str!("../../../../testdata/sealed-secrets/sealed-cluster-wide.yaml")),
            ("a.json", include_str!("../../../../testdata/sealed-secrets/sealed-namespace-wide.json")),
        ];
        for (path, text) in texts {
            let found = Repository::default().with(path, text).check();
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn the_size_of_the_certificate_of_the_repository_counts() {
        let cert = include_str!("../../../../testdata/sealed-secrets/new-cert.pem");
        let cert_bytes = SealingCert::parse(cert.as_bytes()).expect("a certificate").bits() / 8;
        for bytes in [256_u16, 384, 512] {
            let text = sealed(&format!("    a: {}\n", item(bytes)));
            let repository = Repository::default().with("cert.pem", cert).with("a.yaml", text);
            let found = repository.with_config("version: 1\nsealed: {cert: cert.pem}\n").check();
            let severities: Vec<_> = found.iter().map(|finding| finding.severity).collect();
            let wanted = if usize::from(bytes) == cert_bytes { vec![] } else { vec![Severity::Warning] };
            assert_eq!(severities, wanted, "{bytes}");
        }
    }

    #[test]
    fn unusual_sizes_are_warnings() {
        for (bytes, severity) in
            [(128, Some(Severity::Warning)), (1024, Some(Severity::Warning)), (300, Some(Severity::Error))]
        {
            let found =
                Repository::default().with("a.yaml", sealed(&format!("    a: {}\n", item(bytes)))).check();
            let found = found.iter().find(|finding| finding.rule == &RULE).map(|finding| finding.severity);
            assert_eq!(found, severity, "{bytes}");
        }
    }

    #[test]
    fn nothing_of_a_value_is_told() {
        let found = Repository::default().with("a.yaml", sealed("    a: hunter2\n")).check();
        let finding = found.iter().find(|finding| finding.rule == &RULE).expect("a finding");
        assert!(!format!("{finding:?}{}{}", finding.remedy, finding.pointer).contains("hunter2"));
        assert_eq!(finding.value.as_ref().map(|value| value.expose_secret()), Some(b"hunter2".as_slice()));
    }
}
