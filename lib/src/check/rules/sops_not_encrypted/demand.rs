//! How far a creation rule says that a file must be encrypted, beyond how.

use crate::format::Format;
use crate::sops::Selector;
use crate::sops::config::CreationRule;

/// What a creation rule demands of a file that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// The file is encrypted, whatever is in it.
    File,
    /// Nothing: the rule matches everything.
    Nothing,
    /// The secrets in it are.
    Secrets,
}

impl Demand {
    /// Returns what a rule demands of a file.
    pub(super) fn of(rule: &CreationRule, path: &str) -> Self {
        let pattern = rule.path_regex.as_deref().unwrap_or_default();
        let words = words(pattern);
        if speaks_of_secrets(&words) {
            return Self::File;
        }
        if !names_folder(pattern) && words.iter().all(|word| EXTENSIONS.contains(&word.as_str())) {
            return Self::Nothing;
        }
        // A pattern that spells the name of the file out is about this file.
        let bare: String = pattern.chars().filter(|character| !"^$\\".contains(*character)).collect();
        let name = path.rsplit('/').next().unwrap_or(path);
        if bare.ends_with(name) { Self::File } else { Self::Secrets }
    }

    /// Returns whether only values that are named as secrets are meant, in a file that holds no objects.
    ///
    /// A rule for a folder is for what is in it to be encrypted. Variables are for one purpose, and so are files that
    /// a rule names; settings of charts and of programs lie beside them, and a selector made for Secrets says nothing
    /// of these.
    pub(super) fn is_by_name(self, rule: &CreationRule, path: &str, format: Format) -> bool {
        let name = name_of(path);
        match self {
            Self::Nothing => true,
            Self::Secrets => !matches!(format, Format::Dotenv | Format::Ini),
            Self::File if has_mark(name) => false,
            Self::File => is_settings(name) || is_for_secrets(rule),
        }
    }
}

/// Returns whether a rule selects nothing but the values of Secrets of Kubernetes.
pub(super) fn is_for_secrets(rule: &CreationRule) -> bool {
    let Some(Selector::EncryptedRegex(pattern)) = &rule.selector else { return false };
    let words = words(pattern.as_str());
    !words.is_empty() && words.iter().all(|word| matches!(word.as_str(), "data" | "stringdata"))
}

/// Returns whether a file at this path is none that anybody encrypts with sops: program text, prose, pictures, and what
/// tools read in clear. A name that says that the file is encrypted is taken at its word.
pub(super) fn is_no_document(path: &str) -> bool {
    let lower = name_of(path).to_ascii_lowercase();
    if is_example(&lower) {
        return true;
    }
    if has_mark(&lower) {
        return false;
    }
    let (stem, end) = lower.rsplit_once('.').unwrap_or((&lower, ""));
    let is_prose = matches!(stem, "readme" | "license" | "licence" | "notes") && PROSE.contains(&end);
    NAMES.contains(&lower.as_str())
        || is_prose
        || stem.ends_with("kustomizeconfig")
        || path.split('/').any(|folder| folder == ".github")
        || PROSE_AND_PROGRAMS.contains(&end)
}

/// Returns whether a name is that of the configuration of a tool: it begins with a dot, and is no list of variables.
pub(super) fn is_configuration(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let end = lower.rsplit_once('.').map_or("", |(_, end)| end);
    let is_dotted = lower.starts_with('.') && !lower.contains("env") && !lower.contains("secret");
    is_dotted && !has_mark(&lower) && matches!(end, "yaml" | "yml" | "json")
}

/// Returns whether a text is a program or a certificate, which nobody encrypts.
pub(super) fn is_public(bytes: &[u8]) -> bool {
    let is_certificate = bytes.trim_ascii_start().starts_with(b"-----BEGIN CERTIFICATE-----")
        && memchr::memmem::find(bytes, b"PRIVATE KEY").is_none();
    let is_image = IMAGES.iter().any(|start| bytes.starts_with(start));
    bytes.starts_with(b"#!") || is_certificate || is_image
}

/// Returns whether a name says that the file is encrypted: `db.enc.yaml`, `.env.sops`.
pub(super) fn has_mark(name: &str) -> bool {
    let mut parts = name.split('.').skip_while(|part| part.is_empty()).skip(1);
    parts.any(|part| MARKS.iter().any(|mark| part.eq_ignore_ascii_case(mark)))
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns whether a name in lower case is that of an example: `db.yaml.example`, `db.sample.yaml`.
fn is_example(name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let is_format =
        |end: &str| matches!(end, "yaml" | "yml" | "json" | "env" | "ini" | "txt" | "toml" | "conf");
    match parts.as_slice() {
        [_, .., last] if EXAMPLES.contains(last) => true,
        [_, .., mark, last] => is_format(last) && parts.len() > 2 && EXAMPLES.contains(mark),
        _ => false,
    }
}

/// Returns whether a name is that of settings of a chart.
fn is_settings(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words = words(&lower);
    words.first().is_some_and(|word| word == "values")
        || words.iter().rev().nth(1).is_some_and(|word| word == "values")
}

/// Returns whether bytes are encrypted in another way.
pub(super) fn is_ciphertext(bytes: &[u8]) -> bool {
    CIPHERTEXTS.iter().any(|start| bytes.starts_with(start))
}

/// Returns the words of a pattern or a name: letters between anything else, in lower case.
fn words(text: &str) -> Vec<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // A class such as \d or \w is no letter.
            '\\' => match characters.next() {
                Some(escaped) if escaped.is_ascii_alphanumeric() => plain.push(' '),
                Some(escaped) => plain.push(escaped),
                None => {}
            },
            // So that "ya?ml" is a word.
            '?' => {}
            _ => plain.push(character),
        }
    }
    let words = plain.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Returns whether a pattern names a folder: letters that are no class before a `/`.
fn names_folder(pattern: &str) -> bool {
    let mut plain = String::with_capacity(pattern.len());
    let mut in_class = false;
    for character in pattern.chars() {
        match character {
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            _ => plain.push(character),
        }
    }
    let folders = plain.rsplit_once('/').map_or("", |(folders, _)| folders);
    words(folders).iter().any(|word| word.len() > 1)
}

/// Returns whether the words of a pattern speak of secrets, other than those that are sealed or are elsewhere.
fn speaks_of_secrets(words: &[String]) -> bool {
    let is_other = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        before.is_some_and(|word| matches!(word.as_str(), "sealed" | "external"))
    };
    words.iter().enumerate().any(|(at, word)| is_secret_word(word) && !is_other(at))
}

/// Returns whether a word of a pattern speaks of secrets.
fn is_secret_word(word: &str) -> bool {
    let is_other = word.starts_with("sealed") || word.starts_with("external");
    let ends = ["secret", "secrets", "credential", "credentials", "password", "passwords"];
    MARKS.contains(&word)
        || matches!(word, "crypt" | "crypted" | "creds" | "private" | "vault" | "vaults")
        || !is_other && ends.iter().any(|end| word.ends_with(end))
}

/// Words of patterns that name a kind of file, not a file.
const EXTENSIONS: &[&str] =
    &["yaml", "yml", "ml", "yaml", "json", "env", "ini", "toml", "txt", "i", "a", "z", "za", "s"];

/// Files that tools read in clear.
const NAMES: &[&str] = &[
    "kustomization.yaml",
    "kustomization.yml",
    "kustomization",
    "chart.yaml",
    "chart.lock",
    "makefile",
    "dockerfile",
    "containerfile",
    "justfile",
    "taskfile.yaml",
    "taskfile.yml",
    "package.json",
    "renovate.json",
    "codeowners",
    "helmfile.yaml",
    "tiltfile",
    "vagrantfile",
    "jenkinsfile",
    "earthfile",
    "procfile",
    "gemfile",
    "rakefile",
    ".gitignore",
    ".gitattributes",
    ".gitkeep",
    ".gitmodules",
    ".helmignore",
    ".dockerignore",
    ".editorconfig",
];

/// How names say that a file is encrypted.
const MARKS: &[&str] = &["enc", "encrypted", "sops"];

/// How names say that a file is an example, or is made into another one.
const EXAMPLES: &[&str] = &["example", "sample", "tmpl", "template", "dist"];

/// How pictures begin: PNG, JPEG, GIF.
const IMAGES: &[&[u8]] = &[b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8"];

/// How names of prose end.
const PROSE: &[&str] = &["", "md", "txt", "rst", "adoc", "markdown", "html"];

/// How names end of what nobody encrypts with sops.
const PROSE_AND_PROGRAMS: &[&str] = &[
    "md",
    "adoc",
    "rst",
    "markdown",
    "html",
    "css",
    "go",
    "rs",
    "py",
    "js",
    "ts",
    "rb",
    "java",
    "c",
    "h",
    "cpp",
    "lua",
    "sh",
    "bash",
    "zsh",
    "fish",
    "ps1",
    "nix",
    "tf",
    "hcl",
    "mod",
    "sum",
    "lock",
    "toml",
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "pdf",
    "ico",
    "webp",
    "bmp",
    "crt",
    "cer",
    "pub",
    "tpl",
    "gotmpl",
    "j2",
    "jsonnet",
    "libsonnet",
    "cue",
    "rego",
    "gpg",
    "age",
    "asc",
    "sha256",
    "sig",
];

/// How what is encrypted in another way begins: with age, PGP, git-crypt, Ansible.
const CIPHERTEXTS: &[&[u8]] = &[
    b"age-encryption.org/v1",
    b"-----BEGIN AGE ENCRYPTED FILE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"\0GITCRYPT\0",
    b"$ANSIBLE_VAULT;",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sops::config::Config;

    #[test]
    fn a_rule_demands_as_far_as_it_speaks_of_secrets() {
        for (pattern, demand) in [
            ("", Demand::Nothing),
            (".*", Demand::Nothing),
            (r"\.ya?ml$", Demand::Nothing),
            (r".*.yaml", Demand::Nothing),
            (r"\.(yaml|json)$", Demand::Nothing),
            (r"[^/]*\.yaml", Demand::Nothing),
            (r"clusters/.*\.yaml", Demand::Secrets),
            (r"^prod/", Demand::Secrets),
            (r"^apps/db\.yaml$", Demand::File),
            (r"\.enc\.yaml$", Demand::File),
            (r"\.sops\.ya?ml$", Demand::File),
            (r"secrets/[a-z]+\.yaml", Demand::File),
            (r".*-?secrets?\.yaml", Demand::File),
            (r"\.encrypted\.", Demand::File),
            (r"encoders/", Demand::Secrets),
            (r"apps/vaultwarden/.*", Demand::Secrets),
            (r"apps/vault/.*", Demand::File),
            (r"sealed-secrets/.*", Demand::Secrets),
            (r"externalsecrets/.*", Demand::Secrets),
            (r"external-secrets/.*\.enc\.yaml", Demand::File),
            (r"^env/.*", Demand::Secrets),
            (r".*/[a-z]+/.*\.ya?ml$", Demand::Nothing),
        ] {
            let config = format!("creation_rules: [{{path_regex: '{pattern}'}}]\n");
            let config = Config::parse(config.as_bytes()).expect("a configuration");
            let rule = config.creation_rules().next().expect("a rule");
            assert_eq!(Demand::of(rule, "apps/db.yaml"), demand, "{pattern}");
        }
    }

    #[test]
    fn names_are_taken_at_their_word() {
        for path in [
            "licenses.enc.yaml",
            ".gitlab-runner.enc.yaml",
            "a.sops.toml",
            "a.sops.sh",
            "readme-bot.sops.env",
            "secrets/license.yaml",
            "secrets/.github-app.yaml",
            "secrets/www.example.com.yaml",
            ".env",
            "secrets/example",
        ] {
            assert!(!is_no_document(path), "{path}");
        }
        for path in [
            "LICENSE",
            "README.md",
            "a/readme",
            ".gitignore",
            "a/sops.sh",
            "a.go",
            "db.enc.yaml.example",
            ".env.sample",
            "secrets/db.example.yaml",
            "secrets/kustomizeconfig.yaml",
            "secrets/Tiltfile",
            "secrets/logo.webp",
            ".github/workflows/secrets.yaml",
        ] {
            assert!(is_no_document(path), "{path}");
        }
        assert!(
            has_mark(".env.sops") && has_mark("a.enc") && !has_mark(".sops.yaml") && !has_mark("sops.sh")
        );
    }
}
