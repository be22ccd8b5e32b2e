//! Values that are no secrets, whatever they are called: empty ones, and those that stand for another that comes later.
//!
//! What is often used as it is (`password`, `admin`, `changeme123`) is a value. A reference with a default
//! (`${PASSWORD:-hunter2}`) is one if its default is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::config::Config;
use super::names::is_secret_name;

/// Returns whether a value is empty, or stands for another that is put in its place later: `${VAR}`, `<path:…>`,
/// `{{ … }}`, `REPLACE_ME`, `changeme`, `<your password>`, `ENC[…]`, or what the repository's configuration lists.
#[must_use]
pub fn is_placeholder(value: &str, config: &Config) -> bool {
    let value = value.trim();
    if config.is_placeholder(value) {
        return true;
    }
    let value = unquoted(value).trim();
    value.is_empty()
        || config.is_placeholder(value)
        || is_kept_elsewhere(value)
        || is_made_later(value)
        || is_word_for_another(value)
}

/// Returns whether a value is base64 of a placeholder.
pub(super) fn is_encoded_placeholder(value: &str, config: &Config) -> bool {
    if value.len() > MAX_ENCODED {
        return false;
    }
    let value: Zeroizing<Vec<u8>> =
        Zeroizing::new(value.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let Ok(decoded) = STANDARD.decode(value.as_slice()).map(Zeroizing::new) else { return false };
    str::from_utf8(&decoded).is_ok_and(|text| is_placeholder(text, config))
}

/// Returns whether a part of a value is put in later: a variable, an expression of a template. One that has a secret
/// as its default is none.
pub(super) fn has_reference(value: &str) -> bool {
    let mut from = 0;
    while let Some(at) = value[from..].find(['$', '{', '<', '%', '#']).map(|at| from + at) {
        match reference(&value[at..]) {
            Reference::Of { length, default: Some(default) } if !is_word_for_another(default) => {
                from = at + length
            }
            Reference::Of { .. } => return true,
            Reference::None => from = at + 1,
            Reference::Open => return false,
        }
    }
    false
}

/// Returns whether a value is a reference to a store of secrets, or is encrypted.
fn is_kept_elsewhere(value: &str) -> bool {
    let starts = |start: &str| value.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    let is_vault = value.strip_prefix("vault:").is_some_and(|path| path.contains(['/', '#']));
    let is_encrypted = value.ends_with(']') && ENCRYPTED.iter().any(|start| value.starts_with(start));
    let is_resource = value.starts_with("projects/") && value.contains("/secrets/");
    is_vault || is_encrypted || is_resource || STORES.iter().any(|start| starts(start))
}

/// Returns whether nothing is left of a value but punctuation once its references are taken out.
fn is_made_later(value: &str) -> bool {
    let inner = |start, end| value.strip_prefix(start).and_then(|rest: &str| rest.strip_suffix(end));
    let is_screaming = |name: &str| !name.is_empty() && name.bytes().all(is_screaming);
    if MARKS.iter().any(|(start, end)| inner(*start, *end).is_some_and(is_expression))
        || [("%", "%"), ("{", "}")].iter().any(|(start, end)| inner(*start, *end).is_some_and(is_screaming))
        || inner("@", "@").is_some_and(|name| is_screaming(name) || is_path_of_names(name))
        || inner("((", "))").is_some_and(|inner| !inner.contains(['(', ')']))
    {
        return true;
    }
    let is_marked = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    if is_marked.is_some_and(|inner| !inner.contains(['<', '>', '\n'])) {
        return true;
    }
    let mut parts = vec![(value, 0)];
    let mut found = false;
    while let Some((part, depth)) = parts.pop() {
        let mut rest = part;
        let mut left = String::new();
        while let Some(at) = rest.find(['$', '{', '<', '%', '#']) {
            left.push_str(&rest[..at]);
            rest = &rest[at..];
            match reference(rest) {
                Reference::Of { length, default } => {
                    found = true;
                    rest = &rest[length..];
                    match default {
                        Some(_) if depth >= MAX_DEPTH => return false,
                        Some(default) if is_word_for_another(default) => {}
                        Some(default) => parts.push((default, depth + 1)),
                        None => {}
                    }
                }
                Reference::None => {
                    left.push_str(&rest[..1]);
                    rest = &rest[1..];
                }
                Reference::Open => return false,
            }
        }
        left.push_str(rest);
        let left = Zeroizing::new(left);
        let is_scheme =
            ["basic", "bearer", "token"].iter().any(|word| left.trim().eq_ignore_ascii_case(word));
        if !is_scheme && left.contains(char::is_alphanumeric) {
            return false;
        }
    }
    found
}

/// Returns whether a text may be what tools put a value in place of: a name, or a call of a function.
fn is_expression(text: &str) -> bool {
    let text = text.trim();
    let is_start = |letter: char| letter.is_ascii_alphabetic() || "_.$".contains(letter);
    text.starts_with(is_start)
        && text.len() <= MAX_EXPRESSION
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:/#()'\",|$ ".contains(&byte))
}

/// Returns whether a text is several names with dots between them.
fn is_path_of_names(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    text.contains('.') && text.split('.').all(is_name)
}

/// What a text starts with.
enum Reference<'a> {
    /// No reference.
    None,
    /// A reference that does not end.
    Open,
    /// A reference of so many bytes.
    Of {
        /// How long it is.
        length: usize,
        /// What stands for it where there is nothing.
        default: Option<&'a str>,
    },
}

/// Returns what reference a text starts with.
fn reference(text: &str) -> Reference<'_> {
    for (start, end) in [("{{", "}}"), ("{%", "%}"), ("<path:", ">"), ("<%", "%>"), ("%{", "}"), ("#{", "}")]
    {
        if text.starts_with(start) {
            let length = text.find(end).map(|at| at + end.len());
            return length.map_or(Reference::Open, |length| Reference::Of { length, default: None });
        }
    }
    let Some(rest) = text.strip_prefix('$') else { return Reference::None };
    // Grafana reads `$__file{…}` and `$__env{…}`; GitHub makes what is in `${{ … }}`.
    let head = ["__file{", "__env{", "__vault{", "{", "("].into_iter().find(|head| rest.starts_with(head));
    let Some(head) = head else { return variable(rest) };
    let (open, close) = if head == "(" { (b'(', b')') } else { (b'{', b'}') };
    let mut depth = 1_usize;
    let inner = &rest[head.len()..];
    let end = inner.bytes().position(|byte| {
        depth = if byte == open { depth + 1 } else { depth - usize::from(byte == close) };
        depth == 0
    });
    let Some(end) = end else { return Reference::Open };
    let length = 1 + head.len() + end + 1;
    let inner = &inner[..end];
    if head == "{" && is_address(inner) {
        return Reference::Of { length, default: None };
    }
    let name =
        inner.find(|letter: char| !letter.is_alphanumeric() && !"_.".contains(letter)).unwrap_or(inner.len());
    let default = (head == "{").then(|| inner[name..].strip_prefix([':', '-', '=']));
    let default = default.flatten().map(|default| default.strip_prefix(['-', '=', '+']).unwrap_or(default));
    Reference::Of { length, default: default.filter(|default| !default.starts_with('?')) }
}

/// Returns whether what is in `${…}` is where a store has the value: `vault:kv/app#password`, `ssm:/app/password`.
fn is_address(inner: &str) -> bool {
    inner.split_once(':').is_some_and(|(scheme, path)| {
        let is_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !scheme.is_empty()
            && scheme.bytes().all(is_scheme)
            && !is_secret_name(scheme)
            && !path.starts_with(['-', '=', '+', '?'])
            && path.contains(['/', '#'])
    })
}

/// Returns the reference of `$NAME`. A password may start with a dollar, too: what is in small letters is a
/// reference only if its name is that of a secret.
fn variable(text: &str) -> Reference<'_> {
    let length =
        text.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_').unwrap_or(text.len());
    let name = &text[..length];
    let is_constant =
        name.bytes().all(is_screaming) && !name.starts_with(|letter: char| letter.is_ascii_digit());
    if length > 0 && (is_constant || is_secret_name(name)) {
        return Reference::Of { length: length + 1, default: None };
    }
    Reference::None
}

/// Returns whether a value only says that another belongs there.
fn is_word_for_another(value: &str) -> bool {
    if value.is_empty() || value.eq_ignore_ascii_case("n/a") || value == "~" {
        return true;
    }
    if value.len() > MAX_WORDS {
        return value.bytes().all(|byte| byte == b'*');
    }
    let is_filler = |letter: char| "*.-_#?•…xX ".contains(letter);
    let crosses = value.chars().filter(|letter| matches!(letter, 'x' | 'X')).count();
    let tail = value.trim_end_matches(['x', 'X', '*', '.', '…']);
    let is_filled = value.chars().all(is_filler) && (crosses == 0 || crosses >= 3);
    let is_cut = value.len() - tail.len() >= 6 && tail.len() <= 8;
    if is_filled || is_cut || value.ends_with("EXAMPLE") || value.ends_with("EXAMPLEKEY") {
        return true;
    }
    let lower = Zeroizing::new(value.to_ascii_lowercase());
    let words: Vec<_> =
        lower.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [] => false,
        [word] => SINGLE_WORDS.contains(word),
        ["base64" | "b64", "encoded", ..] => true,
        // A number would make it somebody's password.
        words if words.iter().any(|word| word.contains(|letter: char| letter.is_ascii_digit())) => false,
        [.., last] if LAST_WORDS.contains(last) => true,
        ["change" | "edit" | "fill" | "override" | "replace" | "set", next, ..] => NEXT_WORDS.contains(next),
        ["add" | "enter" | "insert" | "put" | "use", next, ..] => {
            matches!(*next, "a" | "here" | "the" | "your") || is_secret_name(next)
        }
        ["please", "change" | "replace" | "set", ..] => true,
        ["to", "be", next, ..] => TO_BE.contains(next),
        [first, ..] => FIRST_WORDS.contains(first),
    }
}

fn is_screaming(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Between which marks tools put a value in place of a name.
const MARKS: &[(&str, &str)] = &[
    ("#{", "}"),
    ("#{", "}#"),
    ("%%", "%%"),
    ("<<", ">>"),
    ("?{", "}"),
    ("@@", "@@"),
    ("[[", "]]"),
    ("__", "__"),
];

/// How references to stores of secrets start, in whatever case.
const STORES: &[&str] = &[
    "$ansible_vault;",
    "-----begin age encrypted file-----",
    "-----begin pgp message-----",
    "@microsoft.keyvault(",
    "akv:",
    "arn:aws:secretsmanager:",
    "arn:aws:ssm:",
    "aws-sm://",
    "awssm://",
    "azurekeyvault://",
    "bao:",
    "gcp-sm://",
    "gcpsm://",
    "op://",
    "ref+",
    "secret://",
    "secretref+",
    "secretref:",
    "sm://",
    "ssm:/",
    "vault://",
];

/// How values start that are encrypted within brackets.
const ENCRYPTED: &[&str] = &["ENC[AES256_GCM,", "ENC[GPG,", "ENC[PKCS7,"];

/// Words that are placeholders alone.
const SINGLE_WORDS: &[&str] = &[
    "changeme",
    "changethis",
    "dummy",
    "editme",
    "example",
    "fillme",
    "fixme",
    "masked",
    "nil",
    "none",
    "notset",
    "null",
    "omitted",
    "overrideme",
    "placeholder",
    "redacted",
    "removed",
    "replaceme",
    "setme",
    "tba",
    "tbd",
    "todo",
    "undefined",
    "unset",
];

/// Words that start a placeholder of several.
const FIRST_WORDS: &[&str] =
    &["changeme", "dummy", "example", "fixme", "placeholder", "redacted", "replaceme", "todo", "your"];

/// Words that end a placeholder of several.
const LAST_WORDS: &[&str] = &[
    "changeme",
    "here",
    "omitted",
    "overridden",
    "overwritten",
    "placeholder",
    "redacted",
    "replaced",
    "replaceme",
];

/// Words behind `to be` that make a placeholder.
const TO_BE: &[&str] = &["added", "changed", "defined", "filled", "generated", "provided", "replaced", "set"];

/// Words behind `change`, `replace` and their like that make a placeholder.
const NEXT_WORDS: &[&str] = &["before", "by", "in", "me", "the", "this", "with", "your"];

/// Longer values are no placeholders of words.
const MAX_WORDS: usize = 100;

/// Longer values are not decoded.
const MAX_ENCODED: usize = 64 * 1024;

/// Longer texts are no names, and no calls.
const MAX_EXPRESSION: usize = 256;

/// How deep defaults of references are nested at most.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_values() {
        let values = [
            "",
            "  ",
            "\"\"",
            "''",
            "null",
            "~",
            "None",
            "${VAR}",
            "$VAR",
            "$(VAR)",
            "${VAR}:${OTHER}",
            "$password",
            "${var.db_password}",
            "${VAR:-}",
            "${VAR:=changeme}",
            "${A:-${B:-}}",
            "${VAR:?it is not set}",
            "<password>",
            "<your password>",
            "<path:kv/data/app#password>",
            "{{ .Values.password }}",
            "{{ .a }}-{{ .b }}",
            "{% raw %}",
            "<%= @password %>",
            "ref+vault://kv/app#/password",
            "vault:kv/data/app#password",
            "secretref:kv/app",
            "ENC[AES256_GCM,data:aa,iv:bb,tag:cc,type:str]",
            "REPLACE_ME",
            "CHANGE_ME",
            "CHANGEME",
            "changeme",
            "change-me",
            "TODO",
            "FIXME",
            "TODO: set it",
            "xxx",
            "XXXXXXXX",
            "***",
            "...",
            "example",
            "dummy",
            "dummy-password",
            "placeholder",
            "your-password",
            "YOUR_API_KEY",
            "insert-token-here",
            "[REDACTED]",
            "***REDACTED***",
            "REPLACE_WITH_REAL_TOKEN",
            "CHANGE_ME_IN_PRODUCTION",
            "password-goes-here",
            "n/a",
            "Bearer ${TOKEN}",
            "__DB_PASSWORD__",
            "%DB_PASSWORD%",
            "${{ secrets.TOKEN }}",
            "((db-password))",
            "{TOKEN}",
            "ghp_xxxxxxxxxxxxxxxx",
            "$__file{/run/secrets/x}",
            "op://vault/item/field",
            "AKIAIOSFODNN7EXAMPLE",
            "#{ cloudflare_token }#",
            "#{DbPassword}#",
            "#{Octo.Password}",
            "__dbPassword__",
            "@db.password@",
            "?{gpg:targets/app/password|randomstr|base64}",
            "[[ .Password ]]",
            "%{db_password}",
            "<<PASSWORD>>",
            "%%PASSWORD%%",
            "${vault:kv/x#y}",
            "${ssm:/x/y}",
            "secret://x/y",
            "DATA+OMITTED",
            "PLEASE_CHANGE_ME",
            "BASE64_ENCODED_VALUE",
            "TO_BE_FILLED",
        ];
        for value in values {
            assert!(is_placeholder(value, &Config::default()), "{value}");
        }
    }

    #[test]
    fn what_is_used_as_it_is_is_a_value() {
        let values = [
            "changeme123",
            "changeme!1",
            "password",
            "admin",
            "secret",
            "hunter2",
            "test",
            "x",
            "xx",
            "$ecret",
            "$ecr3t",
            "Pa$$w0rd",
            "pa$word",
            "${VAR:-hunter2}",
            "${VAR:=hunter2}",
            "${A:-${B:-hunter2}}",
            "prefix-${VAR}",
            "{abc",
            "${",
            "{{ open",
            "$(",
            "<a>hunter2</a>",
            "a<b>",
            "vault:hunter2",
            "ENC[AES256_GCM,",
            "change horse battery",
            "yours",
            "example1-pass2",
            "correct horse battery staple",
            "$2y$10$abcdefghijklmnop",
            "123456",
            "true",
            "@hunter2@",
            "{hunter2}",
            "#{hunter2",
            "[[]]",
            "${A:hunter2/x}",
            "${password:hunter2/x}",
            "${a:-hunter2/x}",
            "to be or not to be",
        ];
        for value in values {
            assert!(!is_placeholder(value, &Config::default()), "{value}");
        }
    }

    #[test]
    fn hostile_values_cost_no_more_than_others() {
        for text in ["${A:-", "${", "{{", "$(", "<path:", "$", "%{", "#{", "x"] {
            let value = text.repeat(100_000);
            assert!(!is_placeholder(&value, &Config::default()) && !has_reference(&value), "{text}");
        }
        let nested = format!("{}{}", "${A:-".repeat(50_000), "}".repeat(50_000));
        assert!(!is_placeholder(&nested, &Config::default()));
    }

    #[test]
    fn base64_of_a_placeholder_is_one() {
        let config = Config::default();
        for value in ["Y2hhbmdlbWU=", "JHtQQVNTV09SRH0=", "Y2hh\nbmdlbWU=\n"] {
            assert!(is_encoded_placeholder(value, &config), "{value}");
        }
        for value in ["aHVudGVyMg==", "changeme", "%%%"] {
            assert!(!is_encoded_placeholder(value, &config), "{value}");
        }
    }

    #[test]
    fn references_are_found_in_longer_values() {
        assert!(!has_reference("a${B:-hunter2}"));
        assert!(has_reference("a: ${B}\n") && has_reference("{{ .x }}y") && !has_reference("a$b {c} <d>"));
    }
}
