//! K8S007: a command carries a secret.

use std::ops::Range;

use super::literal::value::is_secret_value;
use crate::check::names::is_secret_name;
use crate::check::placeholder::has_reference;
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity, is_placeholder};

pub(super) static RULE: Rule = Rule {
    id: "K8S007",
    severity: Severity::Warning,
    title: "a command carries a secret",
    explanation: "`kubectl create secret … --from-literal=KEY=VALUE` in a script, a Makefile, a pipeline or a page of \
                  documentation has the secret in clear, however well the Secret that it makes is kept. It is in the \
                  history of the shell and in the list of processes as well.\n\n\
                  A variable (`$PASSWORD`), the output of a command (`$(…)`), a placeholder (`<password>`, `changeme`), \
                  an expression of a template and names of users, hosts and databases are accepted.\n\n\
                  Read the value from a file or a variable (`--from-file=KEY=PATH`, `--from-literal=KEY=\"$VALUE\"`), or \
                  commit the Secret encrypted or sealed instead of the command that makes it. Change the secret if it \
                  was ever pushed.",
    needles: Needles::FROM_LITERAL,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let text = file.text();
    let mut from = 0;
    while let Some(at) = text[from..].find("--").map(|at| from + at) {
        from = at + 2;
        let Some(option) = OPTIONS.iter().find(|option| text[from..].starts_with(**option)) else { continue };
        let start = from + option.len();
        let quote = text[..at].chars().next_back().filter(|letter| matches!(letter, '"' | '\'' | '`'));
        let Some(word) = Word::read(text, start, quote) else { continue };
        from = word.span.end;
        let (name, value, span) = if *option == "from-literal" {
            let Some((name, value)) = word.text.split_once('=') else { continue };
            let span = word.span.end.saturating_sub(word.written - word.equals - 1)..word.span.end;
            (name, value, span)
        } else {
            (*option, word.text.as_str(), word.span.clone())
        };
        let is_key = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_key || (*option == "from-literal" && !is_kept_secret(&text[..at], name)) {
            continue;
        }
        let is_literal = is_literal(name, value, word.expands, context);
        if is_literal {
            let message = format!("`{name}` of a Secret is given on a command line, in clear");
            let remedy = if *option == "from-literal" {
                format!(
                    "read it from a file or a variable: --from-file={name}=PATH, --from-literal={name}=\"$VALUE\""
                )
            } else {
                format!("read it from a variable: --{name}=\"$VALUE\"")
            };
            found.add(Finding::new(&RULE, file, span, message).value(value.as_bytes()).remedy(remedy));
        }
    }
}

/// Returns whether a value is written out. `expands` tells whether a shell puts something into it.
fn is_literal(name: &str, value: &str, expands: bool, context: &Context<'_>) -> bool {
    let is_format =
        value.starts_with('{') && value.ends_with('}') || value.starts_with('%') && value.len() <= 3;
    let is_model = MODELS.iter().any(|model| model.eq_ignore_ascii_case(value)) && !is_secret_name(name);
    let is_example = MODELS.iter().any(|model| model.eq_ignore_ascii_case(value))
        && ["k", "key", "key1", "key2", "foo", "name"].iter().any(|key| key.eq_ignore_ascii_case(name));
    !(expands
        || is_format
        || is_model
        || is_example
        || is_placeholder(value, context.config)
        || has_reference(value)
        || !is_secret_value("password", value, context.config))
}

/// Returns whether a literal of this name is kept secret: what a Secret is made of, but for what it says of users and
/// places; or what has the name of a secret, whatever it is made for.
fn is_kept_secret(before: &str, name: &str) -> bool {
    if is_secret_name(name) {
        return true;
    }
    let mut start = before.len().saturating_sub(MAX_COMMAND);
    while !before.is_char_boundary(start) {
        start += 1;
    }
    let command = &before[start..];
    // The command goes on over lines that end in a backslash (or, in PowerShell, a backtick).
    let mut line_start = command.len();
    for line in command.rsplit('\n') {
        let is_last = line_start == command.len();
        let goes_on = line.trim_end().ends_with(['\\', '`']);
        if !is_last && !goes_on {
            break;
        }
        line_start = line_start.saturating_sub(line.len() + usize::from(!is_last));
    }
    let command = &command[line_start..];
    let (secret, map) = (command.rfind("secret"), command.rfind("configmap").max(command.rfind(" cm ")));
    let is_harmless = HARMLESS
        .iter()
        .any(|word| word.eq_ignore_ascii_case(name.rsplit(['-', '_', '.']).next().unwrap_or(name)));
    secret.is_some() && secret > map && !is_harmless
}

/// A word of a shell.
struct Word {
    /// What it says, without quotes.
    text: String,
    /// Where it is.
    span: Range<usize>,
    /// How many bytes are written.
    written: usize,
    /// Where its first `=` is, in what is written.
    equals: usize,
    /// Whether a shell puts something into it.
    expands: bool,
}

impl Word {
    /// Reads the word behind an option: `quote` is what stands before the option, and ends the word.
    fn read(text: &str, start: usize, quote: Option<char>) -> Option<Self> {
        let behind = &text[start..];
        let rest = match behind.strip_prefix('=') {
            Some(rest) => rest,
            None => {
                let rest = behind.strip_prefix([' ', '\t'])?.trim_start_matches([' ', '\t']);
                rest.strip_prefix("\\\n").map_or(rest, |next| next.trim_start_matches([' ', '\t']))
            }
        };
        let at = text.len() - rest.len();
        let (mut word, mut open) = (String::new(), None);
        let (mut equals, mut expands, mut marks) = (0, false, 0_usize);
        let mut letters = rest.char_indices().take(MAX_WORD);
        let mut end = 0;
        while let Some((index, letter)) = letters.next() {
            let ends = match open {
                None if Some(letter) == quote => true,
                None => marks == 0 && (letter.is_whitespace() || ";|&)".contains(letter)),
                Some(_) => letter == '\n' && quote.is_some(),
            };
            if ends {
                break;
            }
            end = index + letter.len_utf8();
            if open == Some(letter) {
                open = None;
                continue;
            }
            match letter {
                '"' | '\'' if open.is_none() => {
                    open = Some(letter);
                    continue;
                }
                '\\' if open != Some('\'') => {
                    if let Some((index, next)) = letters.next() {
                        end = index + next.len_utf8();
                        // A line that ends in a backslash goes on in the next one.
                        word.extend(Some(next).filter(|next| *next != '\n'));
                    }
                    continue;
                }
                // `<the password>` and `$(command)` have blanks.
                '<' | '(' | '{' => marks += 1,
                '>' | ')' | '}' => marks = marks.saturating_sub(1),
                '\n' => marks = 0,
                _ => {}
            }
            if letter == '=' && equals == 0 {
                equals = index;
            }
            expands |= open != Some('\'') && matches!(letter, '$' | '`');
            word.push(letter);
        }
        (!word.is_empty()).then_some(Self { text: word, span: at..at + end, written: end, equals, expands })
    }
}

/// The options that carry a secret.
const OPTIONS: &[&str] = &["docker-password", "from-literal"];

/// Last words of names that are no secrets.
const HARMLESS: &[&str] = &[
    "bucket",
    "database",
    "db",
    "dbname",
    "email",
    "enabled",
    "endpoint",
    "environment",
    "host",
    "hostname",
    "id",
    "login",
    "name",
    "namespace",
    "port",
    "region",
    "server",
    "type",
    "uri",
    "url",
    "user",
    "username",
    "version",
];

/// Values that only show where one goes.
const MODELS: &[&str] = &["bar", "v", "val", "value", "value1", "value2"];

/// How many bytes before an option tell what command it is of.
const MAX_COMMAND: usize = 1500;

/// How many letters a word has at most.
const MAX_WORD: usize = 4096;

#[cfg(test)]
mod tests {
    use crate::check::test_kit::{Repository, found};

    #[test]
    fn literals_in_commands_are_found() {
        let cases: &[(&str, &[&str])] = &[
            ("kubectl create secret generic db --from-literal=password=hunter2\n", &["1"]),
            (
                "kubectl create secret generic db \\\n  --from-literal=username=admin \\\n  --from-literal=password='S!B*d$zDsb='\n",
                &["3"],
            ),
            (
                "kubectl -n a create secret generic db --from-literal conn=abcd --from-literal \"pin=a b\"\n",
                &["1", "1"],
            ),
            (
                "kubectl create secret generic db \"--from-literal=key=$A\" '--from-literal=data=hunter2'\n",
                &["1"],
            ),
            (
                "\tkubectl create secret docker-registry r --docker-username=u --docker-password=hunter2 --docker-email x\n",
                &["1"],
            ),
            ("    kubectl create secret docker-registry r \\\n --docker-password \"hunter2\"\n", &["2"]),
            (
                "run: kubectl create secret generic db --from-literal=token=abc123 -o yaml | kubeseal\n",
                &["1"],
            ),
            ("kubectl create configmap c --from-literal=db_password=hunter2\n", &["1"]),
        ];
        for (text, wanted) in cases {
            assert_eq!(&found("K8S007", "scripts/make.sh", text), wanted, "{text}");
        }
        let found = Repository::default().with("a.sh", cases[0].0).check();
        let finding = found.iter().find(|finding| finding.rule.id == "K8S007").expect("a finding");
        assert_eq!(&cases[0].0[finding.span.clone()], "hunter2");
        assert!(!format!("{} {}", finding.message, finding.remedy).contains("hunter2"));
    }

    #[test]
    fn what_comes_from_elsewhere_is_left_alone() {
        let cases = [
            "kubectl create secret generic db --from-literal=password=$PASSWORD --from-literal=b=\"${B}\"\n",
            "kubectl create secret generic db --from-literal=password=\"$(openssl rand -hex 32)\"\n",
            "kubectl create secret generic db --from-literal=password=<your password> -o yaml\n",
            "kubectl create secret generic db --from-literal=password=changeme\n",
            "kubectl create secret generic db --from-literal=token=${{ secrets.TOKEN }}\n",
            "\t@kubectl create secret generic db --from-literal=password=$(PASSWORD) --from-literal=a=$$A\n",
            "kubectl create secret generic db --from-literal=username=admin --from-literal=db-host=localhost\n",
            "kubectl create configmap c --from-literal=mode=debug --from-literal key=value\n",
            "Use `--from-literal` or `--from-literal=KEY=VALUE`, or --from-literal=key1=value1.\n",
            "kubectl create secret docker-registry r --docker-password=\"$P\" --docker-password-stdin\n",
            "--from-literal=password={{ .Values.password }} --from-literal=password=`cat x`\n",
            "--from-literal",
            "--from-literal=",
            "--from-literal=a",
            "--docker-password",
            "--from-literal='",
            "--from-literal=a='\\",
        ];
        for text in cases {
            assert!(found("K8S007", "README.md", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn hostile_commands_end() {
        for text in ["--from-literal=", "--from-literal='", "--from-literal=secret\\\n", "--from-literal <"] {
            assert!(found("K8S007", "a.sh", &text.repeat(20_000)).len() < 30_000);
        }
    }
}
