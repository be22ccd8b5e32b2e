//! TOK002: an address with a password.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::place::Places;
use super::private_key::distinct;
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity, is_placeholder};

pub(super) static RULE: Rule = Rule {
    id: "TOK002",
    severity: Severity::Error,
    title: "an address with a password",
    explanation: "A password in an address is a password in clear, whatever the value is called: `postgres://user:password@host` \
                  in a ConfigMap, an environment or a script logs in whoever reads it.\n\n\
                  Accepted are addresses of the same machine, variables and placeholders in place of the password, and \
                  the words of documentation such as `user:password@host`. Names that only a cluster knows count: such \
                  addresses are what leaks most. A password that is the name of the user is a warning.\n\n\
                  Move the address into a Secret and encrypt that (`kubectl seal encrypt -i PATH`), or put only the \
                  password there and take it in as a variable. Change the password: the old one is known to everybody \
                  who has a copy of the repository.",
    needles: Needles::URL,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let text = file.text();
    let mut places = None;
    for at in memmem::find_iter(text.as_bytes(), b"://") {
        let Some(address) = Address::read(text, at) else { continue };
        let Some(severity) = address.judge(text) else { continue };
        if is_placeholder(&text[address.password.clone()], context.config) {
            continue;
        }
        let (object, pointer) = places.get_or_insert_with(|| Places::of(file)).at(address.password.start);
        let remedy =
            "keep the address in a Secret, encrypted (kubectl seal encrypt -i PATH), and change the password";
        let finding =
            Finding::new(&RULE, file, address.password.clone(), "the password in an address is in clear")
                .at(object, pointer)
                .value(text[address.password].as_bytes())
                .severity(severity)
                .remedy(remedy);
        found.add(finding);
    }
}

/// An address with a password: where its parts are in a text.
struct Address {
    user: Range<usize>,
    password: Range<usize>,
    host: Range<usize>,
}

impl Address {
    /// Reads an address, given where its `://` is.
    fn read(text: &str, at: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let before = at.checked_sub(1).map(|before| bytes[before]);
        before.filter(u8::is_ascii_alphanumeric)?;
        let start = at + 3;
        let ends = |byte: &u8| byte.is_ascii_control() || b" /?#\"'`<>\\".contains(byte);
        // No address is longer, and this looks at no byte twice: a slash ends it.
        let rest = &bytes[start..bytes.len().min(start + MAX_LENGTH)];
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let authority = &rest[..length];
        let middle = memchr::memrchr(b'@', authority)?;
        let colon = memchr::memchr(b':', &authority[..middle])?;
        let host = &authority[middle + 1..];
        let is_bracketed = host.starts_with(b"[");
        let is_part = |byte: &&u8| is_host_byte(**byte) && (is_bracketed || **byte != b':');
        let host = start + middle + 1..start + middle + 1 + host.iter().take_while(is_part).count();
        // A name may be put in later.
        let is_named = !host.is_empty() || matches!(bytes.get(host.start), Some(b'$' | b'{' | b'%'));
        let (user, password) = (start..start + colon, start + colon + 1..start + middle);
        let is_whole = is_named && !password.is_empty() && text.is_char_boundary(host.end);
        is_whole.then_some(Self { user, password, host })
    }

    /// Returns how bad it is, or nothing if it tells no secret.
    fn judge(&self, text: &str) -> Option<Severity> {
        let (user, host) = (&text[self.user.clone()], &text[self.host.clone()]);
        let password = percent_decode(&text[self.password.clone()]);
        // What templates, patterns and shells put in, and what no address may have without being encoded.
        let written = &text[self.password.clone()];
        let is_pattern = user.contains(['[', ']', '|', '^']) && written.contains(['[', ']', '|', '^']);
        let is_number = |part: &str| part.len() <= 5 && part.bytes().all(|byte| byte.is_ascii_digit());
        // A list of machines, with an address of another kind in it.
        let is_list = password.split_once(',').is_some_and(|(port, _)| is_number(port));
        let is_port = is_list || is_number(&password) && user.contains('.');
        if is_pattern || is_reference(written) || is_port || !is_host(host) || is_word(&password) {
            return None;
        }
        if is_example(host) && !is_strong(&password) {
            return None;
        }
        if *user == *password { Some(Severity::Warning) } else { Some(Severity::Error) }
    }
}

/// Returns whether a password is put in later as a whole, or has a part that is.
fn is_reference(password: &str) -> bool {
    let opens = |mark: &str, end: char| {
        let at = password.find(mark);
        at.is_some_and(|at| password[at + mark.len()..].contains(end) || at == 0)
    };
    let is_bracketed = [('{', '}'), ('[', ']')]
        .iter()
        .any(|(start, end)| password.starts_with(*start) && password.ends_with(*end));
    is_variable(password)
        || is_bracketed
        || password.starts_with("ENC[AES256_GCM,")
        || opens("${", '}')
        || opens("{{", '}')
        || opens("#{", '}')
}

/// Returns whether a part of an address stands for something else: `$VAR`, `$(…)`, `%s`, `%VAR%`, `…`.
fn is_variable(part: &str) -> bool {
    let bytes = part.as_bytes();
    let starts_name =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic() || b"_(".contains(byte));
    let is_shell = bytes.first() == Some(&b'$') && starts_name(bytes.get(1)) || part.contains("$(");
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let is_format = bytes.first() == Some(&b'%') && !(hex(1) && hex(2)) || part.contains("%s");
    is_shell || is_format || part.contains('…')
}

/// Returns whether a password is a word that stands for one, or a row of one letter.
fn is_word(password: &str) -> bool {
    let word: String = password.chars().filter(|letter| !"-_.*".contains(*letter)).collect();
    let word = word.to_ascii_lowercase();
    let is_name =
        password.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && password.len() > 2;
    WORDS.contains(&word.as_str()) || distinct(password.as_bytes()) == 1 || is_name
}

/// Returns whether it is the name of another machine than this.
fn is_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_here = ["localhost", "host.docker.internal", "0.0.0.0", "[::1]", "[::]"].contains(&host.as_str())
        || host.starts_with("127.")
        || host.ends_with(".localhost")
        // A digest of an image stands where an address has its host.
        || ["sha256", "sha512"].contains(&host.as_str());
    !is_here
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte) || byte >= 0x80
}

/// Returns whether a host is one that documentation speaks of.
fn is_example(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let is_of =
        |name: &&str| host == **name || host.strip_suffix(*name).is_some_and(|rest| rest.ends_with('.'));
    EXAMPLES.iter().any(is_of) || ["example", "host", "hostname", "server"].contains(&host.as_str())
}

/// Returns whether a password is none that people write into documentation.
fn is_strong(password: &str) -> bool {
    let classes =
        [u8::is_ascii_uppercase, u8::is_ascii_lowercase, u8::is_ascii_digit, u8::is_ascii_punctuation];
    let classes = classes.into_iter().filter(|is_of| password.bytes().any(|byte| is_of(&byte))).count();
    password.len() >= 8 && classes >= 2 && distinct(password.as_bytes()) >= 6
}

fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Names that nobody has.
const EXAMPLES: &[&str] = &["example.com", "example.net", "example.org"];
/// How long an address is at most, from its user to its host.
const MAX_LENGTH: usize = 1024;
/// What documentation says where a password is meant.
const WORDS: &[&str] = &[
    "apikey",
    "changeme",
    "dbpass",
    "dbpassword",
    "example",
    "foo",
    "key",
    "mypass",
    "mypassword",
    "mysecretpassword",
    "p",
    "pass",
    "passwd",
    "password",
    "placeholder",
    "pw",
    "pwd",
    "redacted",
    "secret",
    "somepassword",
    "thepassword",
    "token",
    "userpassword",
    "yourpass",
    "yourpassword",
    "yoursecret",
    "yourtoken",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::{Repository, found};

    fn verdicts(text: &str) -> Vec<Severity> {
        let addresses = memmem::find_iter(text.as_bytes(), b"://").filter_map(|at| Address::read(text, at));
        addresses.filter_map(|address| address.judge(text)).collect()
    }

    #[test]
    fn passwords_in_addresses_are_found() {
        let texts = [
            "postgres://app:hunter2@db.prod.svc.cluster.local:5432/app?sslmode=require",
            "mongodb+srv://app:hunter2@cluster0.abcde.mongodb.net/app",
            "redis://:hunter2@redis:6379/0",
            "amqp://app:h%40nter%3A2@rabbit//",
            "jdbc:mysql://root:hunter2@mysql/db",
            "mongodb://u:hunter2@h1:27017,h2:27017/db",
            "https://app:p@ssw0rd@10.1.2.3/x",
            "https://oauth2:aBcD1234eFgH@git.example.com/a.git",
            "ftp://app:hunter2@[2001:db8::1]:21/",
            "http://app:Pa$$w0rd!@proxy:3128",
            "[x](https://app:hunter2@git.corp)",
            "postgres://app:hunter2@${HOST}:5432/x",
            "postgres://app:hunter2@{{ .Values.host }}/x",
            "postgres://app:hunter2@db.shop.example/x",
            "postgres://app:correct1battery@db.example.com/x",
            "postgres://${USER}:hunter2@db/x",
            "postgres://{{.User}}:hunter2@db/x",
            "postgres://%s:hunter2@db/x",
            "postgres://app:hun{ter}2@db/x",
            "postgres://app:hun|ter^2@db/x",
            "postgres://app:[hunter2@db/x",
        ];
        for text in texts {
            assert_eq!(verdicts(text), [Severity::Error], "{text}");
            assert_eq!(verdicts(&format!("a = \"{text}\", b")), [Severity::Error], "{text}");
        }
        assert_eq!(verdicts("postgres://postgres:postgres@db/x"), [Severity::Warning]);
    }

    #[test]
    fn other_addresses_are_clean() {
        let clean = [
            "postgres://app@db/app",
            "ssh://git@github.com/a/b",
            "https://git:@host/a",
            "https://user:password@example.com/",
            "https://username:password@host/",
            "postgres://user:pass@db:5432/x",
            "postgres://user:${PASSWORD}@db/x",
            "postgres://user:$PASSWORD@db/x",
            "postgres://user:$(cat /run/pw)@db/x",
            "postgres://user:$(PASSWORD)@db/x",
            "postgres://user:{{ .Values.password }}@db/x",
            "postgres://user:{{.Password}}@db/x",
            "postgres://user:<password>@db/x",
            "postgres://user:***@db/x",
            "postgres://user:xxxxxxxx@db/x",
            "postgres://user:DB_PASSWORD@db/x",
            "postgres://user:%s@db/x",
            "postgres://%s:%s@%s/x",
            "postgres://user:%PASSWORD%@db/x",
            "postgres://user:hunter2@localhost:5432/x",
            "postgres://user:hunter2@127.0.0.1/x",
            "postgres://user:hunter2@[::1]/x",
            "https://admin:hunter2@example.com/",
            "http://proxy.corp:3128@x",
            "docker://alpine:3.18@sha256:0123456789abcdef",
            "https?://[^:]+:[^@]+@[^/]+",
            "http://host:8080/a@b",
            "see https://a.b/c:d@e",
            "://a:b@c",
            "postgres://user:ENC[AES256_GCM,data:abc]@db",
            "redis://:@redis/0",
            "x://a:b@",
            "brokers: [kafka://a:9092,b@c]",
            "postgres://user:password@${HOST}/x",
        ];
        assert_eq!(verdicts("x://a:\u{fc}\u{e4}@\u{fc}\u{2026}"), [Severity::Error]);
        for text in clean {
            assert_eq!(verdicts(text), [], "{text}");
        }
    }

    #[test]
    fn findings_are_on_the_password() {
        let text = "kind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: y\n  URL: amqp://app:hunter2@rabbit\n";
        assert_eq!(found("TOK002", "a.yaml", text), ["5 /data/URL"]);
        let found = Repository::default().with("a.env", "A=1\nURL=amqp://app:hunter2@rabbit\n").check();
        let found = found.iter().find(|finding| finding.rule == &RULE).expect("a finding");
        assert_eq!((found.start.line, found.start.column), (2, 16));
        let shown = format!("{found:?} {} {} {}", found.remedy, found.pointer, found.object);
        assert!(!shown.contains("hunter2"));
    }

    #[test]
    fn hostile_texts_end() {
        for part in ["a://", "a://b:", "a://b:c@", "a://@:@:", "://:@"] {
            let _ = verdicts(&part.repeat(100_000));
        }
    }
}
