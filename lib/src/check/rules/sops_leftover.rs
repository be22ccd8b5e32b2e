//! SOPS010: a decrypted copy lies beside an encrypted file.

use std::collections::HashSet;
use std::ops::Range;

use crate::check::sops_file::{PREFIX, SopsFile, SopsValue, bytes_of, keys_of, secret_data};
use crate::check::{
    Check, Context, File, Finding, Findings, Mode, Needles, Rule, Severity, Snapshot, decode, is_placeholder,
    is_secret_name,
};
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::sops::{LeafState, Selector, leaves};
use crate::tree::{Tree, Value};

pub(super) static RULE: Rule = Rule {
    id: "SOPS010",
    severity: Severity::Error,
    title: "a decrypted copy lies beside an encrypted file",
    explanation: "Tools that decrypt files for a moment put the result beside the encrypted one: helm-secrets writes \
        secrets.yaml.dec, editors write .decrypted~secrets.yaml, people write secrets.dec.yaml or secrets.plain.yaml. \
        \"git add .\" takes them along, and everything that was encrypted is in the repository in clear.\n\n\
        A file that has another name is found if it has all the keys whose values its encrypted sibling encrypts, \
        with values in clear: secret.yaml beside secret.enc.yaml. It is a warning if none of these is named as secrets \
        are, as in values.yaml whose values values.enc.yaml overrides. Accepted are objects of another kind, copies that are empty or encrypted \
        themselves, and files whose values are placeholders.\n\n\
        To mend it, run \"git rm --cached PATH\" and name the file in .gitignore. If it was ever pushed, change the \
        secrets where they are used.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let (folder, name) =
        file.path().rsplit_once('/').map_or(("", file.path()), |(folder, name)| (folder, name));
    let path = |name: &String| if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
    let is_other = |sibling: &String| sibling != file.path() && context.after.contains(sibling);
    let copied: Vec<_> = originals(name).iter().map(path).filter(is_other).collect();
    let named: Vec<_> = if has_neighbour(file.path(), context.after) {
        encrypted_names(name).iter().map(path).filter(is_other).collect()
    } else {
        Vec::new()
    };
    if copied.is_empty() && named.is_empty() || file.text().trim().is_empty() || file.sops().is_some() {
        return;
    }
    for (siblings, is_copy) in [(copied, true), (named, false)] {
        for sibling in siblings {
            // What cannot be read is told where it is looked at itself.
            let Ok(Some(bytes)) = context.after.read(&sibling) else { continue };
            let content = decode(&bytes);
            let other = File::new(&sibling, &bytes, &content, Mode::File);
            let Some(sops) = other.sops() else { continue };
            let Some((span, severity)) = leak_of(file, context, sops, is_copy) else { continue };
            let message = format!("this is a copy in clear of what is encrypted in {sibling}");
            let remedy = format!("git rm --cached {0}, and name it in .gitignore", file.path());
            found.add(Finding::new(&RULE, file, span, message).severity(severity).remedy(remedy));
            return;
        }
    }
}

/// Returns whether another file's path begins as this one, up to its last dot: one search, before one for each name.
fn has_neighbour(path: &str, files: &dyn Snapshot) -> bool {
    let Some((stem, _)) = path.rsplit_once('.') else { return false };
    let start = format!("{stem}.");
    let first = files.paths().partition_point(|known| *known < start);
    let mut run = files.paths()[first..].iter().take_while(|known| known.starts_with(&start));
    run.any(|known| known != path)
}

/// Returns of which files a file of this name would be a decrypted copy.
fn originals(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    if ![".dec", ".plain"].iter().any(|mark| name.contains(mark)) {
        return found;
    }
    if let Some(rest) = name.strip_prefix(".decrypted~") {
        found.push(rest.to_owned());
    }
    for mark in MARKS {
        if let Some(rest) = name.strip_suffix(&format!(".{mark}")) {
            found.push(rest.to_owned());
        }
        let middle = format!(".{mark}.");
        if let Some((stem, end)) = name.rsplit_once(&middle).filter(|(stem, _)| !stem.is_empty()) {
            found.push(format!("{stem}.{end}"));
            found.extend(ENCRYPTED.iter().map(|word| format!("{stem}.{word}.{end}")));
        }
    }
    found
}

/// Returns what the encrypted file beside a plain one may be called.
fn encrypted_names(name: &str) -> Vec<String> {
    let Some((stem, end)) = name.rsplit_once('.').filter(|(_, end)| PLAIN.contains(end)) else {
        return Vec::new();
    };
    let mut found: Vec<_> = ENCRYPTED.iter().map(|word| format!("{stem}.{word}.{end}")).collect();
    found.extend(ENCRYPTED.iter().map(|word| format!("{name}.{word}")));
    found
}

/// Returns where a file leaks what another encrypts, if it does, and how bad that is.
fn leak_of(
    file: &File<'_>,
    context: &Context<'_>,
    encrypted: &SopsFile,
    is_copy: bool,
) -> Option<(Range<usize>, Severity)> {
    let tree = encrypted.format.read(SecretBytes::from(file.text().as_bytes())).ok();
    let Some(tree) = tree.filter(|_| encrypted.format != Format::Binary) else {
        return is_copy.then_some((0..0, Severity::Error));
    };
    let clear = clear_values(&tree, context, encrypted.format);
    let wanted: Vec<&SopsValue> =
        encrypted.values().iter().filter(|value| value.state == LeafState::Encrypted).collect();
    let wanted: HashSet<u64> = wanted.into_iter().map(|value| value.place).collect();
    let mut leaked = clear.iter().filter(|value| wanted.contains(&value.place)).peekable();
    let first = leaked.peek().map(|value| value.span.clone());
    if is_copy {
        // With a name like that, anything in clear is one value too much.
        let first = first.or_else(|| clear.first().map(|value| value.span.clone()));
        return first.map(|span| (span, Severity::Error));
    }
    let is_other = |(left, right): (&[u8], &[u8])| left != right && !right.starts_with(PREFIX);
    if kind(&tree).zip(encrypted.tree().and_then(kind)).is_some_and(is_other) {
        return None;
    }
    let leaked: Vec<_> = leaked.collect();
    let named =
        leaked.iter().find(|value| is_secret_name(value.key_in(&tree))).map(|value| value.span.clone());
    let places: HashSet<u64> = leaked.iter().map(|value| value.place).collect();
    let is_whole = !wanted.is_empty() && places.len() == wanted.len();
    let secrets = secret_data(&tree);
    let is_in_secret = |value: &&SopsValue| {
        let next = secrets.partition_point(|data| tree.node(*data).end as usize <= value.id.index());
        secrets.get(next).is_some_and(|data| *data < value.id)
    };
    let in_secret = clear.iter().find(is_in_secret).map(|value| value.span.clone());
    let certain = in_secret.filter(|_| !places.is_empty()).or_else(|| named.filter(|_| is_whole));
    let doubtful = first.filter(|_| is_whole).map(|span| (span, Severity::Warning));
    certain.map(|span| (span, Severity::Error)).or(doubtful)
}

/// Returns the kind of the first object of a document.
fn kind(tree: &Tree) -> Option<&[u8]> {
    let root = *tree.documents().first()?;
    let entry = tree.items(root).find(|item| tree.key(*item) == Some(b"kind"))?;
    matches!(tree.node(entry).value, Value::Str(_)).then(|| bytes_of(tree, entry))
}

/// Returns the values of a document that are neither empty nor placeholders.
fn clear_values(tree: &Tree, context: &Context<'_>, format: Format) -> Vec<SopsValue> {
    let values = leaves(format, tree, &Selector::default()).into_iter();
    let values =
        values.filter(|leaf| leaf.state == LeafState::Clear && tree.node(leaf.id).value != Value::Null);
    let is_real = |leaf: &crate::sops::LeafPlace| match tree.node(leaf.id).value {
        Value::Str(text) => {
            let bytes = tree.bytes(text);
            let text = str::from_utf8(bytes).unwrap_or_default();
            !bytes.starts_with(PREFIX) && !is_placeholder(text, context.config)
        }
        Value::Bool(_) => false,
        _ => true,
    };
    keys_of(tree, values.filter(is_real))
}

/// How names of decrypted copies are marked.
const MARKS: &[&str] = &["dec", "decrypted", "plain", "plaintext"];

/// How names of encrypted files are marked.
const ENCRYPTED: &[&str] = &["enc", "sops", "encrypted"];

/// How names of files end that may lie in clear beside an encrypted one.
const PLAIN: &[&str] = &["yaml", "yml", "json", "env", "ini"];

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    const SECRET: &str = "kind: Secret\nmetadata: {name: n}\nstringData:\n  password: horse\n";

    fn found(path: &str, text: &str, sibling: &str) -> Vec<String> {
        let yaml = encrypted(Format::Yaml, SECRET, "encrypted_regex=^stringData$");
        let found = Repository::default().with(path, text).with(sibling, yaml).found();
        found.into_iter().filter(|line| line.starts_with("SOPS010")).collect()
    }

    #[test]
    fn copies_are_found_by_their_names() {
        for (path, sibling) in [
            ("a/secrets.yaml.dec", "a/secrets.yaml"),
            ("secrets.dec.yaml", "secrets.yaml"),
            ("a/secrets.dec.yaml", "a/secrets.enc.yaml"),
            (".decrypted~secrets.yaml", "secrets.yaml"),
            ("secrets.plain.yaml", "secrets.sops.yaml"),
            ("secrets.decrypted.yaml", "secrets.yaml"),
            ("secrets.yaml", "secrets.enc.yaml"),
            ("secrets.yaml", "secrets.sops.yaml"),
            ("secrets.yaml", "secrets.yaml.enc"),
        ] {
            assert_eq!(found(path, SECRET, sibling), [format!("SOPS010 {path}:4")], "{path}");
        }
    }

    #[test]
    fn a_copy_of_other_kinds_is_found_by_its_keys() {
        let sealed = encrypted(Format::Dotenv, "A=b\nC=d\n", "");
        let repository = Repository::default().with("x.env", "A=b\nC=d\nE=f\n").with("x.enc.env", &sealed);
        assert!(repository.found().iter().any(|line| line == "SOPS010 x.env:1"));
        let repository = Repository::default().with("x.env", "A=b\nE=f\n").with("x.enc.env", &sealed);
        assert!(!repository.found().iter().any(|line| line.starts_with("SOPS010")));
    }

    #[test]
    fn what_an_encrypted_file_overrides_is_no_error() {
        let severities = |path: &str, plain: &str, source: &str| {
            let sealed = encrypted(Format::Yaml, source, "");
            let sibling = path.replace(".yaml", ".sops.yaml");
            let found = Repository::default().with(path, plain).with(&sibling, sealed).check();
            let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS010");
            found.map(|finding| finding.severity.name()).collect::<Vec<_>>()
        };
        let values = "db: {host: h}\nreplicas: 2\n";
        assert_eq!(severities("values.yaml", values, "db: {host: other}\n"), ["warning"]);
        assert_eq!(severities("values.yaml", "enabled: true\n", "enabled: true\n"), [""; 0]);
        let named = "db: {password: horse}\nreplicas: 2\n";
        assert_eq!(severities("values.yaml", named, "db: {password: other}\n"), ["error"]);
        let sealed = encrypted(Format::Yaml, "kind: Secret\ndata: {a: b}\n", "encrypted_regex=^data$");
        let repository = Repository::default().with("a.yaml", "kind: ConfigMap\ndata: {a: b}\n");
        let found = repository.with("a.sops.yaml", sealed).found();
        assert!(!found.iter().any(|line| line.starts_with("SOPS010")), "{found:?}");
    }

    #[test]
    fn other_files_beside_encrypted_ones_are_clean() {
        let yaml = encrypted(Format::Yaml, SECRET, "encrypted_regex=^stringData$");
        for (path, text, sibling) in [
            ("secrets.dec.yaml", "", "secrets.yaml"),
            ("secrets.dec.yaml", yaml.as_str(), "secrets.yaml"),
            ("secrets.dec.yaml", SECRET, "other.yaml"),
            ("a/secrets.dec.yaml", SECRET, "secrets.yaml"),
            ("secrets.yaml", "kind: ConfigMap\ndata: {a: b}\n", "secrets.enc.yaml"),
            ("secrets.yaml", "kind: Secret\nstringData: {password: '${LATER}'}\n", "secrets.enc.yaml"),
            ("values.yaml", "stringData: {password: ''}\nimage: x\n", "values.enc.yaml"),
            ("secrets.example.yaml", SECRET, "secrets.yaml"),
        ] {
            assert_eq!(found(path, text, sibling), [""; 0], "{path} {text}");
        }
        let plain = Repository::default().with("a.dec.yaml", SECRET).with("a.yaml", SECRET).found();
        assert!(!plain.iter().any(|line| line.starts_with("SOPS010")));
    }
}
