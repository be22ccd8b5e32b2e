//! SOPS001: a file that a creation rule encrypts is in clear.
//!
//! A creation rule says how a file is encrypted, not that it must be: `\.yaml$` matches every Deployment. So a rule is
//! a demand as far as it speaks of secrets; for the rest, secrets must be in the file.

mod decrypted;
mod demand;

use std::ops::Range;

use crate::check::policies::NAME;
use crate::check::sops_file::{PREFIX, SopsValue, bytes_of, is_encoded_file, keys_of, places_of};
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Fix, Needles, Object, Rule, Severity, is_placeholder,
    is_secret_name, objects,
};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::sops::config::CreationRule;
use crate::sops::{LeafState, Selector, leaves};
use crate::tree::{Tree, Value};

use super::unverified;
use demand::Demand;

pub(super) static RULE: Rule = Rule {
    id: "SOPS001",
    severity: Severity::Error,
    title: "a file that a creation rule encrypts is in clear",
    explanation: "A creation rule of the nearest .sops.yaml matches this file, and the file has no metadata of SOPS: \
        somebody forgot to encrypt it, or decrypted it and left it so. Patterns are those of sops: the first rule \
        whose path_regex is found anywhere in the path, seen from the folder of .sops.yaml, counts.\n\n\
        A rule is a demand where its pattern speaks of secrets (\"secret\", \"enc\", \"sops\", …) or names this one file. \
        One that names a folder is a demand for files of variables in it. For any other, such as one for all YAML \
        files, the file has to hold a Secret, or values that are named as secrets are. It is a warning if the rule \
        matches everything, or has no keys. Whatever rules say, a file is told that was encrypted before, and whose \
        values are in clear now.\n\n\
        Accepted are .sops.yaml itself, empty files, placeholders, objects of Kubernetes without secrets, \
        SealedSecrets, patches that delete, program text and documents, and what is encrypted otherwise.\n\n\
        To mend it, run \"kubectl seal encrypt -i PATH\". If it was ever pushed, change the secrets in it.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    if file.name() == NAME || is_blank(file) || demand::is_ciphertext(file.bytes()) || file.sops().is_some() {
        return;
    }
    if let Some(finding) = decrypted::finding(file, context) {
        return found.add(finding);
    }
    let is_marked = demand::has_mark(file.name());
    if demand::is_no_document(file.path()) || !is_marked && demand::is_public(file.bytes()) {
        return;
    }
    // A policy that went in the same change does not excuse what goes in with it.
    let policy = context.policies.of(file.path());
    let before = || context.policies.before(context.before?, file.path());
    let Some(policy) = policy.or_else(before) else { return };
    let rule = policy.config.as_ref().map(|config| config.rule_for(policy.relative(file.path())));
    let rule = match rule {
        Ok(Ok(Some(rule))) => rule,
        Ok(Ok(None)) => return,
        Ok(Err(_)) | Err(_) => return unjudged(file, &policy.path, is_marked, found),
    };
    let leak = match leak_of(file, context, rule) {
        Judged::Clean => return,
        Judged::Leak(leak) => leak,
        Judged::Unread => {
            let message = "a creation rule says that this file is encrypted, and what it says cannot be read";
            let remedy = format!("kubectl seal encrypt -i {}", file.path());
            return found.add(Finding::new(&unverified::RULE, file, 0..0, message).remedy(remedy));
        }
    };
    let place = format!("{}:{}", policy.path, rule.line);
    let message =
        format!("a creation rule ({place}) says that this file is encrypted, and it has no metadata of SOPS");
    let severity = if rule.is_without_keys() { Severity::Warning } else { leak.severity };
    let mut finding = Finding::new(&RULE, file, leak.span, message).at(leak.object, leak.pointer);
    if !rule.is_without_keys() {
        finding = finding.fix(Fix::Encrypt);
    }
    let finding = finding.severity(severity).remedy(format!("kubectl seal encrypt -i {}", file.path()));
    found.add(finding.value(leak.value.expose_secret()));
}

/// Tells that the policy cannot be read for a file that it may be about.
fn unjudged(file: &File<'_>, policy: &str, is_marked: bool, found: &mut Findings) {
    let is_known = Format::from_file_name(file.name()) != Format::Binary;
    let may_leak = is_known && file.needles().has(Needles::SECRET.or(Needles::SECRET_NAME));
    if !is_marked && !may_leak {
        return;
    }
    let message = format!("nobody knows whether this file must be encrypted: {policy} cannot be read");
    let severity = if is_marked { Severity::Error } else { Severity::Warning };
    let remedy = format!("mend {policy}, so that it can be read");
    found.add(Finding::new(&unverified::RULE, file, 0..0, message).severity(severity).remedy(remedy));
}

/// What is in clear, and where.
struct Leak {
    span: Range<usize>,
    object: String,
    pointer: String,
    value: SecretBytes,
    severity: Severity,
}

impl Leak {
    /// All of a file.
    fn of_file() -> Self {
        let (object, pointer, value) = (String::new(), String::new(), SecretBytes::new());
        Self { span: 0..0, object, pointer, value, severity: Severity::Error }
    }
}

/// What a look at a file tells.
enum Judged {
    Clean,
    Leak(Leak),
    /// It cannot be told.
    Unread,
}

impl From<Option<Leak>> for Judged {
    fn from(leak: Option<Leak>) -> Self {
        leak.map_or(Self::Clean, Self::Leak)
    }
}

/// Returns what should be encrypted, if there is anything.
fn leak_of(file: &File<'_>, context: &Context<'_>, rule: &CreationRule) -> Judged {
    let demand = Demand::of(rule, file.path());
    let format = Format::from_file_name(file.name());
    let is_configuration = demand::is_configuration(file.name());
    let is_named = demand.is_by_name(rule, file.path(), format) || is_configuration;
    // Reading a file takes longer than this look.
    if is_named && !file.needles().has(Needles::SECRET.or(Needles::SECRET_NAME)) {
        return Judged::Clean;
    }
    if file.is_structured() {
        let all: Vec<_> = objects(file.outline()).collect();
        if let Some(leak) = all.iter().find_map(|object| secret_leak(*object, context)) {
            return Judged::Leak(leak);
        }
        if !all.is_empty() {
            return object_leak(file, context, rule, &all, demand).into();
        }
        if is_only_deletions(file) {
            return Judged::Clean;
        }
    }
    if is_configuration && demand != Demand::File
        || is_named && demand::is_for_secrets(rule) && demand != Demand::File
    {
        return Judged::Clean;
    }
    match demand {
        Demand::File if format == Format::Binary => Judged::Leak(Leak::of_file()),
        _ if format == Format::Binary => Judged::Clean,
        Demand::File if is_unread(file, format) => unread(file, context),
        Demand::File | Demand::Secrets => value_leak(file, context, rule, is_named).into(),
        Demand::Nothing => {
            let leak = value_leak(file, context, rule, true);
            leak.map(|leak| Leak { severity: Severity::Warning, ..leak }).into()
        }
    }
}

/// Returns what is in clear in objects of Kubernetes that are no Secrets: as a rule they are no secrets, too.
fn object_leak(
    file: &File<'_>,
    context: &Context<'_>,
    rule: &CreationRule,
    objects: &[Object<'_>],
    demand: Demand,
) -> Option<Leak> {
    let is_plain =
        |object: &Object<'_>| !object.is_sealed_secret() && !object.is_secret() && !is_deletion(object.entry);
    let is_marked = demand::has_mark(file.name());
    if demand != Demand::File || !is_marked || !objects.iter().all(is_plain) {
        return None;
    }
    let holds_none = objects.iter().any(|object| is_one_without_secrets(*object));
    let named = value_leak(file, context, rule, true).filter(|_| !holds_none);
    named.or_else(|| {
        let leak = value_leak(file, context, rule, false)?;
        Some(Leak { severity: Severity::Warning, ..leak })
    })
}

/// Returns whether an object only says where secrets are, or who may read them, whatever its values are called.
fn is_one_without_secrets(object: Object<'_>) -> bool {
    let group = object.group();
    ["external-secrets.io", "secrets-store.csi.x-k8s.io", "rbac.authorization.k8s.io"]
        .iter()
        .any(|known| group == *known || group.strip_suffix(known).is_some_and(|rest| rest.ends_with('.')))
        || KINDS_WITHOUT_SECRETS.contains(&object.kind())
}

/// Returns what is in clear in a text that is not of its format. A template may still be looked at.
fn unread(file: &File<'_>, context: &Context<'_>) -> Judged {
    if !file.text().contains("{{") {
        return Judged::Leak(Leak::of_file());
    }
    let is_clear = |entry: &Entry<'_>| {
        let text = entry.text().unwrap_or_default();
        entry.key().is_some_and(is_secret_name)
            && !entry.is_null()
            && !entry.has_action()
            && !text.contains("{{")
            && !is_placeholder(text, context.config)
            && entry.text().is_some()
    };
    let clear = if file.is_structured() { file.outline().nodes().find(is_clear) } else { None };
    if let Some(entry) = clear {
        return Judged::Leak(Leak {
            span: entry.span(),
            object: String::new(),
            pointer: entry.pointer(None),
            value: SecretBytes::from(entry.text().unwrap_or_default().as_bytes()),
            severity: Severity::Error,
        });
    }
    let is_whole =
        file.is_structured() && file.outline().documents().iter().all(|document| document.error.is_none());
    // Templates of charts are judged by their lines, as Secrets.
    let is_template = file.path().split('/').any(|folder| folder == "templates");
    if is_whole || is_template { Judged::Clean } else { Judged::Unread }
}

/// Returns the first value of a Secret that is in clear.
fn secret_leak(object: Object<'_>, context: &Context<'_>) -> Option<Leak> {
    if !object.is_secret() || is_deletion(object.entry) {
        return None;
    }
    let is_real = |entry: &Entry<'_>| {
        let text = entry.text().unwrap_or_default();
        let is_public = entry.key().is_some_and(|key| key.ends_with(".crt"));
        !entry.has_action()
            && !is_public
            && !is_encoded_file(text)
            && !text.as_bytes().starts_with(PREFIX)
            && !is_placeholder(text, context.config)
    };
    let maps = ["data", "stringData"].into_iter().filter_map(|key| object.entry.get(key));
    let entry = maps.filter(|map| map.is_map()).flat_map(Entry::entries).find(is_real)?;
    Some(Leak {
        span: entry.span(),
        object: object.label(),
        pointer: entry.pointer(Some(object.entry)),
        value: SecretBytes::from(entry.text().unwrap_or_default().as_bytes()),
        severity: Severity::Error,
    })
}

/// Returns the first value that the rule selects: one that is named as secrets are, before any other; only such a one
/// where `named`.
fn value_leak(file: &File<'_>, context: &Context<'_>, rule: &CreationRule, named: bool) -> Option<Leak> {
    let format = Format::from_file_name(file.name());
    let tree = format.read(SecretBytes::from(file.text().as_bytes())).ok()?;
    let default = Selector::default();
    let selector = rule.selector.as_ref().unwrap_or(&default);
    let selected = leaves(format, &tree, selector).into_iter();
    let selected = selected.filter(|leaf| leaf.selected && leaf.state == LeafState::Clear);
    let values = keys_of(&tree, selected);
    let real: Vec<_> = values.iter().filter(|value| is_real(&tree, value, context)).collect();
    let is_named = |value: &SopsValue| {
        let is_text = matches!(tree.node(value.id).value, Value::Str(_));
        is_text && is_secret_name(value.key_in(&tree))
    };
    let best = real.iter().find(|value| is_named(value)).or_else(|| real.first().filter(|_| !named))?;
    let finding = places_of(&tree).finding(&RULE, file, best, "");
    Some(Leak {
        span: best.span.clone(),
        object: finding.object,
        pointer: finding.pointer,
        value: SecretBytes::from(bytes_of(&tree, best.id)),
        severity: Severity::Error,
    })
}

/// Returns whether a value says something that may be a secret.
fn is_real(tree: &Tree, value: &SopsValue, context: &Context<'_>) -> bool {
    match tree.node(value.id).value {
        Value::Str(text) => {
            let bytes = tree.bytes(text);
            let text = str::from_utf8(bytes).unwrap_or_default();
            !text.contains("{{") && !bytes.starts_with(PREFIX) && !is_placeholder(text.trim(), context.config)
        }
        Value::Bool(_) | Value::Null => false,
        _ => true,
    }
}

/// Returns whether a text is not of its format, so that its values cannot be looked at.
fn is_unread(file: &File<'_>, format: Format) -> bool {
    format.read(SecretBytes::from(file.text().as_bytes())).is_err()
}

/// Returns whether a file says nothing: it is empty, or all its lines are comments.
fn is_blank(file: &File<'_>) -> bool {
    let is_blank = |line: &str| {
        let line = line.trim();
        line.is_empty()
            || line.starts_with('#')
            || line.starts_with(';')
            || matches!(line, "---" | "..." | "{}")
    };
    file.bytes().is_empty() || file.is_text() && file.text().lines().all(is_blank)
}

fn is_deletion(object: Entry<'_>) -> bool {
    object.text_at(&["$patch"]) == Some("delete")
}

fn is_only_deletions(file: &File<'_>) -> bool {
    let mut roots = file.outline().roots().peekable();
    roots.peek().is_some() && roots.all(is_deletion)
}

/// Kinds of objects that say where secrets are, and hold none.
const KINDS_WITHOUT_SECRETS: &[&str] = &[
    "ClusterExternalSecret",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterSecretStore",
    "ExternalSecret",
    "Password",
    "PushSecret",
    "Role",
    "RoleBinding",
    "SecretProviderClass",
    "SecretStore",
    "VaultDynamicSecret",
    "VaultStaticSecret",
];

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::{RECIPIENT, encrypted};
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn found(rule: &str, path: &str, text: impl AsRef<[u8]>) -> Vec<String> {
        let policy = format!("creation_rules:\n- {{{rule}, age: {RECIPIENT}}}\n");
        let found = Repository::default().with(".sops.yaml", policy).with(path, text).check();
        let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS001");
        found
            .map(|finding| format!("{} {} {}", finding.severity.name(), finding.start.line, finding.pointer))
            .collect()
    }

    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: n}\nstringData:\n  user: me\n";
    const CONFIG: &str = "db:\n  host: h\n  password: horse\n";

    #[test]
    fn files_in_clear_are_found() {
        for (rule, path, text, wanted) in [
            (r"path_regex: '\.enc\.yaml$'", "a/db.enc.yaml", CONFIG, "error 3 /db/password"),
            (r"path_regex: '\.enc\.yaml$'", "a/db.enc.yaml", "host: h\n", "error 1 /host"),
            (r"path_regex: 'secrets/.*'", "secrets/db.yaml", CONFIG, "error 3 /db/password"),
            (r"path_regex: 'secrets/.*'", "secrets/db.env", "A=b\n", "error 1 /A"),
            (r"path_regex: 'secrets/.*'", "secrets/db.ini", "[a]\nb = c\n", "error 2 /a/b"),
            (r"path_regex: 'secrets/.*'", "secrets/db.json", "{\"a\": 1}", "error 1 /a"),
            (r"path_regex: 'secrets/.*'", "secrets/token", "horse", "error 1 "),
            (r"path_regex: 'secrets/.*'", "secrets/db.yaml", "a: [\n", "error 1 "),
            (r"path_regex: '^prod/db\.yaml$'", "prod/db.yaml", "a: b\n", "error 1 /a"),
            (r"path_regex: '^prod/'", "prod/db.yaml", CONFIG, "error 3 /db/password"),
            (r"path_regex: '^apps/.*'", "apps/x/.env", "DB_URL=b\n", "error 1 /DB_URL"),
            (r"path_regex: '\.enc\.'", "licenses.enc.yaml", "a: b\n", "error 1 /a"),
            (r"path_regex: '\.enc\.'", ".gitlab-runner.enc.yaml", "a: b\n", "error 1 /a"),
            (r"path_regex: '\.sops\.'", "a.sops.toml", "a = 1\n", "error 1 "),
            (r"path_regex: '\.sops\.'", "a.sops.sh", "#!/bin/sh\nmake\n", "error 1 "),
            (r"path_regex: 'secrets/.*'", "secrets/license.yaml", "a: b\n", "error 1 /a"),
            (r"path_regex: 'secrets/.*'", "secrets/.github-app.yaml", "token: b\n", "error 1 /token"),
            (
                r"path_regex: 'secrets/.*'",
                "secrets/a.yaml",
                "{{ if .x }}\npassword: b\n",
                "error 2 /password",
            ),
            (r"path_regex: '.*\.ya?ml$'", "db.yaml", SECRET, "error 5 /stringData/user"),
            (r"path_regex: '.*\.ya?ml$'", "db.yaml", CONFIG, "warning 3 /db/password"),
            (r"encrypted_regex: '^stringData$'", "db.yaml", SECRET, "error 5 /stringData/user"),
            (
                r"path_regex: '\.sops\.yaml$'",
                "map.sops.yaml",
                "kind: ConfigMap\ndata: {a: b}\n",
                "warning 1 /kind",
            ),
        ] {
            let found = found(rule, path, text);
            assert_eq!(found.first().map(String::as_str), Some(wanted), "{rule} {path}");
        }
        let enc = r"path_regex: '\.sops\.yaml$', encrypted_regex: '^data$'";
        assert_eq!(found(enc, "map.sops.yaml", "kind: ConfigMap\ndata: {a: b}\n"), ["warning 2 /data/a"]);
        assert_eq!(found(enc, "map.sops.yaml", "kind: X\ndata: {password: b}\n"), ["error 2 /data/password"]);
    }

    #[test]
    fn other_files_are_clean() {
        let sealed = encrypted(Format::Yaml, CONFIG, "");
        let deployment = "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 1}\n";
        let every = r"path_regex: '.*'";
        let yaml = r"path_regex: '.*\.yaml', encrypted_regex: '^(data|stringData)$'";
        let enc = r"path_regex: '\.enc\.yaml$'";
        let folder = r"path_regex: 'secrets/.*'";
        let cluster = r"path_regex: 'clusters/.*\.yaml', encrypted_regex: '^(data|stringData)$'";
        let kubernetes =
            r"path_regex: 'kubernetes/.*', unencrypted_regex: '^(apiVersion|kind|metadata|type|spec)$'";
        let named = r"path_regex: '.*secret.*\.ya?ml$', encrypted_regex: '^(data|stringData)$'";
        let external =
            "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nspec:\n  data:\n  - secretKey: a\n";
        for (rule, path, text) in [
            (enc, "a.enc.yaml", sealed.as_str()),
            (enc, "a.enc.yaml", ""),
            (enc, "a.enc.yaml", "# later\n---\n"),
            (enc, "a.enc.yaml", "a: ${LATER}\nb: ''\nc: null\n"),
            (enc, "a.yaml", SECRET),
            (enc, "a.enc.yaml", "$patch: delete\nkind: Secret\nmetadata: {name: n}\ndata: {a: b}\n"),
            (every, "README.md", "# Read me\npassword: horse\n"),
            (every, "main.go", "package main\n"),
            (every, "deployment.yaml", deployment),
            (every, "values.yaml", "image: x\nreplicas: 2\n"),
            (every, ".github/workflows/test.yaml", "on: push\njobs: {a: {steps: [{run: make}]}}\n"),
            (yaml, "map.yaml", "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n"),
            (yaml, "secret.yaml", "apiVersion: v1\nkind: Secret\ndata: {}\n"),
            (
                yaml,
                "sealed.yaml",
                "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec: {encryptedData: {a: b}}\n",
            ),
            (yaml, "a.tpl.yaml", "kind: Secret\ndata:\n  a: {{ .b }}\n"),
            (folder, "secrets/kustomization.yaml", "resources: [a.yaml]\n"),
            (folder, "secrets/kustomization.yaml", "kind: Kustomization\nresources: [a.yaml]\n"),
            (folder, "secrets/README.md", "secret\n"),
            (folder, "secrets/.gitkeep", ""),
            (folder, "secrets/key.age", "age-encryption.org/v1\n-> X25519 abc\n"),
            (folder, "secrets/vault.yaml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
            (folder, "secrets/ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n"),
            (folder, "secrets/store.yaml", "kind: ExternalSecret\nspec: {secretStoreRef: {name: x}}\n"),
            (cluster, "clusters/a/map.yaml", "kind: ConfigMap\ndata: {a: b}\n"),
            (cluster, "clusters/a/values.yaml", "image: x\n"),
            (cluster, "clusters/a/values.yaml", "persistence: {data: {size: 10Gi, token: horse}}\n"),
            (kubernetes, "kubernetes/values.yaml", "replicas: 2\nimage: x\n"),
            (kubernetes, "kubernetes/kustomizeconfig.yaml", "nameReference: [{kind: Secret}]\n"),
            (named, "db-secret.yaml", external),
            (named, "db-secret.yaml", "kind: ConfigMap\ndata: {a: b}\n"),
            (named, "secret-reader.yaml", "kind: Role\nrules: [{resources: [secrets]}]\n"),
            (r"path_regex: 'vaultwarden/.*'", "vaultwarden/values.yaml", "image: x\n"),
            (r"path_regex: 'vault/.*'", "vault/values.yaml", "image: x\n"),
            (r"path_regex: 'vault/.*'", "vault/release.yaml", "kind: HelmRelease\nspec: {values: {a: b}}\n"),
            (r"path_regex: 'external-secrets/.*'", "external-secrets/a.txt", "a\n"),
            (folder, "secrets/run", "#!/bin/sh\nmake\n"),
            (folder, "secrets/ca.pem", "-----BEGIN CERTIFICATE-----\nx\n"),
            (folder, "secrets/db.env.example", "A=b\n"),
            (folder, "secrets/.yamllint.yaml", "rules: x\n"),
        ] {
            let errors = found(rule, path, text);
            let errors: Vec<_> = errors.iter().filter(|line| line.starts_with("error")).collect();
            assert!(errors.is_empty(), "{rule} {path} {text} {errors:?}");
        }
        for (rule, path, text) in
            [(every, "deployment.yaml", deployment), (cluster, "clusters/a/values.yaml", "image: x\n")]
        {
            assert_eq!(found(rule, path, text), [""; 0], "{path}");
        }
    }

    #[test]
    fn a_secret_of_encrypted_files_is_clean() {
        use base64::Engine;
        let file = base64::engine::general_purpose::STANDARD.encode(encrypted(Format::Yaml, CONFIG, ""));
        let text = format!("kind: Secret\ndata:\n  a.yaml: {file}\n");
        assert_eq!(found(r"path_regex: '\.yaml$'", "a.yaml", text), [""; 0]);
    }

    #[test]
    fn the_policy_itself_is_clean() {
        assert_eq!(found(r"path_regex: '.*\.sops\.ya?ml$'", "x/a.yaml", "a: b\n"), [""; 0]);
        let found = Repository::default()
            .with(
                ".sops.yaml",
                format!("creation_rules: [{{path_regex: '.*\\.sops\\.ya?ml$', age: {RECIPIENT}}}]\n"),
            )
            .found();
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_told_with_its_files() {
        let repository = |path: &str, text: &str| {
            let found =
                Repository::default().with(".sops.yaml", "creation_rules: [\n").with(path, text).check();
            let found = found.into_iter().filter(|finding| finding.path == path);
            found
                .map(|finding| format!("{} {}", finding.rule.id, finding.severity.name()))
                .collect::<Vec<_>>()
        };
        assert_eq!(repository("a.enc.yaml", "a: b\n"), ["META001 error"]);
        assert_eq!(repository("a.yaml", "theToken: b\n"), ["META001 warning"]);
        assert_eq!(repository("a.yaml", "a: b\n"), [""; 0]);
        assert_eq!(repository("a.md", "a token\n"), [""; 0]);
    }

    #[test]
    fn a_policy_that_went_in_the_same_change_counts() {
        let policy = format!("creation_rules: [{{path_regex: secrets/, age: {RECIPIENT}}}]\n");
        let repository = Repository::default().with_old(".sops.yaml", policy);
        assert_eq!(repository.with("secrets/a.yaml", "a: b\n").found(), ["SOPS001 secrets/a.yaml:1 /a"]);
    }

    #[test]
    fn a_template_that_cannot_be_read_is_told() {
        let policy = format!("creation_rules: [{{path_regex: secrets/, age: {RECIPIENT}}}]\n");
        let found = |path: &str, text: &str| {
            Repository::default().with(".sops.yaml", &policy).with(path, text).found()
        };
        assert_eq!(found("secrets/a.json", "{\"a\": {{ .b }}, [\n"), ["META001 secrets/a.json:1"]);
        assert_eq!(found("secrets/a.yaml", "{{ if .x }}\na: {{ .b }}\n{{ end }}\n"), [""; 0]);
    }

    #[test]
    fn a_rule_without_keys_is_a_warning() {
        let policy = "creation_rules: [{path_regex: secrets/}]\n";
        let found = Repository::default().with(".sops.yaml", policy).with("secrets/a.yaml", CONFIG).check();
        let finding = found.iter().find(|finding| finding.rule.id == "SOPS001").expect("a finding");
        assert!(finding.warns() && finding.fix.is_none());
        assert!(finding.message.contains(".sops.yaml:1") && !finding.message.contains("horse"));
    }
}
