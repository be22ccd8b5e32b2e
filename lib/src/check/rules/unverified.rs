//! META001: something cannot be checked.

use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};

use super::environment_file::{is_encrypted, is_environment};
use super::plain_secret::holds_word;

pub(super) static RULE: Rule = Rule {
    id: "META001",
    severity: Severity::Error,
    title: "something cannot be checked",
    explanation: "A document that calls itself something that holds secrets, and that is neither YAML nor JSON, cannot \
                  be judged: nobody knows what a tool that is less strict makes of it. Silence would say that it is \
                  clean.\n\n\
                  Accepted are files that cannot be read and that no rule would judge, and templates, which are \
                  judged by their lines.\n\n\
                  Mend the document, so that it can be read, or say in `.seal-check.yaml` why it must be so.",
    needles: Needles::ANY_FILE,
    check: Check::Checker,
};

/// Tells the documents of a file that cannot be read, where a rule would have judged them.
pub(in crate::check) fn unread(file: &File<'_>, found: &mut Findings) {
    if !file.is_text() {
        not_text(file, found);
        return;
    }
    let needles = Needles::SECRET.or(Needles::SOPS).or(Needles::CREDENTIAL_FILE);
    if !file.is_structured() || !file.needles().has(needles) || !holds_secrets(file.text()) {
        return;
    }
    for document in file.outline().documents() {
        let Some(error) = document.error else { continue };
        let text = file.text().get(document.span.clone()).unwrap_or_default();
        if !holds_secrets(text) || (is_template(text) && (is_chart(file.path()) || is_judged(text))) {
            continue;
        }
        let message = format!("this document cannot be checked: {}", error.what);
        let remedy =
            "mend the document, so that it can be read; or say in .seal-check.yaml why it must be so";
        found.add(Finding::new(&RULE, file, error.at..error.at, message).remedy(remedy));
    }
    if file.outline().is_exhausted() {
        let message = "aliases stand for more values than are looked at";
        found.add(
            Finding::new(&RULE, file, 0..0, message).remedy("write the values out, or use fewer aliases"),
        );
    }
}

/// Tells a file that should be a text by its name, and is none. What other tools encrypted as a whole is none, too.
fn not_text(file: &File<'_>, found: &mut Findings) {
    if is_encrypted(file)
        || file.bytes().starts_with(b"Salted__")
        || !file.is_structured() && !is_environment(file)
    {
        return;
    }
    let needles = Needles::SECRET.or(Needles::SOPS).or(Needles::CREDENTIAL_FILE).or(Needles::SECRET_NAME);
    let severity = if file.needles().has(needles) { Severity::Error } else { Severity::Warning };
    let message = "this file cannot be checked: its name is that of a text, and it is none";
    let remedy = "write it in UTF-8, or give it another name; or say in .seal-check.yaml why it must be so";
    found.add(Finding::new(&RULE, file, 0..0, message).severity(severity).remedy(remedy));
}

/// Returns whether a text calls itself something that holds secrets.
fn holds_secrets(text: &str) -> bool {
    (KINDS.iter().any(|kind| holds_word(text, kind)) && says(text))
        || text.contains("\"sops\"")
        || text.lines().any(|line| line.starts_with("sops:"))
        || text.contains("client-key-data")
        || text.lines().any(|line| line.starts_with("secretGenerator:"))
        || (!text.contains("{{") && text.contains("\"auths\"") && text.contains("\"auth\""))
}

/// Returns whether a line or a member of a text says what kind it is, and that it is one with secrets in it.
fn says(text: &str) -> bool {
    memchr::memmem::find_iter(text.as_bytes(), b"kind").any(|at| {
        let rest = text[at + 4..].trim_start_matches(['"', '\'', ' ', '\t']);
        let Some(kind) = rest.strip_prefix(':') else { return false };
        let kind = kind.trim_start_matches(['"', '\'', ' ', '\t', '\r', '\n']);
        KINDS.iter().any(|known| {
            let rest = kind.strip_prefix(known).map(|rest| rest.strip_prefix("List").unwrap_or(rest));
            rest.is_some_and(|rest| {
                !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
            })
        })
    })
}

/// Returns whether a text is a template, which is judged by its lines; what begins as JSON has none.
fn is_template(text: &str) -> bool {
    let says = |text: &str| text.contains("{{") || text.contains("{%");
    let start = text.trim_start();
    let is_json =
        start.starts_with(['{', '[']) && !["{{", "{%", "{#"].iter().any(|mark| start.starts_with(mark));
    !is_json && text.lines().any(|line| says(line) && !line.trim_start().starts_with('#'))
}

/// Returns whether a file is a template of a chart, by the folder that it is in.
fn is_chart(path: &str) -> bool {
    path.split('/').rev().skip(1).any(|folder| folder == "templates")
}

/// Returns whether a template has its Secrets in lines that are judged: what is in braces and brackets is not.
fn is_judged(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let value = |key: &str| {
            let rest = line.trim_start_matches(['"', '\'']).strip_prefix(key)?;
            rest.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':').map(str::trim)
        };
        let is_empty = |value: &str| {
            value.is_empty() || value == "{}" || ["#", "{{", "{%"].iter().any(|mark| value.starts_with(mark))
        };
        let is_kind = line.starts_with('#') || !says(line) || value("kind").is_some();
        is_kind && ["data", "stringData"].into_iter().filter_map(value).all(is_empty)
    })
}

/// Tells a file that is too large to be read, if its structure would have been judged.
pub(in crate::check) fn too_large(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let has_rule = || {
        let policy = context.policies.of(file.path());
        policy.is_some_and(|policy| match &policy.config {
            Ok(config) => !matches!(config.rule_for(policy.relative(file.path())), Ok(None)),
            Err(_) => true,
        })
    };
    if file.is_structured() || has_rule() {
        let message =
            "the file is too large to be checked as a whole; only keys, tokens and addresses were looked for";
        let remedy = "split the file, or say in .seal-check.yaml why it must be so";
        found.add(Finding::new(&RULE, file, 0..0, message).remedy(remedy));
    }
}

/// Kinds that hold secrets.
const KINDS: &[&str] = &["SealedSecret", "Secret", "SopsSecret"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::{Repository, found};

    #[test]
    fn documents_with_secrets_that_cannot_be_read_are_told() {
        for text in [
            "kind: Secret\nstringData:\n\tp: hunter2\n",
            "kind : \"Secret\"\nstringData: [\n",
            "a: b\n---\n'kind': SealedSecret\nspec: {\n",
            "{\"kind\": \"Secret\", \"data\": {\"a\": ",
            "{\"kind\":\n\"Secret\", \"data\": {\"a\": \"{{ .x }}\"",
            "kind: SecretList\nitems: [\n",
            "kind: Secret\nstringData: {a: x, b: [ \n# {{ x\n",
            "kind: Secret\nstringData: {a: x, b: [ \nc: {{ x }}\n",
            "kind: List\nitems:\n- {kind: Secret, stringData: {a: x}}\n- ]\n# {{ x }}\n",
            "a: [\nsops:\n  mac: x\n",
            "users: [\nclient-key-data: x\n",
            "secretGenerator:\n- literals: [\n",
            "{\"auths\": {\"r\": {\"auth\": \"x\"",
        ] {
            assert_eq!(found("META001", "a.yaml", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn other_files_that_cannot_be_read_are_left_alone() {
        for text in [
            "kind: ConfigMap\ndata:\n\tsecret: x\n",
            "kind: Deployment\nsecretName: [\n",
            "a: b\n---\nkind: [\n---\nkind: Secret\n",
            "{{ if .x }}\nkind: Secret\ndata:\n  a: {{ .b }}\n{{ c: [\n",
            "roleRef:\n\tkind: Role\nresources: [Secret\n",
            "kind: SecretStore\nspec: [\n",
            "kind: ExternalSecret\nspec: [\n",
        ] {
            assert_eq!(found("META001", "a.yaml", text), [""; 0], "{text}");
        }
        for text in [
            "{% if x %}\nkind: Secret\nstringData:\n  a: {{ b }}\n{% endif %}\n",
            "kind: Secret\nstringData:\n{% for a in b %}\n  {{ a }}: {{ b[a] }}\n{% endfor %}\n",
        ] {
            assert_eq!(found("META001", "a.yaml", text), [""; 0], "{text}");
            assert_eq!(found("K8S001", "a.yaml", text), [""; 0], "{text}");
            let text = text.replace("{% end", "  p: hunter2\n{% end");
            assert_eq!(found("K8S001", "a.yaml", &text).len(), 1, "{text}");
        }
        assert_eq!(found("META001", "a.md", "kind: Secret\nstringData: [\n"), [""; 0]);
    }

    #[test]
    fn what_should_be_a_text_and_is_none_is_told() {
        let secret = [&b"kind: Secret\nstringData: {a: hunter2}\n"[..], &[0; 4096]].concat();
        let other = [&b"a: b\n"[..], &[0; 4096]].concat();
        let severities = |path: &str, bytes: &[u8]| -> Vec<Severity> {
            let found = Repository::default().with(path, bytes).check();
            found.iter().filter(|finding| finding.rule == &RULE).map(|finding| finding.severity).collect()
        };
        for path in ["a.yaml", "a.json", ".env", "x/.env.production", "a.tfvars"] {
            assert_eq!(severities(path, &secret), [Severity::Error], "{path}");
            assert_eq!(severities(path, &other), [Severity::Warning], "{path}");
        }
        for path in ["a.png", "a", "a.bin", "a.tar"] {
            assert!(severities(path, &secret).is_empty(), "{path}");
        }
        let encrypted = [&b"\0GITCRYPT\0"[..], &[0; 64], b"secret"].concat();
        assert!(severities("a.yaml", &encrypted).is_empty());
    }

    #[test]
    fn a_zero_hides_nothing() {
        let secret = "kind: Secret\nmetadata: {name: a}\nstringData: {a: hunter2}\n";
        for text in [
            format!("{secret}# \0\n"),
            format!("# \0\n{secret}"),
            format!("\0\n{secret}"),
            format!("a: b\n\0\n---\n{secret}"),
        ] {
            let found = Repository::default().with("a.yaml", &text).check();
            assert!(found.iter().any(|finding| finding.blocks()), "{text:?}");
        }
        let address = format!("postgres://app:{}@db.example.net/x", concat!("vXq7", "Rk2pL9"));
        let binary = [&[0, 1, 2, 0xff].repeat(100)[..], address.as_bytes(), &[0; 100]].concat();
        let repository = Repository::default().with("a.bin", &binary);
        assert_eq!(repository.found(), ["TOK002 a.bin:1"]);
        // What was no text before, either, is not taken for what it was.
        let repository = repository.with_old("a.bin", [&[0, 1, 2, 0xff].repeat(100)[..], b"://"].concat());
        let found = repository.check();
        assert!(found.len() == 1 && found[0].blocks(), "{found:?}");
    }

    #[test]
    fn many_words_take_linear_time() {
        let text = "kind".repeat(200_000) + &" ".repeat(100_000) + "Secret [";
        assert_eq!(found("META001", "a.yaml", &text), [""; 0]);
    }
}
