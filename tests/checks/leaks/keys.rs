//! Private keys and tokens, wherever they are.

use selkie::keys::age::IdentityKind;

use crate::checks::case::{Case, Encoding};
use crate::checks::maker::{Maker, base64};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = private_keys(make);
    cases.extend(tokens(make));
    cases
}

fn private_keys(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, label, path) in [
        ("a key of RSA", "RSA PRIVATE KEY", "tls.key"),
        ("a key of an elliptic curve", "EC PRIVATE KEY", "certs/tls.pem"),
        ("a key in PKCS 8", "PRIVATE KEY", "tls"),
        ("a key of OpenSSH", "OPENSSH PRIVATE KEY", "id_ed25519"),
        ("a key of OpenPGP", "PGP PRIVATE KEY BLOCK", "backup.asc"),
    ] {
        let text = format!("a note\n{}", make.pem(label));
        cases.push(make.leak(name).file(path, text).wants(KEY, "BEGIN"));
    }
    let text = make.pem("ENCRYPTED PRIVATE KEY");
    let case = make.leak("a key with a passphrase").file("tls.key", text);
    cases.push(case.wants(KEY, "BEGIN").only_warned());
    for (name, kind) in [
        ("an identity of age", IdentityKind::X25519),
        ("an identity of age, after quanta", IdentityKind::Hybrid),
    ] {
        let value = make.identity(kind);
        let text = format!("# created: 2026-01-02T03:04:05Z\n# public key: {}\n{value}\n", make.recipient);
        cases.push(make.leak(name).file("age.agekey", text).wants(KEY, &value));
    }
    let value = make.identity(IdentityKind::X25519);
    let text = format!("# Setup\n\nRun this:\n\n    export SOPS_AGE_KEY={value}\n");
    cases.push(make.leak("an identity of age on a page").file("README.md", text).wants(KEY, &value));

    let key = make.pem("RSA PRIVATE KEY");
    let value = base64(&key);
    let text = format!("tls:\n  key: {value}\n");
    cases.push(make.leak("a key in base64").file("values.yaml", text).wants(KEY, &value));

    let key = make.pem("OPENSSH PRIVATE KEY");
    let value = base64(&base64(&key));
    let text = format!("a: b\nblob: \"{value}\"\n");
    cases.push(make.leak("a key in base64 of base64").file("config.yaml", text).wants(KEY, &value));

    let value = base64(&make.identity(IdentityKind::X25519));
    let text = format!("{{\n  \"blob\": \"{value}\"\n}}\n");
    cases.push(make.leak("an identity of age in base64").file("a.json", text).wants(KEY, &value));

    let key = make.pem("RSA PRIVATE KEY").replace('\n', "\\n");
    let text = format!("{{\n  \"other\": 1,\n  \"key\": \"{key}\"\n}}\n");
    cases.push(make.leak("a key with escaped lines").file("a.json", text).wants(KEY, "BEGIN"));

    let lines = make.noise(48);
    let lines = make.keep(lines);
    let mac = make.hex(40);
    let text = format!(
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: a\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\n{lines}\nPrivate-MAC: {mac}\n"
    );
    cases.push(
        make.leak("a key of PuTTY")
            .file("deploy.ppk", text)
            .wants_any(&[KEY], &["PuTTY-User", "Private-Lines"]),
    );

    let key = make.pem("PRIVATE KEY");
    let case = make.leak("a key in UTF-16").encoded("key.txt", format!("a note\n{key}"), Encoding::Utf16);
    cases.push(case.wants(KEY, "BEGIN"));
    cases
}

fn tokens(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    // Each prefix is written in parts, so that no scanner takes this file for what it makes.
    let value = make.checked_token(concat!("gh", "p_"));
    cases.push(
        make.leak("a token of GitHub")
            .file("ci.yaml", format!("a: b\nremote: {value}\n"))
            .wants(TOKEN, &value),
    );

    let value = make.checked_token(concat!("np", "m_"));
    let text = format!("//registry.example/:_authToken={value}\n");
    cases.push(make.leak("a token of npm").file(".npmrc", text).wants(TOKEN, &value));

    let value = format!("{}{}", concat!("glp", "at-"), make.token(20));
    cases.push(make.leak("a token of GitLab").file("notes.txt", format!("\n{value}\n")).wants(TOKEN, &value));

    let id = format!("{}{}", concat!("AK", "IA"), make.letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16));
    let value = make.token(40);
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {value}\n");
    cases.push(make.leak("keys of AWS").file("aws/credentials", text).wants_any(&[TOKEN], &[&id, &value]));

    let (one, two) = (make.letters(b"123456789", 12), make.letters(b"123456789", 12));
    let value = format!("{}{one}-{two}-{}", concat!("xo", "xb-"), make.token(24));
    cases
        .push(make.leak("a token of Slack").file("bot.yaml", format!("bot: {value}\n")).wants(TOKEN, &value));

    let value = format!("{}{}", concat!("sk_", "live_"), make.token(24));
    cases.push(
        make.leak("a key of Stripe").file("shop.toml", format!("key = \"{value}\"\n")).wants(TOKEN, &value),
    );

    let key = make.pem("PRIVATE KEY").replace('\n', "\\n");
    let id = make.hex(40);
    let text = format!(
        "{{\n  \"type\": \"service_account\",\n  \"project_id\": \"a\",\n  \"private_key_id\": \"{id}\",\n  \"private_key\": \"{key}\",\n  \"client_email\": \"a@a.iam.gserviceaccount.com\"\n}}\n"
    );
    cases.push(
        make.leak("a service account of Google")
            .file("gcp.json", text)
            .wants_any(&[KEY, TOKEN], &["\"private_key\"", "service_account"]),
    );
    cases
}

const KEY: &str = "KEY001";
const TOKEN: &str = "TOK001";
