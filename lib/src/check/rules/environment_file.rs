//! TOK003: a file of variables holds a secret.

pub(super) mod lines;

use std::ops::Range;

use super::literal::value::{is_literal, is_secret_value};
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};
use lines::assignments;

pub(super) static RULE: Rule = Rule {
    id: "TOK003",
    severity: Severity::Warning,
    title: "a file of variables holds a secret",
    explanation: "Files of variables (`.env`, `*.tfvars`, `*.properties`, `.npmrc`, `.netrc`, `.pgpass`, `credentials`) are read by \
                  programs of one machine. Once one is committed, everyone who can read the repository has its secrets, \
                  and they stay in its history.\n\n\
                  A variable whose name is that of a secret may be empty, a placeholder (`changeme`, `<password>`), a \
                  reference (`${PASSWORD}`, `ref+vault://…`), a path, a URL without password, a truth value or a small \
                  number. Examples (`.env.example`, `*.sample`, `*.template`, `*.dist`) and files that SOPS encrypted \
                  are not looked at.\n\n\
                  Encrypt the file (`kubectl seal encrypt -i .env` does so for .env, INI and JSON), or keep it out of \
                  the repository and list it in .gitignore. Change the secret if it was ever pushed.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let Some(kind) = Kind::of(file.path()).filter(|_| file.is_text()) else { return };
    let needs_name = !matches!(kind, Kind::PostgresPasswords);
    if (needs_name && !file.needles().has(Needles::SECRET_NAME)) || is_encrypted(file) {
        return;
    }
    match kind {
        Kind::Json => {
            let leaves = file.outline().roots().flat_map(|root| root.walk());
            for entry in leaves {
                let (Some(name), Some(value)) = (entry.key(), entry.text()) else { continue };
                if is_literal(name, value, context.config) {
                    tell(file, name, value, entry.span(), entry.pointer(None), found);
                }
            }
        }
        Kind::Lines => {
            for line in assignments(file.text()) {
                let is_npm = line.name.starts_with("//") && line.name.ends_with(":_auth");
                let is_secret = is_literal(line.name, line.value, context.config)
                    || (is_npm && is_secret_value(line.name, line.value, context.config));
                if is_secret {
                    tell(file, line.name, line.value, line.span, pointer(line.name), found);
                }
            }
        }
        Kind::Netrc => netrc(file, context, found),
        Kind::PostgresPasswords => postgres_passwords(file, context, found),
    }
}

/// How a file says which value a name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Lines,
    Netrc,
    PostgresPasswords,
}

/// Returns whether a file has values of an environment by its name.
pub(super) fn is_environment(file: &File<'_>) -> bool {
    Kind::of(file.path()).is_some()
}

impl Kind {
    fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let mut parts = name.split(['.', '-', '_']);
        if parts.any(|part| EXAMPLES.contains(&part)) {
            return None;
        }
        let is_environment = name == ".envrc"
            || name == "env"
            || [".env.", ".env-", ".env_"].iter().any(|start| name.starts_with(start));
        let is_text_for_people = TRANSLATIONS.iter().any(|word| path.to_ascii_lowercase().contains(word));
        match name.as_str() {
            ".netrc" | "_netrc" => Some(Self::Netrc),
            ".pgpass" | "pgpass" | "pgpass.conf" => Some(Self::PostgresPasswords),
            _ if LINES.contains(&name.as_str()) || is_environment => Some(Self::Lines),
            _ if name.ends_with(".tfvars.json") => Some(Self::Json),
            _ if name.ends_with(".properties") && is_text_for_people => None,
            _ if ENDS.iter().any(|end| name.ends_with(end)) => Some(Self::Lines),
            _ => None,
        }
    }
}

/// Returns whether SOPS encrypted a file, or another tool all of it.
pub(super) fn is_encrypted(file: &File<'_>) -> bool {
    if file.bytes().starts_with(b"\0GITCRYPT\0") || file.bytes().starts_with(b"age-encryption.org/v1") {
        return true;
    }
    if !file.needles().has(Needles::SOPS) {
        return false;
    }
    let has_line = |start: &str| file.text().lines().any(|line| line.starts_with(start));
    let is_structured = file.is_structured() || file.text().trim_start().starts_with('{');
    has_line("sops_mac=")
        || has_line("[sops]")
        || (is_structured && file.outline().roots().any(|root| root.at(&["sops", "mac"]).is_some()))
}

/// `machine HOST login USER password SECRET`, over as many lines as there are.
fn netrc(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let mut key = None;
    for line in 1..=file.line_count() {
        let range = file.line(line);
        let text = file.text().get(range.clone()).unwrap_or_default();
        let mut at = 0;
        for word in text.split([' ', '\t', '\r']) {
            let start = range.start + at;
            at += word.len() + 1;
            if word.starts_with('#') {
                break;
            }
            if word.is_empty() {
                continue;
            }
            match key.take() {
                Some("password") if is_secret_value("password", word, context.config) => {
                    tell(file, "password", word, start..start + word.len(), String::new(), found);
                }
                Some(_) => {}
                None => key = Some(word).filter(|word| *word != "default"),
            }
        }
    }
}

/// `host:port:database:user:SECRET`, where a backslash takes the meaning of a colon.
fn postgres_passwords(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    for line in 1..=file.line_count() {
        let range = file.line(line);
        let text = file.text().get(range.clone()).unwrap_or_default().trim_end();
        if text.starts_with('#') {
            continue;
        }
        let mut is_escaped = false;
        let colons = text.bytes().enumerate().filter(|(_, byte)| {
            let parts = *byte == b':' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            parts
        });
        let Some((colon, _)) = colons.take(4).nth(3) else { continue };
        let value = &text[colon + 1..];
        if is_secret_value("password", value, context.config) {
            let start = range.start + colon + 1;
            tell(file, "password", value, start..start + value.len(), String::new(), found);
        }
    }
}

fn tell(file: &File<'_>, name: &str, value: &str, span: Range<usize>, pointer: String, found: &mut Findings) {
    let message = format!("`{name}` is a secret, and it is written out in a file of variables");
    let can_encrypt = [".env", ".ini", ".json"].iter().any(|end| file.name().ends_with(end));
    let remedy = if can_encrypt || file.name().starts_with(".env") {
        format!("kubectl seal encrypt -i {}", file.path())
    } else {
        "keep the file out of the repository, or give the value by the environment".to_owned()
    };
    let finding = Finding::new(&RULE, file, span, message).at("", pointer).value(value.as_bytes());
    found.add(finding.remedy(remedy));
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Parts of names of files that are there to be copied.
const EXAMPLES: &[&str] = &["dist", "example", "examples", "j2", "sample", "skel", "template", "tmpl", "tpl"];

/// Files of lines, in small letters.
const LINES: &[&str] = &[
    ".boto",
    ".my.cnf",
    ".npmrc",
    ".pypirc",
    ".s3cfg",
    ".yarnrc",
    "credentials",
    "my.cnf",
    "npmrc",
    "pypirc",
    "rclone.conf",
];

/// How names of files of lines end.
const ENDS: &[&str] = &[".env", ".ini", ".properties", ".tfvars"];

/// Parts of paths of texts for people.
const TRANSLATIONS: &[&str] = &["i18n", "l10n", "lang", "locale", "messages", "translation"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::found;

    #[test]
    fn secrets_in_files_of_variables_are_found() {
        let text = "# comment\nNODE_ENV=production\nDB_PASSWORD=hunter2\nexport API_TOKEN='a b#c'\n";
        for path in [".env", "app/.env.production", "prod.env", ".envrc", "app.properties", "x.ini"] {
            assert_eq!(found("TOK003", path, text), ["3 /DB_PASSWORD", "4 /API_TOKEN"], "{path}");
        }
        let text = "region = \"eu\"\ndb_password = \"hunter2\"\nusers = {\n  password = \"hunter3\" # x\n}\n";
        assert_eq!(found("TOK003", "prod.auto.tfvars", text), ["2 /db_password", "4 /password"]);
        let text = "{\n  \"region\": \"eu\",\n  \"db\": {\"password\": \"hunter2\"}\n}\n";
        assert_eq!(found("TOK003", "prod.tfvars.json", text), ["3 /db/password"]);
        let text = "registry=https://registry.example.org/\n//registry.example.org/:_authToken=abcdef\n//a/:_auth=eHg6eXk=\n";
        assert_eq!(
            found("TOK003", ".npmrc", text),
            ["2 /~1~1registry.example.org~1:_authToken", "3 /~1~1a~1:_auth"]
        );
        assert_eq!(found("TOK003", ".netrc", "machine a login b\n  password hunter2\n"), ["2"]);
        assert_eq!(found("TOK003", ".pgpass", "# a:b:c:d:e\nlocalhost:5432:*:a\\:b:hunter2\n"), ["2"]);
        let text = "[default]\naws_access_key_id = AKIAA\naws_secret_access_key = abcd/efgh+ij\n";
        assert_eq!(found("TOK003", ".aws/credentials", text), ["3 /aws_secret_access_key"]);
    }

    #[test]
    fn what_is_no_secret_is_left_alone() {
        let text = "DB_PASSWORD=\nAPI_TOKEN=${API_TOKEN}\nSECRET_KEY=changeme\nPASSWORD_FILE=/run/secrets/x\n\
                    TOKEN_TTL=3600\nUSE_TOKEN=true\n# PASSWORD=hunter2\nAUTH_TOKEN=<your token>\nPORT=80\n";
        for path in [".env", "prod.env", "a.properties", "a.ini"] {
            assert!(found("TOK003", path, text).is_empty(), "{path}");
        }
        let text = "DB_PASSWORD=hunter2\n";
        for path in
            [".env.example", ".env.sample", "example.env", ".env.template", ".env.dist", "README.md", "a.sh"]
        {
            assert!(found("TOK003", path, text).is_empty(), "{path}");
        }
        assert!(found("TOK003", "i18n/messages_en.properties", "login.password=Passwort\n").is_empty());
        assert!(
            found("TOK003", "a.tfvars", "password = var.password_file\npassword_policy = \"x\"\n").len() <= 1
        );
        assert!(found("TOK003", ".pgpass", "a:b:c:d:${PASSWORD}\na:b\n").is_empty());
        assert!(found("TOK003", ".netrc", "machine a login password password $TOKEN\n").is_empty());
        assert!(found("TOK003", ".npmrc", "//a/:_authToken=${NPM_TOKEN}\nalways-auth=true\n").is_empty());
        let text = "DB_PASSWORD=ENC[AES256_GCM,data:aa,iv:bb,tag:cc,type:str]\nsops_mac=ENC[AES256_GCM,x]\nTOKEN=x\n";
        assert!(is_encrypted_text(".env", text));
    }

    fn is_encrypted_text(path: &str, text: &str) -> bool {
        let content = crate::check::decode(text.as_bytes());
        is_encrypted(&File::new(path, text.as_bytes(), &content, crate::check::Mode::File))
    }
}
