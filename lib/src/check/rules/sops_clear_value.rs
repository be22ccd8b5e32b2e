//! SOPS002: a value of an encrypted file is in clear.

use crate::check::sops_file::{PREFIX, places_of};
use crate::check::{Check, Context, File, Findings, Fix, Needles, Rule, Severity};
use crate::sops::LeafState;
use crate::tree::Value;

pub(super) static RULE: Rule = Rule {
    id: "SOPS002",
    severity: Severity::Error,
    title: "a value of an encrypted file is in clear",
    explanation: "The metadata of a file that SOPS encrypted says which of its values are encrypted. This one is among \
        them, and stands there in clear: somebody put it in with an ordinary editor. Whoever reads the repository \
        reads it, and sops refuses to decrypt the file.\n\n\
        Accepted are empty texts and null, which sops never encrypts, and values that the rule of the file leaves in \
        clear, such as those of keys that end in \"_unencrypted\".\n\n\
        To mend it, run \"kubectl seal fix PATH\", which encrypts the value under the data key of the file, or take \
        the value out and put it in again with \"kubectl seal edit PATH\". If it was ever pushed, change it where it \
        is used.",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let Some(tree) = sops.tree() else { return };
    let mut places = places_of(tree);
    for value in sops.values() {
        let bytes = sops.bytes(value);
        // What begins as an encrypted value is judged as one.
        if !value.selected || value.state != LeafState::Clear || bytes.starts_with(PREFIX) {
            continue;
        }
        let what = what_of(tree.node(value.id).value);
        let message = format!("this {what} is in clear, and the file's own rule says that it is encrypted");
        let finding = places.finding(&RULE, file, value, message).value(bytes).fix(Fix::EncryptRest);
        found.add(finding.remedy(format!("kubectl seal fix {}", file.path())));
    }
}

const fn what_of(value: Value) -> &'static str {
    match value {
        Value::Bool(_) => "truth value",
        Value::Float(_) | Value::Int(_) | Value::Unsigned(_) => "number",
        Value::Time(_) => "date",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::{Repository, found};
    use crate::format::Format;

    #[test]
    fn clear_values_are_found_in_every_format() {
        let yaml =
            encrypted(Format::Yaml, "kind: x\ndata:\n  user: a\n  list: [b]\n", "encrypted_regex=^data$");
        let added = yaml.replacen("data:\n", "data:\n  password: horse\n  number: 12\n  flag: true\n", 1);
        assert_eq!(
            found("SOPS002", "a.yaml", &added),
            ["3 /data/password", "4 /data/number", "5 /data/flag"]
        );
        let json = encrypted(Format::Json, "{\n  \"a\": {\"b/c\": \"x\"}\n}\n", "");
        let added = json.replacen("{\"b/c\"", "{\"d\": [1, 2.5],\n \"b/c\"", 1);
        assert_eq!(found("SOPS002", "a.json", &added), ["2 /a/d/0", "2 /a/d/1"]);
        let dotenv = encrypted(Format::Dotenv, "USER=a\nB=c\n", "");
        let added = dotenv.replacen("B=", "PASSWORD=horse\nB=", 1);
        assert_eq!(found("SOPS002", "a.env", &added), ["2 /PASSWORD"]);
        let ini = encrypted(Format::Ini, "[db]\nuser = a\n", "");
        let added = ini.replacen("user", "password = horse\nuser", 1);
        assert_eq!(found("SOPS002", "a.ini", &added), ["2 /db/password"]);
        let binary = encrypted(Format::Binary, "anything", "");
        let start = binary.find("ENC[").expect("a value");
        let end = start + binary[start..].find('"').expect("an end");
        let clear = format!("{}anything{}", &binary[..start], &binary[end..]);
        assert_eq!(found("SOPS002", "a.bin", &clear), ["2 /data"]);
    }

    #[test]
    fn what_the_rule_leaves_in_clear_is_clean() {
        for (source, rule) in [
            ("a: ''\nb: null\nc: x\nd: {}\ne: []\nf: ~\n", ""),
            ("kind: x\nport: 1\ndata: {a: b}\n", "encrypted_regex=^(data|stringData)$"),
            ("kind: x\nmetadata: {name: n}\ndata: {a: b}\n", "unencrypted_regex=^(kind|metadata)$"),
            ("a_unencrypted: 1\nb_unencrypted: {c: [d]}\ne: f\n", ""),
            ("a: 1\nb_secret: c\n", "encrypted_suffix=_secret"),
            ("a: 1\n# secret\nb: c\n", "encrypted_comment_regex=secret"),
            ("# clear\na: 1\nb: c\n", "unencrypted_comment_regex=clear"),
            ("kind: A\na: b\n---\nkind: B\na: ''\n", "encrypted_regex=^a$"),
        ] {
            let text = encrypted(Format::Yaml, source, rule);
            assert_eq!(found("SOPS002", "a.yaml", &text), [""; 0], "{text}");
        }
    }

    #[test]
    fn documents_are_judged_by_their_own_rules() {
        let one = encrypted(Format::Yaml, "kind: Secret\ndata: {a: b}\n", "encrypted_regex=^data$");
        let two = encrypted(Format::Yaml, "kind: x\na_unencrypted: b\nc: d\n", "");
        let plain = "kind: ConfigMap\ndata:\n  a: b\n";
        for text in
            [format!("{one}---\n{two}"), format!("{two}---\n{one}---\n{plain}"), format!("{plain}---\n{one}")]
        {
            assert_eq!(found("SOPS002", "a.yaml", &text), [""; 0], "{text}");
        }
        let bad = format!("{plain}---\n{one}---\n{}", two.replace("kind: ENC", "token: horse\nkind: ENC"));
        assert_eq!(found("SOPS002", "a.yaml", &bad).len(), 1);
        // sops judges a document by the metadata of the first.
        assert_eq!(found("SOPS002", "a.yaml", &format!("{two}---\npassword: horse\n")).len(), 1);
        assert_eq!(
            found("SOPS002", "a.yaml", &format!("{two}---\npassword: horse\nsops: {{mac: x}}\n")).len(),
            1
        );
    }

    #[test]
    fn a_finding_names_its_object_and_never_the_value() {
        let source = "kind: Secret\nmetadata: {name: n, namespace: s}\nstringData:\n  a: b\n";
        let text = encrypted(Format::Yaml, source, "encrypted_regex=^stringData$");
        let text = text.replacen("stringData:\n", "stringData:\n  password: horse-battery\n", 1);
        let found = Repository::default().with("x/a.yaml", text).check();
        let finding = found.iter().find(|finding| finding.rule.id == "SOPS002").expect("a finding");
        assert_eq!(finding.object, "Secret/s/n");
        assert_eq!(finding.remedy, "kubectl seal fix x/a.yaml");
        assert!(!format!("{finding:?}{}", finding.pointer).contains("horse"));
        assert_eq!(finding.value.as_ref().map(|value| value.expose_secret()), Some(&b"horse-battery"[..]));
    }
}
