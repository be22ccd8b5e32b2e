//! Whether what stands under the name of a secret is a secret: not a setting, a path, a reference, nor a text for
//! people.

use crate::check::config::Config;
use crate::check::is_placeholder;
use crate::check::names::{ends_in_key, is_secret_name, words};
use crate::check::placeholder::has_reference;

/// Returns whether a name is that of a secret, and its value is written out.
pub(in crate::check::rules) fn is_literal(name: &str, value: &str, config: &Config) -> bool {
    is_secret_name(name) && is_secret_value(name, value, config)
}

/// Returns whether a value is a secret if its name is that of one.
pub(in crate::check::rules) fn is_secret_value(name: &str, value: &str, config: &Config) -> bool {
    let value = value.trim();
    let says_nothing = !value.contains(char::is_alphanumeric);
    !(says_nothing
        || is_placeholder(value, config)
        || has_reference(value)
        || is_setting(value)
        || is_place(value)
        || is_public(value)
        || names_another(name, value)
        || is_prose(value))
}

/// Returns whether a value holds certificates or public keys, and no private key.
pub(in crate::check::rules) fn is_public(value: &str) -> bool {
    let value = value.trim_start();
    is_public_pem(value) || PUBLIC.iter().any(|start| value.starts_with(start))
}

/// Returns whether a text is blocks of PEM that everybody may see, with nothing around them but comments and what tools
/// say of certificates.
pub(in crate::check::rules) fn is_public_pem(text: &str) -> bool {
    let (mut has_block, mut is_inside) = (false, false);
    for line in text.lines().map(str::trim) {
        if let Some(label) = line.strip_prefix("-----BEGIN ") {
            if !PEM.iter().any(|known| label.starts_with(known)) {
                return false;
            }
            has_block = true;
            // What is written in one line ends there.
            is_inside = !line.contains("-----END ");
        } else if line.starts_with("-----END ") {
            is_inside = false;
        } else if !is_inside {
            let says =
                |start: &&str| line.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
            if !(line.is_empty() || line.starts_with('#') || ATTRIBUTES.iter().any(says)) {
                return false;
            }
        }
    }
    has_block && !text.contains("PRIVATE KEY")
}

/// Returns whether a value is a word of a setting, a small number or a time.
fn is_setting(value: &str) -> bool {
    let number = value.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let unit = &value[number.len()..];
    let is_number =
        !number.is_empty() && number.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && ["", "d", "h", "m", "ms", "s", "w", "y"].contains(&unit)
        || SETTINGS.iter().any(|setting| setting.eq_ignore_ascii_case(value))
}

/// Returns whether a value is where something is: a path, or a URL (whose password another rule tells).
fn is_place(value: &str) -> bool {
    let is_path = ["/", "./", "../", "~/", "file:"].iter().any(|start| value.starts_with(start))
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-:@~".contains(&byte))
        && (value.len() < 24 || value.matches('/').count() > 1);
    let is_windows = value.as_bytes().get(1..3) == Some(br":\");
    is_path || is_windows || value.contains("://")
}

/// Returns whether a value is the name of what has the secret: a key of a Secret, a Secret, a variable.
fn names_another(name: &str, value: &str) -> bool {
    if value.len() > MAX_NAME || value.contains(char::is_whitespace) {
        return false;
    }
    let is_constant =
        value.contains('_') && value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if is_constant && is_secret_name(value) {
        return true;
    }
    if ends_in_key(name) && is_secret_name(value) {
        return true;
    }
    // `authSecret: app-credentials` of a chart names a Secret; what is in capitals is a variable of a program.
    let is_dns = value
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./".contains(&byte));
    let parts = words(name);
    let is_secret = parts.last().is_some_and(|word| word.eq_ignore_ascii_case("secret"));
    let of = parts.len().checked_sub(2).map_or("", |at| parts[at]);
    let is_of_value = ["password", "token", "key"].iter().any(|word| word.eq_ignore_ascii_case(of));
    // `APP_TOKEN_SECRET: app-token` and `--secret=namespace/name` name Secrets.
    let is_path = value.matches('/').count() == 1 && !value.starts_with('/') && !value.ends_with('/');
    if is_dns && is_secret && (is_of_value && value.contains('-') || is_path) {
        return true;
    }
    let is_object =
        words(name).last().is_some_and(|word| matches!(*word, "secret" | "Secret" | "credentials"));
    is_dns && is_object && words(value).iter().any(|word| OBJECTS.contains(word))
}

/// Returns whether a value is a text for people: a label, a description.
fn is_prose(value: &str) -> bool {
    let words: Vec<_> = value.split_whitespace().take(MAX_PROSE).collect();
    if let [word] = words.as_slice() {
        // `password: "Password"` is a label; `password: password` is a bad password.
        let is_title = word.starts_with(|letter: char| letter.is_uppercase());
        return is_title
            && word.bytes().skip(1).all(|byte| byte.is_ascii_lowercase())
            && is_secret_name(word);
    }
    let mut common = 0;
    words.len() > 1
        && words.iter().any(|word| {
            let word = word.trim_matches(|letter: char| !letter.is_alphanumeric());
            common += usize::from(COMMON.iter().any(|known| known.eq_ignore_ascii_case(word)));
            common > 1 || is_secret_name(word)
        })
}

/// What PEM calls what everybody may see.
const PEM: &[&str] = &[
    "CERTIFICATE-----",
    "EC PARAMETERS-----",
    "PUBLIC KEY-----",
    "RSA PUBLIC KEY-----",
    "TRUSTED CERTIFICATE-----",
    "X509 CRL-----",
];

/// How lines begin that tools write around certificates, in whatever case.
const ATTRIBUTES: &[&str] = &[
    "===",
    "bag attributes",
    "friendlyname",
    "issuer",
    "localkeyid",
    "notafter",
    "notbefore",
    "serial",
    "subject",
];

/// Words of settings, in whatever case.
const SETTINGS: &[&str] = &[
    "always",
    "auto",
    "automatic",
    "boolean",
    "disabled",
    "enabled",
    "false",
    "generated",
    "include",
    "inherit",
    "never",
    "no",
    "number",
    "off",
    "omit",
    "on",
    "optional",
    "random",
    "required",
    "same-origin",
    "string",
    "true",
    "yes",
];

/// How public keys and checksums start.
const PUBLIC: &[&str] = &["age1", "ecdsa-sha2-", "sha256:", "sha512:", "ssh-ed25519 ", "ssh-rsa "];

/// Words of names of Secrets.
const OBJECTS: &[&str] = &["auth", "cert", "creds", "credentials", "secret", "secrets", "tls", "token"];

/// Words of which texts for people have several.
const COMMON: &[&str] = &[
    "an", "and", "be", "der", "die", "enter", "for", "from", "if", "is", "key", "must", "not", "of", "or",
    "please", "that", "the", "this", "to", "used", "will", "with", "you", "your",
];

/// Longer values name nothing.
const MAX_NAME: usize = 253;

/// How many words of a value tell whether it is a text for people.
const MAX_PROSE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_from_settings_and_names() {
        let config = Config::default();
        let cases = [
            ("password", "hunter2", true),
            ("password", "password", true),
            ("password", "123456", true),
            ("DB_PASSWORD", "correct horse battery staple", true),
            ("authSecret", "s3cr3t!", true),
            ("apiKey", "3f8a9c", true),
            ("token", "/abc+def/ghi==", true),
            ("APP_SECRET", "my-secret", true),
            ("password", "true", false),
            ("token", "3600", false),
            ("token", "24h", false),
            ("password", "auto", false),
            ("token", "/var/run/secrets/token", false),
            ("token", "https://example.org/token", false),
            ("secretKey", "client-secret", false),
            ("authSecret", "app-credentials", false),
            ("password", "DB_PASSWORD", false),
            ("password", "Password", false),
            ("password", "Enter your password", false),
            ("password", "the quick fox", true),
            ("password", "prefix-${VAR}", false),
            ("token", "sha256:0123", false),
            ("password", "${VAR}", false),
            ("passwordFile", "hunter2", false),
        ];
        for (name, value, wanted) in cases {
            assert_eq!(is_literal(name, value, &config), wanted, "{name}: {value}");
        }
    }
}
