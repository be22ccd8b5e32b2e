//! Which names are those of secret values, and which only name where a secret is.
//!
//! The last word of a name decides, in whatever style it is written: `db_password` is one, `password_file` is none.

/// Returns whether a key, a variable or a parameter of this name holds a secret value: `password`, `DB_PASSWORD`,
/// `clientSecret`, `api-token`; but not `passwordFile`, `existingSecret`, `secretKeyRef`, which tell where one is.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    secret_word(name).is_some()
}

/// Returns the word that makes a name one of a secret value, as it is written: `Password` of `dbPassword1`.
pub(super) fn secret_word(name: &str) -> Option<&str> {
    if name.len() > MAX_LENGTH || is_one_of(name, &["pwd", "oldpwd"]) {
        // A shell keeps its folder in `PWD`.
        return None;
    }
    let mut words = words(name);
    while words.len() > 1 && words.last().is_some_and(|word| is_qualifier(word)) {
        words.pop();
    }
    let (last, before) = words.split_last()?;
    let previous = before.last().copied().unwrap_or_default();
    let asks = words.len() > 1 && is_one_of(words[0], QUESTIONS);
    let refers = before.iter().any(|word| is_one_of(word, REFERENCES));
    let counts = starts_with(last, "token") && before.iter().any(|word| is_one_of(word, COUNTS));
    if asks || refers || counts {
        return None;
    }
    let is_secret = if is_one_of(last, &["key", "keys"]) {
        // `passwordKey` and `tokenSecretKey` name keys of a Secret.
        let names_key = before.iter().any(|word| ends_with_one_of(word, &["password", "token"]));
        is_one_of(previous, KEY_OWNERS) && !names_key
    } else if is_one_of(last, &["secret"]) {
        !is_one_of(previous, SECRET_OBJECTS)
    } else {
        is_one_of(last, WORDS) || ends_with_one_of(last, ENDS)
    };
    is_secret.then_some(*last)
}

/// Returns whether the last word of a name is `key`: what it says may be the name of a key.
pub(super) fn ends_in_key(name: &str) -> bool {
    words(name).last().is_some_and(|word| ends_with_one_of(word, &["key"]))
}

/// Returns the words of a name: parted by what is no letter and no digit, and by the humps of `camelCase`.
pub(super) fn words(name: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for part in name.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty()) {
        let bytes = part.as_bytes();
        let mut start = 0;
        for at in 1..bytes.len() {
            let (before, here) = (bytes[at - 1], bytes[at]);
            let after = bytes.get(at + 1).copied().unwrap_or_default();
            let is_hump = here.is_ascii_uppercase()
                && (before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && after.is_ascii_lowercase()));
            // `APIKeys2`: digits at the end are a word of their own.
            let is_number = here.is_ascii_digit() && before.is_ascii_alphabetic() && is_number(&bytes[at..]);
            if is_hump || is_number {
                words.push(&part[start..at]);
                start = at;
            }
        }
        words.push(&part[start..]);
    }
    words
}

/// Returns whether a word tells which of several secrets it is, or how one is written.
fn is_qualifier(word: &str) -> bool {
    is_number(word.as_bytes()) || is_one_of(word, QUALIFIERS)
}

fn is_number(bytes: &[u8]) -> bool {
    // Longer ones are no numbers of anything, and looking at them again and again would cost.
    !bytes.is_empty() && bytes.len() <= 4 && bytes.iter().all(u8::is_ascii_digit)
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn ends_with_one_of(word: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| {
        let at = word.len().checked_sub(end.len());
        at.and_then(|at| word.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    })
}

fn starts_with(word: &str, start: &str) -> bool {
    word.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Longer names are no names.
const MAX_LENGTH: usize = 256;

/// Words that name a secret value.
const WORDS: &[&str] = &[
    "cred",
    "credential",
    "credentials",
    "creds",
    "pass",
    "passcode",
    "passwords",
    "psk",
    "pw",
    "pwd",
    "requirepass",
    "rootpw",
    "tokens",
];

/// How words end that name a secret value.
const ENDS: &[&str] = &[
    "accesskey",
    "apikey",
    "encryptionkey",
    "masterkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "signingkey",
    "token",
];

/// Words before `key` that make it a secret value.
const KEY_OWNERS: &[&str] = &[
    "access",
    "account",
    "aes",
    "api",
    "app",
    "application",
    "auth",
    "crypto",
    "decryption",
    "encrypt",
    "encryption",
    "hmac",
    "integration",
    "jwt",
    "licence",
    "license",
    "master",
    "private",
    "recovery",
    "secret",
    "shared",
    "sign",
    "signing",
    "storage",
    "subscription",
    "unseal",
];

/// Words before `secret` that make it the name of an object.
const SECRET_OBJECTS: &[&str] = &[
    "ca",
    "cert",
    "certificate",
    "certs",
    "config",
    "external",
    "image",
    "ingress",
    "k8s",
    "kube",
    "kubernetes",
    "pull",
    "sealed",
    "target",
    "tls",
];

/// Words that say that the rest of a name is about where a secret is.
const REFERENCES: &[&str] = &["existing", "from", "ref", "automount", "mount", "mounted"];

/// First words of names that say whether something is done.
const QUESTIONS: &[&str] = &[
    "allow",
    "auto",
    "automount",
    "change",
    "check",
    "confirm",
    "create",
    "disable",
    "enable",
    "enabled",
    "expose",
    "forgot",
    "generate",
    "has",
    "hide",
    "is",
    "need",
    "needs",
    "no",
    "optional",
    "require",
    "requires",
    "reset",
    "show",
    "skip",
    "use",
    "validate",
    "verify",
    "with",
];

/// Words that say that tokens are counted, or are places in a list.
const COUNTS: &[&str] = &[
    "continue", "count", "cursor", "input", "limit", "max", "min", "next", "num", "output", "page", "total",
];

/// Last words that say which of several secrets it is, or how it is written.
const QUALIFIERS: &[&str] = &[
    "b",
    "base",
    "clear",
    "current",
    "decrypted",
    "default",
    "new",
    "old",
    "plain",
    "plaintext",
    "previous",
    "primary",
    "raw",
    "secondary",
    "str",
    "string",
    "text",
    "unencrypted",
    "v",
    "value",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_in_every_style() {
        let names = [
            "password",
            "Password",
            "PASSWORD",
            "DB_PASSWORD",
            "dbPassword",
            "DBPassword",
            "db-password",
            "spring.datasource.password",
            "PGPASSWORD",
            "rootPasswd",
            "MYSQL_PWD",
            "dbPass",
            "DB_PASS",
            "passphrase",
            "clientSecret",
            "client-secret",
            "APP_SECRET",
            "secret",
            "clientsecret",
            "apiKey",
            "APIKey",
            "api_key",
            "API-KEY",
            "apikey",
            "X-API-Key",
            "AWS_SECRET_ACCESS_KEY",
            "secretKey",
            "SECRET_KEY",
            "secretkey",
            "STRIPE_SECRET_KEY",
            "authToken",
            "GITHUB_TOKEN",
            "token",
            "api-token",
            "_authToken",
            "accessToken",
            "private_key",
            "privateKey",
            "encryptionKey",
            "signing-key",
            "password1",
            "PASSWORD_2",
            "tokenV2",
            "passwordBase64",
            "password_unencrypted",
            "adminPasswordOld",
            "credentials",
            "wifi_psk",
            "JWT_SECRET",
        ];
        for name in names {
            assert!(is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn what_tells_where_a_secret_is_holds_none() {
        let names = [
            "",
            "-",
            "passwordFile",
            "PASSWORD_FILE",
            "password_path",
            "existingSecret",
            "existing-secret",
            "secretName",
            "secret-name",
            "secretRef",
            "secretKeyRef",
            "passwordSecretRef",
            "existingSecretPasswordKey",
            "existingSecretKey",
            "passwordKey",
            "passwordSecretKey",
            "tokenUrl",
            "token_uri",
            "tokenTTL",
            "tokenTtl",
            "password_expiry",
            "passwordLength",
            "PASSWORD_POLICY",
            "tokenEnabled",
            "secretRotation",
            "passwordHash",
            "imagePullSecret",
            "imagePullSecrets",
            "tlsSecret",
            "secrets",
            "automountServiceAccountToken",
            "usePassword",
            "generatePassword",
            "createSecret",
            "PWD",
            "OLDPWD",
            "bypass",
            "compass",
            "publicKey",
            "AWS_ACCESS_KEY_ID",
            "key",
            "sortKey",
            "primaryKey",
            "partition_key",
            "tokenizer",
            "secretary",
            "maxTokens",
            "nextPageToken",
            "secretStore",
            "tokenType",
            "keyboard",
            "monkey",
            "username",
            "externalSecret",
            "passwordPlaceholder",
        ];
        for name in names {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(!is_secret_name(&"password".repeat(100)));
    }

    #[test]
    fn names_have_words() {
        assert_eq!(words("myAPIKey.of-DB_PASSWORD2"), ["my", "API", "Key", "of", "DB", "PASSWORD", "2"]);
        assert_eq!(words("Schlüssel ü"), ["Schlüssel", "ü"]);
        assert_eq!(secret_word("dbPassword1"), Some("Password"));
        assert!(ends_in_key("secretKey") && ends_in_key("apikey") && !ends_in_key("secret"));
    }
}
