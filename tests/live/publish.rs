//! Documents that both sides publish to the same servers: what arrives is compared.

mod places;

use std::collections::BTreeMap;
use std::fs;

use libtest_mimic::{Failed, Trial};
use selkie::format::Format;
use selkie::sops::Metadata;
use serde_json::{Value as Json, json};

use super::moto::Moto;
use crate::golden::same_text;
use crate::peer::Peer;
use places::{Gcs, Openbao, Side, Work, has_python};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    let mut add = |needs: &[Peer], is_possible: bool, name: &str, run: fn(&Work) -> Result<(), Failed>| {
        let is_absent = !is_possible || needs.iter().any(|peer| peer.path().is_none());
        let test = Peer::Sops313.test(format!("publish::{name}"), move |sops| run(&Work::new(&sops)?));
        let is_absent = is_absent || Peer::Sops313.path().is_none();
        tests.push(test.with_ignored_flag(is_absent));
    };
    add(&[Peer::Moto], true, "s3_keeps_the_bytes_of_nested_folders", s3_keeps_the_bytes);
    add(&[Peer::Moto], true, "s3_gets_files_of_others", s3_gets_files_of_others);
    add(&[Peer::Moto], true, "s3_gets_what_recreation_rules_say", s3_gets_what_rules_say);
    add(&[Peer::Moto], true, "s3_gets_nothing_that_is_refused", s3_gets_nothing_that_is_refused);
    add(&[], has_python(), "gcs_keeps_the_bytes", gcs_keeps_the_bytes);
    add(&[], has_python(), "gcs_says_why_it_refuses", gcs_says_why_it_refuses);
    add(&[Peer::Openbao], true, "vault_keeps_values", vault_keeps_values);
    add(&[Peer::Openbao], true, "vault_keeps_its_version_if_nothing_changed", vault_keeps_its_version);
    add(&[Peer::Openbao], true, "vault_says_why_it_refuses", vault_says_why_it_refuses);
    tests
}

/// Documents of each format, by their path.
const DOCUMENTS: &[(&str, &str)] = &[
    (
        "d/a.yaml",
        "a: one\n# note\nlist: [1, two, [3]]\nm: {t: true, f: 1.5, n: null, i: 7}\nplain_unencrypted: x\n",
    ),
    ("d/b.json", "{\n\t\"a\": \"one\",\n\t\"m\": {\"x\": 1}\n}\n"),
    ("d/sub/c.env", "A=one\nB=two\n"),
    ("d/sub/deeper/d.ini", "[s]\nk = v\n"),
    ("d/sub/deeper/e.bin", "no structure"),
];

fn s3_keeps_the_bytes(work: &Work) -> Result<(), Failed> {
    let moto = moto()?;
    work.encrypt(DOCUMENTS)?;
    for side in Side::ALL {
        let bucket = format!("bytes-{}", side.name());
        create_bucket(moto, &bucket)?;
        let rule = format!("- path_regex: ^d/\n  s3_bucket: {bucket}\n  s3_prefix: front/\n");
        let mut command = work.publish(side, &rule, &["d"])?;
        work.succeed(command.env("AWS_ENDPOINT_URL", moto.url()))?;
        let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (path, _) in DOCUMENTS {
            expected.insert(path.replacen("d/", "front/", 1), fs::read(work.path(path))?);
        }
        assert_eq_json(
            &bucket,
            &json!(objects(moto, &bucket)?.keys().collect::<Vec<_>>()),
            &json!(expected.keys().collect::<Vec<_>>()),
        )?;
        for (key, (content, content_type)) in objects(moto, &bucket)? {
            same_text(&format!("{key} in {bucket}"), &content, &expected[&key])?;
            assert_eq_json(&key, &json!(content_type), &json!("application/octet-stream"))?;
        }
    }
    Ok(())
}

/// Who only brings a file somewhere needs no key to it, as with sops.
fn s3_gets_files_of_others(work: &Work) -> Result<(), Failed> {
    let moto = moto()?;
    work.encrypt_for(&work.stranger, &[("a.yaml", "a: one\n")])?;
    for side in Side::ALL {
        let bucket = format!("others-{}", side.name());
        create_bucket(moto, &bucket)?;
        let mut command = work.publish(side, &format!("- s3_bucket: {bucket}\n"), &["a.yaml"])?;
        command.env("AWS_ENDPOINT_URL", moto.url());
        if side == Side::Own {
            work.fail(&mut command, 128, "a.yaml")?;
            command.arg("--without-keys");
        }
        work.succeed(&mut command)?;
        let (content, _) = objects(moto, &bucket)?.remove("a.yaml").ok_or("it is not there")?;
        same_text(&bucket, &content, &fs::read(work.path("a.yaml"))?)?;
    }
    Ok(())
}

/// A rule for each selector; what sops carries over as well is compared with what it makes of it.
fn s3_gets_what_rules_say(work: &Work) -> Result<(), Failed> {
    let moto = moto()?;
    for side in Side::ALL {
        create_bucket(moto, &format!("rules-{}", side.name()))?;
    }
    let text = "aa: one\n# mark\nbb: two\nm:\n  aa: three\n  n: null\n";
    work.encrypt(&[("a.yaml", text)])?;
    let keys = format!("age: {}", work.other);
    let groups = format!(
        "shamir_threshold: 2\n    key_groups: [{{age: [{0}]}}, {{age: [{0}, {1}]}}, {{age: [{1}]}}]",
        work.recipient, work.other
    );
    let cases = [
        (keys.as_str(), "", true),
        (&keys, "unencrypted_suffix: a", true),
        (&keys, "encrypted_suffix: a", true),
        (&keys, "encrypted_regex: ^aa$", false),
        (&keys, "unencrypted_regex: ^aa$", false),
        (&keys, "encrypted_comment_regex: mark", false),
        (&keys, "unencrypted_comment_regex: mark", false),
        (&keys, "mac_only_encrypted: true", false),
        (&groups, "", true),
    ];
    for (number, (keys, selector, is_carried_over)) in cases.into_iter().enumerate() {
        let mut arrived = BTreeMap::new();
        for side in Side::ALL {
            let bucket = format!("rules-{}", side.name());
            let rule = format!(
                "- s3_bucket: {bucket}\n  s3_prefix: {number}-\n  recreation_rule:\n    {keys}\n    {selector}\n"
            );
            let mut command = work.publish(side, &rule, &["a.yaml"])?;
            work.succeed(command.env("AWS_ENDPOINT_URL", moto.url()))?;
            let key = format!("{number}-a.yaml");
            let (content, _) = objects(moto, &bucket)?.remove(&key).ok_or("it is not there")?;
            let path = format!("{bucket}-{key}");
            fs::write(work.path(&path), &content)?;
            // Real sops reads what arrived, whoever sent it.
            same_text(&format!("{path} with {selector}"), &work.decrypt(&path)?, &work.decrypt("a.yaml")?)?;
            arrived.insert(side.name(), described(&content)?);
        }
        let (sops, face, own) = (&arrived["sops"], &arrived["face"], &arrived["own"]);
        assert_eq_json(&format!("{keys} {selector}: both faces"), face, own)?;
        if is_carried_over {
            assert_eq_json(&format!("{keys} {selector}: sops"), face, sops)?;
        } else {
            let (field, value) = selector.split_once(": ").ok_or("a field")?;
            let expected = if value == "true" { json!(true) } else { json!(value) };
            assert_eq_json(selector, &face["metadata"][field], &expected)?;
        }
    }
    Ok(())
}

fn s3_gets_nothing_that_is_refused(work: &Work) -> Result<(), Failed> {
    let moto = moto()?;
    create_bucket(moto, "refused")?;
    work.encrypt(&[("a.yaml", "a: one\n"), ("d/a.yaml", "a: one\n"), ("d/b.yaml", "b: one\n")])?;
    let text = fs::read_to_string(work.path("a.yaml"))?;
    fs::write(work.path("d/broken.yaml"), text.replace("lastmodified: \"2", "lastmodified: \"1"))?;
    fs::write(work.path("plain.yaml"), "a: one\n")?;
    let rule = "- path_regex: yaml$\n  s3_bucket: refused\n";
    let missing = "- s3_bucket: nowhere-to-be-found\n";
    for side in [Side::Face, Side::Own] {
        for (rule, arguments, url, code, said) in [
            (rule, &["plain.yaml"][..], moto.url(), 1, "metadata"),
            (rule, &["d/broken.yaml"], moto.url(), 51, "MAC"),
            (rule, &["d"], moto.url(), 51, "MAC"),
            ("- path_regex: json\n  s3_bucket: refused\n", &["a.yaml"], moto.url(), 1, "destination"),
            (missing, &["a.yaml"], moto.url(), 1, "NoSuchBucket"),
            (rule, &["a.yaml"], "http://127.0.0.1:1".to_owned(), 1, "s3://refused/a.yaml"),
        ] {
            let mut command = work.publish(side, rule, arguments)?;
            work.fail(command.env("AWS_ENDPOINT_URL", url), code, said)?;
        }
        let mut command = work.publish(side, rule, &["a.yaml"])?;
        command.env("AWS_ENDPOINT_URL", moto.url());
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env_remove(name);
        }
        work.fail(&mut command, 1, "credentials")?;
        let mut command = work.publish(side, rule, &["a.yaml"])?;
        work.fail(command.env("AWS_ENDPOINT_URL", moto.url()).env_remove("AWS_REGION"), 1, "egion")?;
    }
    let there = objects(moto, "refused")?;
    if there.is_empty() { Ok(()) } else { Err(format!("{:?} arrived", there.keys()).into()) }
}

fn gcs_keeps_the_bytes(work: &Work) -> Result<(), Failed> {
    work.encrypt(DOCUMENTS)?;
    let gcs = Gcs::start(work, &["sops", "face=token", "own=token"])?;
    for side in Side::ALL {
        let rule = format!("- path_regex: ^d/\n  gcs_bucket: {}\n  gcs_prefix: 'front /'\n", side.name());
        let mut command = work.publish(side, &rule, &["d"])?;
        work.succeed(
            command.env("STORAGE_EMULATOR_HOST", gcs.host()).env("GOOGLE_OAUTH_ACCESS_TOKEN", "token"),
        )?;
        for (path, _) in DOCUMENTS {
            let name = path.replacen("d/", "front /", 1);
            let (content, content_type) = gcs.object(side.name(), &name)?;
            same_text(&format!("{name} of {}", side.name()), &content, &fs::read(work.path(path))?)?;
            assert_eq_json(&name, &json!(content_type), &json!("text/plain; charset=utf-8"))?;
        }
    }
    Ok(())
}

fn gcs_says_why_it_refuses(work: &Work) -> Result<(), Failed> {
    work.encrypt(&[("a.yaml", "a: one\n")])?;
    let gcs = Gcs::start(work, &["locked=token"])?;
    for side in [Side::Face, Side::Own] {
        for (bucket, token, said) in [
            ("locked", "other", "403"),
            ("locked", "", "401"),
            ("missing", "token", "The specified bucket does not exist."),
        ] {
            let mut command = work.publish(side, &format!("- gcs_bucket: {bucket}\n"), &["a.yaml"])?;
            command.env("STORAGE_EMULATOR_HOST", format!("http://{}", gcs.host()));
            work.fail(command.env("GOOGLE_OAUTH_ACCESS_TOKEN", token), 1, said)?;
        }
        let mut command = work.publish(side, "- gcs_bucket: locked\n", &["a.yaml"])?;
        work.fail(command.env("STORAGE_EMULATOR_HOST", "127.0.0.1:1"), 1, "gcs://locked/a.yaml")?;
    }
    gcs.object("locked", "a.yaml").err().map(drop).ok_or_else(|| "it arrived".into())
}

fn vault_keeps_values(work: &Work) -> Result<(), Failed> {
    let bao = Openbao::start(work)?;
    work.encrypt(DOCUMENTS)?;
    for version in [1, 2] {
        let mut arrived = BTreeMap::new();
        for side in Side::ALL {
            let mount = format!("{}{version}", side.name());
            bao.run(&["secrets", "enable", &format!("-path={mount}"), &format!("-version={version}"), "kv"])?;
            let rule = format!(
                "- vault_address: {}\n  vault_path: team/app\n  vault_kv_mount_name: {mount}/\n  \
                 vault_kv_version: {version}\n  omit_extensions: true\n",
                bao.address()
            );
            let mut command = work.publish(side, &rule, &["d"])?;
            work.succeed(command.env("VAULT_TOKEN", Openbao::TOKEN))?;
            let mut values = BTreeMap::new();
            for (path, _) in DOCUMENTS {
                let name = path.replacen("d/", "", 1);
                let name = name.rsplit_once('.').map_or(name.as_str(), |(name, _)| name);
                values.insert(name.to_owned(), bao.values(&mount, &format!("team/app/{name}"))?);
            }
            arrived.insert(side.name(), json!(values));
        }
        assert_eq_json("sops", &numbers(&arrived["face"]), &numbers(&arrived["sops"]))?;
        assert_eq_json("own", &arrived["own"], &arrived["face"])?;
    }
    Ok(())
}

/// What sops writes anew each time, since lists of maps are not what they were when they are read again.
fn vault_keeps_its_version(work: &Work) -> Result<(), Failed> {
    let bao = Openbao::start(work)?;
    work.encrypt(&[
        ("a.yaml", "a: [{x: y}, 1, 2.0]\n# note\nb:\n  # note\n  - z\n"),
        ("b.yaml", "b: two\n"),
    ])?;
    let rule = format!("- vault_address: {}\n  vault_path: app/\n", bao.address());
    for side in [Side::Face, Side::Own] {
        for _ in 0..2 {
            let mut command = work.publish(side, &rule, &["a.yaml"])?;
            work.succeed(command.env("VAULT_TOKEN", Openbao::TOKEN))?;
        }
    }
    let written = bao.read("secret", "app/a.yaml")?;
    assert_eq_json("the values", &written["data"]["data"], &json!({"a": [{"x": "y"}, 1, 2], "b": ["z"]}))?;
    assert_eq_json("the version", &written["data"]["metadata"]["version"], &json!(1))?;
    // Who may only write, writes.
    bao.policy("writer", "path \"secret/data/app/*\" { capabilities = [\"create\", \"update\"] }")?;
    let token = bao.token("writer")?;
    let mut command = work.publish(Side::Own, &rule, &["a.yaml"])?;
    work.succeed(command.env("VAULT_TOKEN", token))?;
    assert_eq_json(
        "the version",
        &bao.read("secret", "app/a.yaml")?["data"]["metadata"]["version"],
        &json!(2),
    )
}

fn vault_says_why_it_refuses(work: &Work) -> Result<(), Failed> {
    let bao = Openbao::start(work)?;
    work.encrypt(&[("a.yaml", "a: one\n"), ("multi.yaml", "a: one\n---\nb: two\n")])?;
    bao.policy("reader", "path \"secret/data/app/*\" { capabilities = [\"read\"] }")?;
    let reader = bao.token("reader")?;
    let rule = format!("- vault_address: {}\n  vault_path: app/\n", bao.address());
    let elsewhere = format!("{rule}  vault_kv_mount_name: nowhere\n");
    let unreachable = "- vault_address: http://127.0.0.1:1\n  vault_path: app/\n".to_owned();
    for side in [Side::Face, Side::Own] {
        for (rule, file, token, said) in [
            (&rule, "a.yaml", reader.as_str(), "denied"),
            (&rule, "a.yaml", "nonsense", "/v1/secret/data/app/a.yaml"),
            (&rule, "a.yaml", "", "token"),
            (&elsewhere, "a.yaml", Openbao::TOKEN, "/v1/nowhere/data/app/a.yaml"),
            (&unreachable, "a.yaml", Openbao::TOKEN, "http://127.0.0.1:1/v1/secret/data/app/a.yaml"),
            (&rule, "multi.yaml", Openbao::TOKEN, "one JSON object"),
        ] {
            let mut command = work.publish(side, rule, &[file])?;
            work.fail(command.env("VAULT_TOKEN", token), 1, said)?;
        }
        let mut command = work.publish(side, "- vault_path: app/\n", &["a.yaml"])?;
        work.fail(command.env("VAULT_TOKEN", Openbao::TOKEN), 1, "no server is named")?;
    }
    bao.read("secret", "app/a.yaml").err().map(drop).ok_or_else(|| "it arrived".into())
}

fn moto() -> Result<&'static Moto, Failed> {
    Moto::shared(&Peer::Moto.path().ok_or("moto is not there")?)
}

fn create_bucket(moto: &Moto, bucket: &str) -> Result<(), Failed> {
    moto.call("us-east-1", "s3", "create_bucket", json!({"Bucket": bucket})).map(drop)
}

/// Returns what is in a bucket, with its type.
fn objects(moto: &Moto, bucket: &str) -> Result<BTreeMap<String, (Vec<u8>, String)>, Failed> {
    use base64::Engine as _;
    let call = |operation, parameters| moto.call("us-east-1", "s3", operation, parameters);
    let list = call("list_objects_v2", json!({"Bucket": bucket}))?;
    let mut objects = BTreeMap::new();
    for object in list["Contents"].as_array().into_iter().flatten() {
        let key = object["Key"].as_str().ok_or("an object has a key")?;
        let got = call("get_object", json!({"Bucket": bucket, "Key": key}))?;
        let body = got["Body"].as_str().ok_or("an object has a body")?;
        let body = base64::prelude::BASE64_STANDARD.decode(body)?;
        let content_type = got["ContentType"].as_str().unwrap_or_default().to_owned();
        objects.insert(key.to_owned(), (body, content_type));
    }
    Ok(objects)
}

/// Returns what of a document does not depend on chance: keys and rules, and which values are encrypted.
fn described(content: &[u8]) -> Result<Json, Failed> {
    let tree = Format::Yaml.read(content)?;
    let metadata = Metadata::from_entry(tree.metadata())?;
    let mut fields = metadata.to_json();
    for chance in ["lastmodified", "mac", "version", "selkie_layout"] {
        fields.remove(chance);
    }
    fn without_chance(json: &mut Json) {
        match json {
            Json::Array(items) => items.iter_mut().for_each(without_chance),
            Json::Object(entries) => {
                entries.remove("enc");
                entries.values_mut().for_each(without_chance);
            }
            Json::String(text) if text.starts_with("ENC[") => "ENC".clone_into(text),
            _ => {}
        }
    }
    let root = *tree.documents().first().ok_or("a document")?;
    let mut described = json!({"metadata": fields, "values": tree.to_json(root)});
    without_chance(&mut described);
    Ok(described)
}

/// Returns JSON with numbers as Go's maps of anything have them.
fn numbers(json: &Json) -> Json {
    match json {
        Json::Array(items) => items.iter().map(numbers).collect(),
        Json::Number(number) => json!(number.as_f64()),
        Json::Object(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.clone(), numbers(value))).collect())
        }
        other => other.clone(),
    }
}

fn assert_eq_json(what: &str, found: &Json, expected: &Json) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found} in place of {expected}").into()) }
}
