//! Secrets that the page seals, opened by kubeseal with the key of a controller.

use std::fs;
use std::process::Command;

use fantoccini::key::Key;
use libtest_mimic::{Failed, Trial};
use selkie::format::Format;
use serde_json::{Value as Json, json};

use super::driver::Browser;
use super::{data, data_path, test};
use crate::peer::{Peer, piped};

pub fn tests() -> Vec<Trial> {
    vec![
        test("kubeseal_opens_what_a_form_seals", &[Peer::Kubeseal], form),
        test("kubeseal_opens_what_the_keyboard_alone_seals", &[Peer::Kubeseal], keyboard),
        test("kubeseal_opens_the_secrets_of_manifests", &[Peer::Kubeseal], manifests),
        test("mistakes_are_told_where_they_are", &[], mistakes),
        test("expired_certificates_are_refused_unless_accepted", &[Peer::Kubeseal], expired),
    ]
}

fn form(browser: &Browser) -> Result<(), Failed> {
    let file = browser.folder().join("tls.key");
    fs::write(&file, [0, 159, 146, 150, 10])?;
    browser.paste_into("certificate", &data("cert.pem")?)?;
    let facts = browser.text("certificate-facts")?;
    for fact in ["SHA256:", "CN=x", "valid until 2036-11-20"] {
        if !facts.contains(fact) {
            return Err(format!("{fact} is missing in {facts}").into());
        }
    }
    browser.type_into("name", "db")?;
    browser.type_into("namespace", "shop")?;
    browser.type_into("type", "example.org/custom")?;
    browser.type_into("key-1", "password")?;
    browser.type_into("value-1", "of the sea\nand \u{1f9ad} more")?;
    browser.click("#add")?;
    browser.choose_file("[aria-label='Value 2'] input[type=file]", &file)?;
    browser.wait_for("[aria-label='Value 2'] .chosen:not([hidden])")?;
    browser.picture("seal-form")?;
    browser.click("#seal")?;
    browser.wait_for("#seal-result:not([hidden])")?;
    browser.picture("seal-result")?;
    let secret = unseal(&browser.value("sealed")?)?;
    let expected = json!({"password": "b2YgdGhlIHNlYQphbmQg8J+mrSBtb3Jl", "tls.key": "AJ+Slgo="});
    same(&secret["data"], &expected)?;
    same(&secret["type"], &"example.org/custom".into())?;
    let place = json!([secret["metadata"]["namespace"], secret["metadata"]["name"]]);
    same(&place, &json!(["shop", "db"]))?;
    download(browser)
}

/// What is downloaded is what is shown.
fn download(browser: &Browser) -> Result<(), Failed> {
    let folder = browser.folder().join("downloads");
    fs::create_dir(&folder)?;
    browser.command("Browser.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder}))?;
    browser.click("[data-download=sealed]")?;
    let path = folder.join("db-sealed.yaml");
    // The browser writes beside and renames, as soon as it is at it.
    for _ in 0..100 {
        if path.exists() {
            return same(&fs::read_to_string(&path)?.into(), &browser.value("sealed")?.into());
        }
        browser.script_async("setTimeout(arguments[0], 100)", Vec::new())?;
    }
    Err("nothing was downloaded".into())
}

fn keyboard(browser: &Browser) -> Result<(), Failed> {
    let tab = char::from(Key::Tab).to_string();
    let mut passed = Vec::new();
    // To each field in turn, with what is typed into it.
    let certificate = data("cert.pem")?;
    let typed = [("name", "db"), ("namespace", "shop"), ("key-1", "password"), ("value-1", "of the sea")];
    loop {
        browser.press(&tab)?;
        let focused = browser.focused()?;
        passed.push(focused.clone());
        if focused == "certificate" {
            browser.command("Input.insertText", json!({"text": certificate}))?;
        }
        if let Some((_, text)) = typed.iter().find(|(field, _)| *field == focused) {
            browser.press(text)?;
        }
        if focused == "seal" || passed.len() > 40 {
            break;
        }
    }
    let order: Vec<&str> = passed.iter().map(String::as_str).collect();
    let expected = [
        "To the form",
        "clear",
        "tab-seal",
        "certificate",
        "file",
        "mode",
        "name",
        "namespace",
        "scope",
        "type",
        "key-1",
        "value-1",
        "Show for value 1",
        "file",
        "Remove for value 1",
        "add",
        "seal",
    ];
    same(&json!(order), &json!(expected))?;
    browser.press(&char::from(Key::Enter).to_string())?;
    browser.wait_for("#seal-result:not([hidden])")?;
    // What was made is where the focus is, and what can be done with it is next.
    same(&browser.focused()?.into(), &"SealedSecret".into())?;
    browser.press(&tab)?;
    same(&browser.focused()?.into(), &"sealed".into())?;
    let secret = unseal(&browser.value("sealed")?)?;
    same(&secret["data"], &json!({"password": "b2YgdGhlIHNlYQ=="}))?;
    browser.script("document.getElementById('tab-seal').focus()", Vec::new())?;
    browser.press(&char::from(Key::Right).to_string())?;
    browser.wait_for("#panel-encrypt:not([hidden])")?;
    same(&browser.focused()?.into(), &"tab-encrypt".into())
}

fn manifests(browser: &Browser) -> Result<(), Failed> {
    let secret = |name: &str, namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n{namespace}stringData:\n  a: \"1\"\n"
        )
    };
    let both = format!("{}---\n{}", secret("one", "  namespace: x\n"), secret("two", ""));
    browser.paste_into("certificate", &data("cert.pem")?)?;
    browser.click("[name=mode][value=manifest]")?;
    browser.paste_into("manifest", &both)?;
    browser.type_into("manifest-namespace", "shop")?;
    for (scope, expected) in [
        ("", [("x", "one"), ("shop", "two")]),
        ("namespace-wide", [("x", "one"), ("shop", "two")]),
        ("cluster-wide", [("x", "one"), ("", "two")]),
    ] {
        browser.choose("manifest-scope", scope)?;
        browser.click("#seal")?;
        browser.wait_for("#seal-result:not([hidden])")?;
        let text = browser.value("sealed")?;
        let documents: Vec<&str> = text.split("---\n").filter(|text| !text.is_empty()).collect();
        if documents.len() != expected.len() {
            return Err(text.into());
        }
        for (document, (namespace, name)) in documents.into_iter().zip(expected) {
            let secret = unseal(document)?;
            same(&secret["data"], &json!({"a": "MQ=="}))?;
            let found = secret["metadata"]["namespace"].as_str().unwrap_or_default();
            same(&json!([found, secret["metadata"]["name"]]), &json!([namespace, name]))?;
        }
    }
    browser.picture("seal-manifest")
}

fn mistakes(browser: &Browser) -> Result<(), Failed> {
    let refused = |focus: &str, words: &[&str]| {
        browser.click("#seal")?;
        browser.wait_for("#seal-problem p")?;
        let text = browser.text("seal-problem")?;
        if let Some(word) = words.iter().find(|&&word| !text.contains(word)) {
            return Err(format!("{word:?} is missing in {text:?}").into());
        }
        same(&browser.focused()?.into(), &focus.into())
    };
    refused("certificate", &["There is no certificate in PEM", "kubectl seal cert"])?;
    browser.paste_into("certificate", &data("cli/ec.crt")?)?;
    refused("certificate", &["not an RSA key"])?;
    clear_field(browser, "certificate")?;
    browser.paste_into("certificate", &data("key-pkcs1.pem")?)?;
    refused("certificate", &["This is a private key"])?;
    clear_field(browser, "certificate")?;
    browser.paste_into("certificate", &data("cert.pem")?)?;
    refused("name", &["The Secret has no name"])?;
    browser.picture("seal-problem")?;
    browser.type_into("name", "db")?;
    refused("namespace", &["no namespace"])?;
    browser.type_into("namespace", "Shop")?;
    browser.type_into("key-1", "a")?;
    refused("namespace", &["Namespace \"Shop\" is no name"])?;
    browser.click("[name=mode][value=manifest]")?;
    browser.type_into("manifest", "apiVersion: v1\nkind: Secret\nstringData:\n  a: \"hunter2\n")?;
    refused("manifest", &["Line "])?;
    if browser.text("seal-problem")?.contains("hunter2") {
        return Err("a value is cited".into());
    }
    same(
        &browser.script("return document.activeElement.getAttribute('aria-invalid')", Vec::new())?,
        &"true".into(),
    )
}

fn expired(browser: &Browser) -> Result<(), Failed> {
    browser.paste_into("certificate", &data("cert.pem")?)?;
    browser.type_into("name", "db")?;
    browser.type_into("namespace", "shop")?;
    browser.type_into("key-1", "a")?;
    browser.type_into("value-1", "1")?;
    browser.script("Date.now = () => 2.5e12", Vec::new())?;
    // The page looks at the certificate as it is typed.
    browser.type_into("certificate", "\n")?;
    browser.wait_for("#expired-choice:not([hidden])")?;
    browser.click("#seal")?;
    browser.wait_for("#seal-problem p")?;
    let text = browser.text("seal-problem")?;
    if !text.contains("The certificate expired on ") {
        return Err(text.into());
    }
    browser.picture("seal-expired")?;
    browser.click("#expired")?;
    browser.click("#seal")?;
    browser.wait_for("#seal-result:not([hidden])")?;
    same(&unseal(&browser.value("sealed")?)?["data"], &json!({"a": "MQ=="}))
}

fn clear_field(browser: &Browser, id: &str) -> Result<(), Failed> {
    let script = "const field = document.getElementById(arguments[0]); field.value = '';
        field.dispatchEvent(new Event('input', { bubbles: true }))";
    browser.script(script, vec![id.into()]).map(drop)
}

/// Returns the Secret of a SealedSecret, as kubeseal opens it with the key in the form that the controller keeps.
fn unseal(sealed: &str) -> Result<Json, Failed> {
    let tree = Format::Yaml.read(sealed).map_err(|error| format!("{error}: {sealed}"))?;
    let object = tree.to_json(*tree.documents().first().ok_or("there is a document")?);
    let kubeseal = Peer::Kubeseal.path().ok_or("kubeseal is not there")?;
    let mut command = Command::new(kubeseal);
    command
        .env_clear()
        .arg("--recovery-unseal")
        .arg("--recovery-private-key")
        .arg(data_path("key-pkcs1.pem"));
    Ok(serde_json::from_slice(&piped(&mut command, object.to_string().as_bytes())?)?)
}

/// Fails if two values are not the same.
pub fn same(found: &Json, expected: &Json) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found} is not {expected}").into()) }
}
