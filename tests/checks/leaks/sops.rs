//! Files that should be encrypted and are not, or only in part, or can no longer be decrypted.

use selkie::format::Format;

use crate::checks::case::Case;
use crate::checks::maker::{ALL, DATA, Maker, secret};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = not_encrypted(make);
    cases.extend(values_in_clear(make));
    cases.extend(other_formats(make));
    cases.extend(broken(make));
    cases.extend(changed(make));
    cases.extend(policies(make));
    cases
}

fn not_encrypted(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = format!("host: db.shop\nlogin: {value}\n");
    let case = make.leak("a file of a creation rule").file(".sops.yaml", rule(make, "\\.enc\\.yaml$", ""));
    cases.push(case.file("config/db.enc.yaml", text.clone()).wants_any(&["SOPS001"], &["host", "login"]));

    let value = make.password();
    let text = format!("{{\n  \"login\": \"{value}\"\n}}\n");
    let case = make.leak("a file of a creation rule, in JSON").file(".sops.yaml", rule(make, "secrets/", ""));
    cases.push(case.file("a/secrets/db.json", text).wants_any(&["SOPS001"], &["{", "login"]));

    let value = make.password();
    let text = format!("DB_PASSWORD={value}\n");
    let case =
        make.leak("a file of the creation rule of a folder").file("a/.sops.yaml", rule(make, "^prod/.*", ""));
    cases.push(case.file("a/prod/db.env", text).wants("SOPS001", "DB_PASSWORD"));

    let value = make.password();
    let text = format!("host: db.shop\npassword: {value}\n");
    let everything = format!("creation_rules:\n  - age: {}\n", make.recipient);
    let case = make.leak("a file of a rule without any path").file(".sops.yaml", everything);
    cases.push(case.file("x.yaml", text).wants("SOPS001", &value).only_warned());

    let value = make.password();
    let encrypted = make.sops_secret(&secret(&format!("stringData:\n  password: {value}\n")));
    let mut text = secret(&format!("stringData:\n  password: {value}\n"));
    text.push_str(&encrypted[encrypted.find("sops:").expect("metadata")..]);
    let case = make.leak("metadata, and nothing is encrypted").file("db.yaml", text);
    cases.push(case.wants_any(&["SOPS006", "SOPS002"], &["password", "apiVersion", "sops:"]));

    let value = make.password();
    let text = secret(&format!("stringData:\n  password: {value}\n"))
        .replace("metadata:\n", "metadata:\n  annotations:\n    note: hidden\n");
    let text = make.sops(&text, Format::Yaml, ("encrypted_regex", "^note$"));
    cases.push(
        make.leak("a rule that selects too little of a Secret")
            .file("db.yaml", text)
            .wants_any(&["SOPS006", "K8S001"], &["password", "stringData"]),
    );
    cases
}

fn values_in_clear(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, path, value) in [
        ("a value in clear", "db.yaml", None),
        ("a number in clear", "a/db.yaml", Some("48213377")),
        ("a truth in clear", "db.yml", Some("true")),
    ] {
        let hidden = make.password();
        let text = make.sops_secret(&secret(&format!("stringData:\n  password: {hidden}\n")));
        let value = value.map_or_else(|| make.password(), str::to_owned);
        let text = text.replace("stringData:\n", &format!("stringData:\n  added: {value}\n"));
        cases.push(make.leak(name).file(path, text).wants(CLEAR, "added"));
    }
    let (hidden, value) = (make.password(), make.password());
    let encrypted = make.sops(
        &format!("db:\n  login: {hidden}\n  list:\n    - {hidden}\nother: {hidden}\n"),
        Format::Yaml,
        ALL,
    );
    let text = encrypted.replace("other:", &format!("between: {value}\nother:"));
    cases.push(make.leak("a value in clear among others").file("values.yaml", text).wants(CLEAR, &value));

    let (hidden, value) = (make.password(), make.password());
    let text = make.sops(
        &format!("{{\n  \"a\": \"{hidden}\",\n  \"b\": {{\n    \"c\": \"{hidden}\"\n  }}\n}}\n"),
        Format::Json,
        ALL,
    );
    let line = text.lines().find(|line| line.contains("\"c\"")).expect("it is there").to_owned();
    let text = text.replace(&line, &format!("    \"c\": \"{value}\""));
    cases.push(make.leak("a value in clear in JSON").file("values.json", text).wants(CLEAR, &value));

    let (one, two) = (make.password(), make.password());
    let text = format!(
        "{}---\n{}",
        secret(&format!("stringData:\n  a: {one}\n")),
        secret(&format!("stringData:\n  b: {one}\n"))
    );
    let text = make.sops_secret(&text);
    let at = text.rfind("stringData:\n").expect("two documents") + "stringData:\n".len();
    let text = format!("{}  c: {two}\n{}", &text[..at], &text[at..]);
    cases.push(make.leak("a value in clear in a second document").file("all.yaml", text).wants(CLEAR, &two));

    let (one, two) = (make.password(), make.password());
    let before = make.sops_secret(&secret(&format!("stringData:\n  a: {one}\n")));
    let text = before.replace("stringData:\n", &format!("stringData:\n  b: {two}\n"));
    let case = make.leak("a value is added in clear").old("db.yaml", before);
    cases.push(case.file("db.yaml", text).wants(CLEAR, &two));

    let (one, two) = (make.password(), make.password());
    let text = format!("login: {one}\npassword_unencrypted: {two}\n");
    let text = make.sops(&text, Format::Yaml, ALL);
    cases.push(
        make.leak("a suffix that keeps a password in clear").file("values.yaml", text).wants("SOPS007", &two),
    );

    let (one, two) = (make.password(), make.password());
    let annotation = format!(
        "metadata:\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"db\"}},\"stringData\":{{\"a\":\"{two}\"}}}}'\n"
    );
    let text = secret(&format!("stringData:\n  a: {one}\n")).replace("metadata:\n", &annotation);
    let text = make.sops_secret(&text);
    cases.push(
        make.leak("what was applied last, beside encrypted values")
            .file("db.yaml", text)
            .wants_any(&["SOPS007", "K8S002"], &[&two, "last-applied"]),
    );

    let (one, key) = (make.password(), make.pem("RSA PRIVATE KEY"));
    let text = format!("login: {one}\ncert_unencrypted: |\n{}", crate::checks::maker::indented(&key, 2));
    let text = make.sops(&text, Format::Yaml, ALL);
    cases.push(
        make.leak("a key in the part in clear")
            .file("values.yaml", text)
            .wants_any(&["SOPS007", "KEY001"], &["cert_unencrypted", "BEGIN"]),
    );

    let (one, two) = (make.password(), make.password());
    let text = make.sops_secret(&secret(&format!("stringData:\n  a: {one}\n")));
    let text = text.replace("stringData:\n", &format!("stringData:\n  # password: {two}\n"));
    cases.push(make.leak("a comment in clear").file("db.yaml", text).wants("SOPS008", &two));
    cases
}

fn other_formats(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let (one, two) = (make.password(), make.password());
    let text = make.sops(&format!("HOST=db\nLOGIN={one}\n"), Format::Dotenv, ALL);
    let text = format!("DB_PASSWORD={two}\n{text}");
    cases.push(make.leak("a variable in clear").file("prod.env", text).wants(CLEAR, &two));

    let (one, two) = (make.password(), make.password());
    let text = make.sops(&format!("[db]\nlogin = {one}\n"), Format::Ini, ALL);
    let text = text.replace("[db]\n", &format!("[db]\nother = {two}\n"));
    cases.push(make.leak("an entry in clear of INI").file("db.ini", text).wants(CLEAR, &two));
    cases
}

fn broken(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, from, to) in [
        ("a cut value", ",type:str]", ""),
        ("another cipher", "ENC[AES256_GCM,", "ENC[AES128_GCM,"),
        ("another type", ",type:str]", ",type:text]"),
    ] {
        let value = make.password();
        let text = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n  b: {value}\n")));
        let line =
            text.lines().find(|line| line.trim_start().starts_with("b:")).expect("it is there").to_owned();
        let text = text.replace(&line, &line.replace(from, to));
        cases.push(make.leak(name).file("db.yaml", text).wants_any(&["SOPS003", "SOPS002"], &[" b: "]));
    }
    let value = make.password();
    let text = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n  b: {value}\n")));
    let encrypted = value_of(&text, "a:");
    let line = text.lines().find(|line| line.trim_start().starts_with("b:")).expect("it is there");
    let text = text.replace(line, &format!("  b: {encrypted}"));
    cases.push(
        make.leak("a value in two places").file("db.yaml", text).wants_any(&["SOPS009"], &[" a: ", " b: "]),
    );

    let value = make.password();
    let text = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let line = text.lines().find(|line| line.trim_start().starts_with("a:")).expect("it is there");
    let text = text.replace(line, &format!("<<<<<<< HEAD\n{line}\n=======\n{line}\n>>>>>>> other"));
    cases.push(
        make.leak("a conflict of a merge")
            .file("db.yaml", text)
            .wants_any(&["SOPS013", "META001"], &["<<<<<<<", "=======", "apiVersion", " a:"]),
    );

    let value = make.password();
    let text = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let line = text.lines().find(|line| line.trim_start().starts_with("a:")).expect("it is there");
    let text = text.replace(line, &format!("{line}\n  a: {value}"));
    let on = format!("a: {value}");
    cases.push(make.leak("a key twice").file("db.yaml", text).wants_any(&["SOPS013", CLEAR], &[&on, " a: "]));
    cases
}

fn changed(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let before = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let text = before.replace("namespace: shop", "namespace: other");
    let case = make.leak("a field in clear is changed without the key").old("db.yaml", before);
    cases.push(
        case.file("db.yaml", text).wants_any(&["SOPS004"], &["namespace", "sops:", "mac:", "lastmodified"]),
    );

    let value = make.password();
    let before = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n  b: {value}\n")));
    let line = before.lines().find(|line| line.trim_start().starts_with("b:")).expect("it is there");
    let text = before.replace(&format!("{line}\n"), "");
    let case = make.leak("a value is taken out without the key").old("db.yaml", &*before);
    cases.push(
        case.file("db.yaml", text)
            .wants_any(&["SOPS004"], &["stringData", " a:", "sops:", "mac:", "lastmodified", "apiVersion"]),
    );

    let value = make.password();
    let before = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let text = before.replace("  a: ENC", "  renamed: ENC");
    let case = make.leak("a value is moved without the key").old("db.yaml", before);
    cases.push(
        case.file("db.yaml", text)
            .wants_any(&["SOPS009", "SOPS004"], &["renamed", "sops:", "mac:", "lastmodified"]),
    );

    let value = make.password();
    let plain = secret(&format!("stringData:\n  a: {value}\n"));
    let text = make.sops_secret(&plain);
    let case = make.leak("a decrypted copy").file("db.yaml", text).file("db.dec.yaml", plain);
    cases.push(case.wants_any(&["SOPS010"], &["apiVersion", " a: "]));

    let value = make.password();
    let plain = format!("login: {value}\n");
    let text = make.sops(&plain, Format::Yaml, ALL);
    let case =
        make.leak("a decrypted copy of values").file("a/values.yaml", text).file("a/values.yaml.dec", plain);
    cases.push(case.wants("SOPS010", "login"));
    cases
}

fn policies(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let other = format!("creation_rules:\n  - age: {}\n", make.other);
    let case = make.leak("another recipient than the rule says").file(".sops.yaml", other);
    let lines = ["sops:", "age:", "recipient:", "apiVersion"];
    cases.push(case.file("db.yaml", text).wants_any(&["SOPS011"], &lines));

    let value = make.password();
    let text = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let (before, after) =
        (rule(make, "secrets/.*\\.yaml$", DATA.1), rule(make, "secrets/.*\\.json$", DATA.1));
    let case = make.leak("a rule that no longer is for encrypted files");
    let case = case.old("secrets/db.yaml", &*text).file("secrets/db.yaml", text).old(".sops.yaml", before);
    cases.push(case.file(".sops.yaml", after).wants_any(&["SOPS012"], RULE_LINES));

    let (before, after) = (rule(make, "", "^(data|stringData)$"), rule(make, "", "^data$"));
    let case = make.leak("a rule that encrypts less").old(".sops.yaml", before);
    cases.push(case.file(".sops.yaml", after).wants_any(&["SOPS012"], RULE_LINES));

    let before = rule(make, "", DATA.1);
    let after = before.replace(&make.recipient, &format!("{},{}", make.recipient, make.other));
    let case = make.leak("a rule that lets more people read").old(".sops.yaml", before);
    cases.push(case.file(".sops.yaml", after).wants_any(&["SOPS012"], RULE_LINES));
    cases
}

/// Returns a configuration with one rule.
fn rule(make: &Maker, path: &str, encrypted: &str) -> String {
    let mut text = "creation_rules:\n  -".to_owned();
    for (field, value) in [("path_regex", path), ("encrypted_regex", encrypted)] {
        if !value.is_empty() {
            text += &format!(" {field}: {value}\n   ");
        }
    }
    text + &format!(" age: {}\n", make.recipient)
}

fn value_of(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(key)).expect("it is there");
    line.trim().to_owned()
}

const CLEAR: &str = "SOPS002";
const RULE_LINES: &[&str] = &["creation_rules", "path_regex", "encrypted_regex", "age:"];
