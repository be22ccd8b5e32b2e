//! What is expected in place of what was recorded.

use super::Outcome;

/// A case, and what changes its outcome.
type Difference = (&'static str, fn(&mut Outcome));

/// Changes what was recorded to what we do: each of these is a row of `docs/compatibility.md`.
pub fn of_ours(name: &str, outcome: &mut Outcome) {
    apply(OURS, name, outcome);
}

/// Changes what was recorded to what version 0.40 does.
pub fn of_later_version(name: &str, outcome: &mut Outcome) {
    apply(LATER, name, outcome);
}

/// Returns the names of all cases with a difference.
pub fn names() -> impl Iterator<Item = &'static str> {
    OURS.iter().chain(LATER).map(|(name, _)| *name)
}

/// Returns whether the real program, which looks at the clock, will do something else one day.
pub fn depends_on_the_date(name: &str) -> bool {
    matches!(name, "not yet valid cert accepted" | "EC cert")
}

fn apply(table: &[Difference], name: &str, outcome: &mut Outcome) {
    for (_, change) in table.iter().filter(|(known, _)| *known == name) {
        change(outcome);
    }
}

static OURS: &[Difference] = &[
    ("kubeconfig namespace differs from secret namespace (allowed)", without_managed_fields),
    ("cluster-wide keeps namespace, ignores mismatch", without_managed_fields),
    ("metadata stripping (json)", without_managed_fields),
    ("metadata stripping (yaml)", without_managed_fields),
    ("ConfigMap is sealed as if Secret", |outcome| fail(outcome, "the input is a ConfigMap, not a Secret")),
    ("second yaml doc malformed is skipped silently", |outcome| {
        fail(outcome, "document 2 of the input cannot be read: line 1: unclosed bracket '['");
    }),
    ("EC cert", |outcome| fail(outcome, "expected RSA public key but found one of another algorithm")),
    ("no cert, dead server", |outcome| {
        let theirs = "Get \"http://127.0.0.1:1/api/v1/namespaces/kube-system/services/sealed-secrets-controller\": \
                      dial tcp 127.0.0.1:1: connect: connection refused";
        let ours = "cannot reach the cluster at http://127.0.0.1:1: ServiceError: client error (Connect): tcp connect \
                    error: Connection refused (os error 111)";
        outcome.stderr = outcome.stderr.replace(theirs, ours);
    }),
    ("merge-into writes --format, not the file extension", |outcome| put(outcome, "m1.yaml", &sealed(""))),
    ("merge-into with labels into template without labels panics", |outcome| {
        succeed(outcome);
        let metadata = "      annotations:\n        a: b\n      labels:\n        l: v\n";
        let merged =
            sealed("    zed: <SEALED>\n").replace("    metadata:\n", &format!("    metadata:\n{metadata}"));
        put(outcome, "m3.yaml", &merged);
    }),
    ("merge-into drops comments and further documents", |outcome| {
        put(outcome, "m4.yaml", &M4.replace("    a: b\n", "    a: b\n    foo: <SEALED>\n"));
    }),
    ("merge-into file without encryptedData panics", |outcome| {
        succeed(outcome);
        put(outcome, "m5.yaml", &format!("{M5}  encryptedData:\n    foo: <SEALED>\n"));
    }),
    ("recovery only first yaml doc", |outcome| outcome.stdout = outcome.stdout.repeat(2)),
    ("recovery key file ksl.json", |outcome| {
        succeed(outcome);
        outcome.stdout = OPENED.to_owned();
    }),
    ("rotate deprecation text on stdout", |outcome| {
        outcome.stderr = std::mem::take(&mut outcome.stdout) + &outcome.stderr;
    }),
    ("version", |outcome| outcome.stdout = "kubeseal version: v0.40.0\n".to_owned()),
];

static LATER: &[Difference] = &[
    // It does not say which value is meant.
    ("bad base64 in data", |outcome| fail(outcome, "illegal base64 data at input byte 3")),
    ("version", |outcome| outcome.stdout = "kubeseal version: v0.40.0\n".to_owned()),
];

/// A file with comments and a further document.
pub const M4: &str = "# head\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: mysec # name\n  \
                      namespace: myns\n  labels: {keep: me}\nspec:\n  encryptedData:\n    a: b\nstatus: {}\n---\n\
                      kind: ConfigMap\n";

/// A file without values.
pub const M5: &str = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: mysec, namespace: myns}\n\
                      spec:\n  template: {}\n";

/// The Secret that the cases open.
const OPENED: &str = "---\napiVersion: v1\ndata:\n  foo: YmFy\nkind: Secret\nmetadata:\n  name: \"n\"\n  namespace: q\n  \
                      ownerReferences:\n  - apiVersion: bitnami.com/v1alpha1\n    controller: true\n    kind: SealedSecret\n    \
                      name: \"n\"\n    uid: \"\"\n";

fn fail(outcome: &mut Outcome, message: &str) {
    outcome.exit = 1;
    outcome.stdout.clear();
    outcome.stderr = format!("error: {message}\n");
}

fn succeed(outcome: &mut Outcome) {
    outcome.exit = 0;
    outcome.stderr.clear();
}

fn put(outcome: &mut Outcome, name: &str, content: &str) {
    outcome.files.get_mut(name).expect("the case writes it").1 = content.to_owned();
}

/// Returns the SealedSecret of the cases as YAML, with further items.
fn sealed(items: &str) -> String {
    format!(
        "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: \"n\"\n  namespace: q\nspec:\n  \
         encryptedData:\n    foo: <SEALED>\n{items}  template:\n    metadata:\n      name: \"n\"\n      namespace: q\n"
    )
}

fn without_managed_fields(outcome: &mut Outcome) {
    let json = ",\n        \"managedFields\": [\n          {\n            \"manager\": \"m\",\n            \
                \"operation\": \"Update\"\n          }\n        ]";
    let yaml = "      managedFields:\n      - manager: m\n        operation: Update\n";
    outcome.stdout = outcome.stdout.replace(json, "").replace(yaml, "");
}
