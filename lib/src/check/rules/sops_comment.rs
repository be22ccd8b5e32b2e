//! SOPS008: a comment in an encrypted part is in clear.

use std::collections::HashSet;

use super::sops_secret_in_clear::is_key;
use crate::check::sops_file::places_of;
use crate::check::{Check, Context, File, Findings, Needles, Rule, Severity, is_placeholder, is_secret_name};
use crate::sops::LeafState;

pub(super) static RULE: Rule = Rule {
    id: "SOPS008",
    severity: Severity::Warning,
    title: "a comment in an encrypted part is in clear",
    explanation: "sops encrypts comments in the parts of a file that it encrypts, as people comment old values out. This \
        comment was put in by an ordinary editor, and stands in clear. No MAC covers it, so that sops says nothing \
        of it.\n\n\
        It is an error if the comment gives a secret its value (\"# password: …\"), holds a key or a token, or gives a \
        value to a key that was encrypted before. Accepted are comments in parts that the rule leaves in clear, \
        encrypted comments, and those that speak to programs (\"yaml-language-server\", \"renovate\", \"seal:allow\").\n\n\
        To mend it, take the comment out, or write it with \"kubectl seal edit PATH\".",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let Some(tree) = sops.tree() else { return };
    let mut clear = sops.comments().iter().filter(|comment| {
        comment.selected && comment.state == LeafState::Clear && says_something(sops.bytes(comment))
    });
    let Some(first) = clear.next() else { return };
    let former = former_keys(file);
    let mut places = places_of(tree);
    for comment in std::iter::once(first).chain(clear) {
        let bytes = sops.bytes(comment);
        let text = String::from_utf8_lossy(bytes);
        let (message, severity) = match secret_of(&text, context, &former) {
            Some(message) => (message, Severity::Error),
            None => ("this comment is in clear, in a part of the file that is encrypted", Severity::Warning),
        };
        let finding = places.finding(&RULE, file, comment, message).severity(severity).value(bytes);
        let remedy = format!("take the comment out, or write it with: kubectl seal edit {}", file.path());
        found.add(finding.remedy(remedy));
    }
}

/// Returns whether a comment is more than a line, and speaks to people.
fn says_something(comment: &[u8]) -> bool {
    let text = String::from_utf8_lossy(comment);
    let text = text.trim_matches(|character: char| character.is_whitespace() || "#-=*_;".contains(character));
    !text.is_empty() && !DIRECTIVES.iter().any(|start| text.starts_with(start))
}

/// Returns the keys whose values were encrypted before, and that are gone.
fn former_keys(file: &File<'_>) -> HashSet<String> {
    let keys = |file: &File<'_>| -> HashSet<String> {
        let Some(sops) = file.sops() else { return HashSet::new() };
        let encrypted = sops.values().iter().filter(|value| value.state == LeafState::Encrypted);
        encrypted.map(|value| sops.key(value).to_owned()).collect()
    };
    let now = keys(file);
    file.old().map(keys).unwrap_or_default().into_iter().filter(|key| !now.contains(key)).collect()
}

/// Returns why a comment holds a secret, if it does.
fn secret_of(text: &str, context: &Context<'_>, former: &HashSet<String>) -> Option<&'static str> {
    if is_key(text.as_bytes()) || text.split(is_no_token).any(is_token) {
        return Some("this comment holds a key or a token, in clear");
    }
    // What stands behind an encrypted comment is in clear.
    let text = match text.trim_start().strip_prefix("ENC[") {
        Some(rest) => rest.split_once(']').map_or(rest, |(_, behind)| behind),
        None => text,
    };
    let (key, value) = text.split_once([':', '='])?;
    let key = key.trim().trim_start_matches("- ").trim_matches(['"', '\'', ' ']);
    let value = value.trim();
    if value.is_empty() || is_placeholder(value.trim_matches(['"', '\'']), context.config) {
        return None;
    }
    if former.contains(key) {
        return Some("this comment gives a value to a key that was encrypted before, in clear");
    }
    // Several words that no quotes hold together are prose.
    let is_value = !value.contains(char::is_whitespace) || value.starts_with(['"', '\'']);
    let is_name = !key.contains(char::is_whitespace) && is_secret_name(key);
    (is_value && is_name).then_some("this comment gives a secret its value, in clear")
}

const fn is_no_token(character: char) -> bool {
    !(character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.'))
}

/// Returns whether a word begins as tokens of providers do, and is as long.
fn is_token(word: &str) -> bool {
    word.len() >= 20 && TOKENS.iter().any(|start| word.starts_with(start))
}

/// How comments begin that speak to programs.
const DIRECTIVES: &[&str] = &[
    "seal:allow",
    "yaml-language-server:",
    "$schema",
    "yamllint ",
    "prettier-ignore",
    "renovate:",
    "vim:",
    "vi:",
    "code: language=",
    "checkov:",
    "trivy:",
    "gitleaks:allow",
    "pragma:",
    "noqa",
    "nosec",
    "SPDX-",
    "{\"$imagepolicy\"",
];

/// How tokens of well-known providers begin.
const TOKENS: &[&str] = &[
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "AKIA",
    "ASIA",
    "sk_live_",
    "rk_live_",
    "npm_",
    "eyJ",
    "AIza",
    "hvs.",
    "dop_v1_",
    "SG.",
];

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    fn found(path: &str, text: &str, old: &str) -> Vec<String> {
        let repository = Repository::default().with(path, text);
        let repository = if old.is_empty() { repository } else { repository.with_old(path, old) };
        let found = repository.check().into_iter().filter(|finding| finding.rule.id == "SOPS008");
        found.map(|finding| format!("{} {}", finding.severity.name(), finding.start.line)).collect()
    }

    #[test]
    fn clear_comments_in_encrypted_parts_are_found() {
        let yaml = encrypted(Format::Yaml, "kind: x\ndata:\n  a: b\n  c: d\n", "encrypted_regex=^data$");
        let add = |comment: &str| yaml.replacen("  c:", &format!("  # {comment}\n  c:"), 1);
        for (comment, severity) in [
            ("the horse is correct", "warning"),
            ("password: see the vault", "warning"),
            ("password: ${LATER}", "warning"),
            ("password: horse", "error"),
            ("DB_PASSWORD=horse", "error"),
            ("password: 'correct horse'", "error"),
            (concat!("was gh", "p_0123456789abcdefghij0123456789abcdef"), "error"),
            (concat!("-----BEGIN PRIV", "ATE KEY-----"), "error"),
        ] {
            assert_eq!(found("a.yaml", &add(comment), ""), [format!("{severity} 4")], "{comment}");
        }
        let dotenv = encrypted(Format::Dotenv, "A=b\n", "");
        assert_eq!(found("a.env", &format!("#TOKEN=horse\n{dotenv}"), ""), ["error 1"]);
        let ini = encrypted(Format::Ini, "[a]\nb = c\n", "");
        assert_eq!(found("a.ini", &ini.replacen("b ", "; note\nb ", 1), ""), ["warning 2"]);
    }

    #[test]
    fn a_value_that_was_commented_out_is_an_error() {
        let old = encrypted(Format::Yaml, "a: b\nurl: c\n", "");
        let new = encrypted(Format::Yaml, "a: b\n", "");
        assert_eq!(found("a.yaml", &format!("# url: some where\n{new}"), &old), ["error 1"]);
        assert_eq!(found("a.yaml", &format!("# url: some where\n{new}"), ""), ["warning 1"]);
    }

    #[test]
    fn other_comments_are_clean() {
        let yaml = encrypted(
            Format::Yaml,
            "# note\nkind: x\ndata:\n  # password: a\n  a: b\n",
            "encrypted_regex=^data$",
        );
        assert!(yaml.contains("#ENC["));
        for text in [
            yaml.clone(),
            format!("# password: in the clear part\n{yaml}"),
            yaml.replacen(
                "  a:",
                "  # -----\n  #\n  # seal:allow SOPS002 reason=\"x\"\n  # yamllint disable\n  a:",
                1,
            ),
            yaml.replacen("\nsops:", "\n# password: horse\nx: y\nsops:", 1),
        ] {
            assert_eq!(found("a.yaml", &text, ""), [""; 0], "{text}");
        }
        for behind in ["password: horse", " password: horse"] {
            let line = yaml.lines().find(|line| line.contains("#ENC[")).expect("an encrypted comment");
            assert_eq!(found("a.yaml", &yaml.replacen(line, &format!("{line}{behind}"), 1), ""), ["error 4"]);
        }
        let rule = "unencrypted_comment_regex=clear";
        let text = encrypted(Format::Yaml, "# clear\na: b\n# other\nc: d\n", rule);
        assert_eq!(found("a.yaml", &text, ""), [""; 0], "{text}");
        let text =
            encrypted(Format::Yaml, "# secret\na: b\n# other\nc: d\n", "encrypted_comment_regex=secret");
        assert_eq!(found("a.yaml", &text, ""), [""; 0], "{text}");
    }
}
