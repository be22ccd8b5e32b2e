//! K8S005: an object that has to be encrypted is in clear.

use crate::check::config::ExtraKind;
use crate::check::placeholder::is_encoded_placeholder;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Needles, Object, Rule, Severity, is_placeholder,
};
use crate::sealed::decode_base64;

use super::plain_secret::layer::{Layer, each_layer, is_document};
use super::plain_secret::remedy::encryption;
use super::plain_secret::{holds_word, is_manifest};

pub(super) static RULE: Rule = Rule {
    id: "K8S005",
    severity: Severity::Error,
    title: "an object that has to be encrypted is in clear",
    explanation: "A SopsSecret is made to be committed because SOPS has encrypted the values of its Secrets. Before \
                  it did, it is as open as a Secret. The same goes for other kinds that carry secrets, such as \
                  ClusterSecret, and for those that `.seal-check.yaml` lists as `extra-kinds`.\n\n\
                  Accepted are empty values, placeholders, and values that SOPS encrypted.\n\n\
                  Encrypt the file with `kubectl seal encrypt -i FILE`. If SOPS left the values as they are, let the \
                  `encrypted_regex` of the creation rule select them.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let extra = context.config.extra_kinds();
    // Kinds of the repository's own need not have the word in their names.
    let has_secret = file.needles().has(Needles::SECRET);
    if (!has_secret && extra.is_empty()) || !is_manifest(file) {
        return;
    }
    let own = KINDS.iter().map(|kind| kind.kind);
    let kinds: Vec<_> = own.chain(extra.iter().map(|kind| kind.kind.as_str())).collect();
    let may_hold = |text: &str| kinds.iter().any(|kind| holds_word(text, kind));
    if !may_hold(file.text()) {
        return;
    }
    let mut remedy = None;
    each_layer(file, &|text| text.contains("kind") && may_hold(text), &mut |layer| {
        for entry in layer.outline.nodes().filter(|entry| entry.is_map() && !entry.is_alias()) {
            let places = places(Object { entry }, extra);
            let values: Vec<_> = places.iter().flat_map(|place| at(entry, place)).collect();
            let values = clear(layer, values, context);
            for value in values {
                let key = value.key().unwrap_or_default();
                let label = layer.label(entry, value.pointer(Some(entry)));
                let message = format!("{key:?} of this {} is not encrypted", Object { entry }.kind());
                let (fix, remedy) = remedy.get_or_insert_with(|| encryption(file.path(), context)).clone();
                let finding = Finding::new(&RULE, file, layer.place(value.span()), message)
                    .at(label.0, label.1)
                    .value(value.text().unwrap_or_default().as_bytes())
                    .remedy(remedy);
                let is_whole = layer.is_file() && file.is_structured() && layer.outline.is_plain();
                let fix = fix.filter(|_| is_whole && !layer.is_encrypted(entry));
                found.add(fix.into_iter().fold(finding, Finding::fix));
            }
        }
    });
}

/// A kind of object that carries secrets.
struct Kind {
    group: &'static str,
    kind: &'static str,
    /// The ways to its secrets, from the object on.
    places: &'static [&'static [&'static str]],
}

/// Returns the ways to what has to be encrypted in an object.
fn places<'a>(object: Object<'_>, extra: &'a [ExtraKind]) -> Vec<Vec<&'a str>> {
    let kind = object.kind();
    if kind.is_empty() {
        return Vec::new();
    }
    let own = KINDS.iter().filter(|known| known.kind == kind && known.group == object.group());
    let own = own.flat_map(|known| known.places).map(|place| place.to_vec());
    let extra = extra.iter().filter(|known| known.kind == kind && known.group == object.group());
    own.chain(extra.map(|known| known.encrypted.iter().map(String::as_str).collect())).collect()
}

/// Returns the values at the end of a way through maps, and through all items of lists.
fn at<'a>(object: Entry<'a>, place: &[&str]) -> Vec<Entry<'a>> {
    let mut found = vec![object];
    for key in place {
        let items = |entry: Entry<'a>| if entry.is_list() { entry.entries().collect() } else { vec![entry] };
        found = found.into_iter().flat_map(items).filter_map(|entry| entry.get(key)).collect();
    }
    found.into_iter().flat_map(Entry::walk).filter(|entry| entry.text().is_some()).collect()
}

/// Returns the values that are in clear. In a document of SOPS, they are told only if it left all of them alone: any
/// other is what its own rules look for.
fn clear<'a>(layer: &Layer<'_>, values: Vec<Entry<'a>>, context: &Context<'_>) -> Vec<Entry<'a>> {
    let is_encrypted = |value: &Entry<'_>| value.text().is_some_and(|text| text.starts_with("ENC["));
    if values.iter().any(|value| layer.is_encrypted(*value) && is_encrypted(value)) {
        return Vec::new();
    }
    let is_clear = |value: &Entry<'_>| {
        let text = value.text().unwrap_or_default();
        let decoded = decode_base64(text.as_bytes()).ok();
        let decoded = decoded.as_ref().and_then(|bytes| str::from_utf8(bytes.expose_secret()).ok());
        let is_harmless = is_placeholder(text, context.config)
            || is_encoded_placeholder(text, context.config)
            || is_document(text)
            || decoded.is_some_and(is_document);
        !value.is_null() && !value.has_action() && !text.is_empty() && !is_harmless
    };
    values.into_iter().filter(is_clear).collect()
}

/// Kinds that carry secrets, whose tools take them encrypted or not at all.
const KINDS: &[Kind] = &[
    Kind { group: "clustersecret.io", kind: "ClusterSecret", places: &[&["data"], &["stringData"]] },
    Kind {
        group: "isindir.github.com",
        kind: "SopsSecret",
        places: &[
            &["spec", "secretTemplates", "data"],
            &["spec", "secretTemplates", "stringData"],
            &["spec", "secret_templates", "data"],
            &["spec", "secret_templates", "stringData"],
        ],
    },
    Kind {
        group: "selkie.dev",
        kind: "SopsSecret",
        places: &[&["spec", "document"], &["spec", "documentBase64"]],
    },
];

#[cfg(test)]
mod tests {
    use crate::check::test_kit::found;

    const HEAD: &str = "apiVersion: isindir.github.com/v1alpha3\nkind: SopsSecret\nmetadata: {name: n}\n";

    #[test]
    fn values_that_are_not_encrypted_are_found() {
        let text = format!(
            "{HEAD}spec:\n  secretTemplates:\n  - name: a\n    stringData:\n      p: hunter2\n  - data: {{q: aHVudGVyMg==, r: ''}}\n"
        );
        let wanted = ["8 /spec/secretTemplates/0/stringData/p", "9 /spec/secretTemplates/1/data/q"];
        assert_eq!(found("K8S005", "a.yaml", &text), wanted);
        let text = "apiVersion: clustersecret.io/v1\nkind: ClusterSecret\ndata:\n  p: aHVudGVyMg==\n";
        assert_eq!(found("K8S005", "a.yaml", text), ["4 /data/p"]);
        let text = "apiVersion: selkie.dev/v1\nkind: SopsSecret\nspec:\n  document: |\n    p: hunter2\n";
        assert_eq!(found("K8S005", "a.yaml", text), ["5 /spec/document"]);
    }

    #[test]
    fn values_that_sops_did_not_select_are_found() {
        let rest = "sops: {mac: x, version: y}\n";
        let text = format!("{HEAD}spec: {{secretTemplates: [{{stringData: {{p: hunter2}}}}]}}\n{rest}");
        assert_eq!(found("K8S005", "a.yaml", &text), ["4 /spec/secretTemplates/0/stringData/p"]);
    }

    #[test]
    fn encrypted_values_and_placeholders_are_left_alone() {
        let encrypted = "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]";
        let rest = "sops: {mac: x, version: y}\n";
        for (text, rest) in [
            (format!("{{stringData: {{p: '{encrypted}', q: ''}}, name: a, labels: {{b: c}}}}"), rest),
            ("{stringData: {p: '${PASSWORD}'}, name: a}".to_owned(), ""),
            ("{stringData: {}}".to_owned(), ""),
        ] {
            let text = format!("{HEAD}spec: {{secretTemplates: [{text}]}}\n{rest}");
            assert_eq!(found("K8S005", "a.yaml", &text), [""; 0], "{text}");
        }
        let document = format!("p: {encrypted}\n    sops:\n      mac: {encrypted}\n");
        let text =
            format!("apiVersion: selkie.dev/v1\nkind: SopsSecret\nspec:\n  document: |\n    {document}");
        assert_eq!(found("K8S005", "a.yaml", &text), [""; 0]);
        let text = "apiVersion: example.org/v1\nkind: SopsSecret\nspec: {document: hunter2}\n";
        assert_eq!(found("K8S005", "a.yaml", text), [""; 0]);
        let text = "kind: CustomResourceDefinition\nspec: {names: {kind: SopsSecret}}\n";
        assert_eq!(found("K8S005", "a.yaml", text), [""; 0]);
    }

    #[test]
    fn texts_that_templates_make_are_left_alone_and_every_value_is_told() {
        let text = "extra:\n- |\n  apiVersion: isindir.github.com/v1alpha3\n  kind: SopsSecret\n  spec:\n    secretTemplates:\n    \
                    - stringData: {p: '{{ .Values.p }}'}\n";
        assert_eq!(found("K8S005", "a.yaml", text), [""; 0]);
        assert_eq!(found("K8S005", "a.yaml", &text.replace("{{ .Values.p }}", "hunter2")).len(), 1);
        let values: String = (0..100).map(|number| format!("    k{number}: x\n")).collect();
        let text = format!(
            "{HEAD}spec:\n  secretTemplates:\n  - stringData:\n{}",
            values.replace("    k", "      k")
        );
        assert_eq!(found("K8S005", "a.yaml", &text).len(), 100);
    }
}
