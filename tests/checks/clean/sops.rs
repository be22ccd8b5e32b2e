//! Files that are encrypted as they should be: in every format, by every kind of rule.

use selkie::format::Format;
use selkie::keys::age;
use selkie::keys::{KeyGroup, MasterKey};

use crate::checks::case::Case;
use crate::checks::maker::{ALL, DATA, Maker, indented, secret};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = formats(make);
    cases.extend(rules(make));
    cases.extend(documents(make));
    cases.extend(policies(make));
    cases
}

fn formats(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = make.sops_secret(&secret(&format!("stringData:\n  password: {value}\n")));
    cases.push(make.clean("an encrypted Secret").file("db.yaml", text));

    let value = make.password();
    let text = make.sops(
        &format!("db:\n  password: {value}\n  ports: [5432, 5433]\n  on: true\n"),
        Format::Yaml,
        ALL,
    );
    cases.push(make.clean("encrypted values").file("values.enc.yaml", text));

    let value = make.password();
    let text = make.sops(
        &format!("{{\"db\": {{\"password\": \"{value}\", \"port\": 5432}}, \"list\": [\"{value}\"]}}"),
        Format::Json,
        ALL,
    );
    cases.push(make.clean("encrypted JSON").file("values.enc.json", text));

    let value = make.password();
    let text = make.sops(&format!("# the database\nDB_HOST=db\nDB_PASSWORD={value}\n"), Format::Dotenv, ALL);
    cases.push(make.clean("encrypted variables").file("prod.env", text));

    let value = make.password();
    let text = make.sops(&format!("[db]\nhost = db\npassword = {value}\n"), Format::Ini, ALL);
    cases.push(make.clean("encrypted INI").file("db.ini", text));

    let key = make.pem("RSA PRIVATE KEY");
    let text = make.sops(&key, Format::Binary, ALL);
    cases.push(make.clean("an encrypted key").file("tls.key.enc", text.clone()));
    cases.push(make.clean("an encrypted key, with a name of JSON").file("tls.key.json", text));

    let value = make.password();
    let text =
        make.sops_secret(&secret(&format!("stringData:\n  password: {value}\n"))).replace('\n', "\r\n");
    cases.push(make.clean("an encrypted Secret with lines of Windows").file("db.yaml", text));
    cases
}

fn rules(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, rule, key) in [
        ("an encrypted suffix", ("encrypted_suffix", "_secret"), "login_secret"),
        ("an unencrypted suffix", ("unencrypted_suffix", "_clear"), "login"),
        ("an unencrypted pattern", ("unencrypted_regex", "^(host_clear|kind|apiVersion)$"), "login"),
        ("an encrypted pattern", ("encrypted_regex", "^login"), "login"),
    ] {
        let value = make.password();
        let text = make.sops(&format!("host_clear: db.shop\n{key}: {value}\n"), Format::Yaml, rule);
        cases.push(make.clean(name).file("values.yaml", text));
    }
    for (name, rule, comment) in [
        ("comments that say what is encrypted", ("encrypted_comment_regex", "sops:enc"), "# sops:enc\n"),
        ("comments that say what is in clear", ("unencrypted_comment_regex", "sops:clear"), ""),
    ] {
        let value = make.password();
        let clear = if comment.is_empty() { "# sops:clear\n" } else { "" };
        let text = make.sops(&format!("{clear}host: db.shop\n{comment}login: {value}\n"), Format::Yaml, rule);
        cases.push(make.clean(name).file("values.yaml", text));
    }
    let value = make.password();
    let text = secret(&format!("stringData:\n  password: {value}\n"));
    let text = make.sops_with(&text, Format::Yaml, DATA, |metadata| metadata.mac_only_encrypted = true);
    cases.push(make.clean("a MAC of encrypted values only").file("db.yaml", text));

    let value = make.password();
    let before =
        make.sops_with(&secret(&format!("stringData:\n  a: {value}\n")), Format::Yaml, DATA, |metadata| {
            metadata.mac_only_encrypted = true;
        });
    let text = before.replace("namespace: shop", "namespace: other");
    cases.push(
        make.clean("a field in clear is changed that no MAC covers")
            .old("db.yaml", before)
            .file("db.yaml", text),
    );

    let value = make.password();
    let other = make.other.clone();
    let text = make.sops_with(&format!("login: {value}\n"), Format::Yaml, ALL, |metadata| {
        let keys = MasterKey::parse_list(&age::KIND, &other).expect("a recipient");
        metadata.groups.push(KeyGroup(keys));
        metadata.shamir_threshold = 2;
    });
    cases.push(make.clean("shares of the key in groups").file("values.yaml", text));
    cases
}

fn documents(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let one = secret(&format!("stringData:\n  a: {value}\n"));
    let text = make.sops_secret(&format!("{one}---\n{}", one.replace("name: db", "name: other")));
    cases.push(make.clean("two encrypted documents").file("all.yaml", text));

    let text = make.sops_secret(&secret("stringData:\n  empty: \"\"\n  nothing: null\n  a: b\n"));
    cases.push(make.clean("empty values").file("db.yaml", text));

    let value = make.password();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n  -\n{}",
        indented(&secret(&format!("stringData:\n  a: {value}\n")), 4)
    );
    let text = make.sops_secret(&list);
    cases.push(make.clean("an encrypted list").file("all.yaml", text));

    let value = make.password();
    let text =
        make.sops_secret(&secret(&format!("stringData:\n  # of the database\n  a: {value}\n# the end\n")));
    cases.push(make.clean("encrypted comments").file("db.yaml", text));

    let value = make.password();
    let plain = format!(
        "apiVersion: isindir.github.com/v1alpha3\nkind: SopsSecret\nmetadata:\n  name: db\nspec:\n  secretTemplates:\n    - name: db\n      stringData:\n        password: {value}\n"
    );
    let text = make.sops(&plain, Format::Yaml, ("encrypted_suffix", "Templates"));
    cases.push(make.clean("an encrypted SopsSecret").file("db.yaml", text));

    let value = make.password();
    let before = make.sops_secret(&secret(&format!("stringData:\n  a: {value}\n")));
    let next = make.password();
    let text =
        make.sops_secret(&secret(&format!("stringData:\n  a: {next}\n"))).replace("2026-01-02", "2026-01-03");
    cases.push(make.clean("a rotated value").old("db.yaml", before).file("db.yaml", text));

    let value = make.password();
    let before = secret(&format!("stringData:\n  a: {value}\n"));
    let text = make.sops_secret(&before);
    cases.push(make.clean("a Secret is encrypted at last").old("db.yaml", before).file("db.yaml", text));
    cases
}

fn policies(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let config = format!("creation_rules:\n  - path_regex: .*\\.sops\\.ya?ml\n    age: {}\n", make.recipient);
    cases.push(make.clean("a rule that is for its own file, too").file(".sops.yaml", config.clone()));
    cases.push(
        make.clean("an empty file of a rule").file(".sops.yaml", config.clone()).file("a.sops.yaml", ""),
    );

    let value = make.password();
    let text = make.sops(&format!("login: {value}\n"), Format::Yaml, ALL);
    cases.push(make.clean("a file of a rule").file(".sops.yaml", config.clone()).file("a/b.sops.yaml", text));

    let text = secret("stringData:\n  password: ${DB_PASSWORD}\n");
    cases.push(
        make.clean("a placeholder in a file of a rule")
            .file(".sops.yaml", config.clone())
            .file("a.sops.yaml", text),
    );

    let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n$patch: delete\n";
    cases.push(
        make.clean("a deletion in a file of a rule")
            .file(".sops.yaml", config.clone())
            .file("a.sops.yaml", text),
    );

    let text = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {a: b}\n";
    cases.push(
        make.clean("a file beside those of a rule")
            .file(".sops.yaml", config.clone())
            .file("apps/sops.yaml", text),
    );

    let everything = format!("creation_rules:\n  - path_regex: \\.yaml$\n    age: {}\n", make.recipient);
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 2}\n";
    let case = make.clean("a Deployment and a rule for all of YAML").file(".sops.yaml", everything.clone());
    cases.push(case.file("apps/a.yaml", text));

    let case = make.clean("values in clear and a rule for all of YAML").file(".sops.yaml", everything);
    cases.push(case.file("chart/values.yaml", "replicas: 2\nimage: {repository: example/app, tag: v1}\n"));

    let before = config.clone();
    let wider = config.replace(
        "creation_rules:\n",
        &format!("creation_rules:\n  - path_regex: \\.enc$\n    age: {}\n", make.recipient),
    );
    cases.push(make.clean("a further rule").old(".sops.yaml", before).file(".sops.yaml", wider));

    let config =
        "stores:\n  yaml:\n    indent: 2\ndestination_rules:\n  - path_regex: public/\n    s3_bucket: a\n";
    cases.push(
        make.clean("a configuration without creation rules")
            .file(".sops.yaml", config)
            .file("a.yaml", "a: b\n"),
    );
    cases
}
