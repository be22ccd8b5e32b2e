//! Much at once, a server that goes and comes back, and who is asked about whose Applications.

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::super::lab::{Application, Lab};
use super::super::test;
use super::shop::{Face, Mode, Shop, VALUES, yaml_secret};
use crate::live::sync_engine::{Canary, is_so, same, wait};

pub fn tests() -> Vec<Trial> {
    vec![
        test("our_server_dies_under_several_applications", &[], several),
        test("our_server_takes_a_big_repository", &[], big),
        test("our_server_leaves_others_alone", &[], leaves_others_alone),
        test("our_server_discovers_what_is_encrypted", &[], discovers),
    ]
}

fn several(lab: &'static Lab) -> Result<(), Failed> {
    let shop = Shop::new(lab, "several")?;
    let plugin = shop.start(Face::Native, Mode::Plain)?;
    let apps = ["several-a", "several-b", "several-c", "several-d", "several-e"];
    let write = |canary: &Canary| {
        apps.iter().try_for_each(|app| {
            shop.encrypt(&format!("{app}/secret.yaml"), &yaml_secret("in-yaml", &canary.text), &VALUES)
        })
    };
    let application = |name: &'static str| Application { name, path: name, ..shop.application() };
    let are_there = |revision: &str, canary: &Canary| {
        apps.iter().try_for_each(|app| {
            lab.synced(app, revision)?;
            same(app, lab.ground.secret_value(app, "in-yaml", "password")?, canary.text.clone())
        })
    };
    let first = Canary::new();
    write(&first)?;
    let revision = shop.repository.commit()?;
    apps.iter().try_for_each(|app| lab.apply(&application(app)))?;
    are_there(&revision, &first)?;

    plugin.kill()?;
    is_so("its socket was left", lab.sockets.join("several.sock").exists(), "")?;
    let second = Canary::new();
    write(&second)?;
    let revision = shop.repository.commit()?;
    lab.refresh(apps[0], false)?;
    lab.failed_at(apps[0], &["several"])?;
    same("the value", lab.ground.secret_value(apps[0], "in-yaml", "password")?, first.text.clone())?;

    let plugin = shop.start(Face::Native, Mode::Plain)?;
    apps.iter().try_for_each(|app| lab.refresh(app, true))?;
    are_there(&revision, &second)?;
    let starts = plugin.logged()?.matches("serves at").count();
    same("how often it began", starts, 2)?;
    shop.in_no_log(&first, &[])?;
    shop.in_no_log(&second, &[])
}

/// Of which an Application is a small part.
fn big(lab: &'static Lab) -> Result<(), Failed> {
    let (name, canary) = ("big", Canary::new());
    let shop = Shop::new(lab, name)?;
    let _plugin = shop.start(Face::Native, Mode::Plain)?;
    shop.write(&canary)?;
    for number in 0..FILES {
        let text = format!("# {number}\n{}", "words and more words\n".repeat(50));
        shop.repository.write(&format!("other/{}/{number}.txt", number % 40), text)?;
    }
    for number in 0..MAPS {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("map-{number}")},
            "data": {"number": number.to_string()},
        });
        shop.repository.write(&format!("shop/maps/{number}.yaml"), map.to_string())?;
    }
    let revision = shop.repository.commit()?;
    lab.apply(&shop.application())?;
    lab.synced(name, &revision)?;
    shop.holds_all(&canary)?;
    let maps = shop.list("api/v1/configmaps")?;
    let is_ours = |map: &&Json| map["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("map-"));
    same("ConfigMaps", maps.iter().filter(is_ours).count(), MAPS)?;
    shop.in_no_log(&canary, &[])
}

/// Neither is it sent what it is not named for, nor does another plugin miss what it is to find.
fn leaves_others_alone(lab: &'static Lab) -> Result<(), Failed> {
    let _alone = lab.alone_in_discovery();
    let shop = Shop::new(lab, "quiet")?;
    let ours = shop.start(Face::Native, Mode::Plain)?;
    let script = "echo '{apiVersion: v1, kind: ConfigMap, metadata: {name: by-another}}'";
    let spec = json!({
        "discover": {"fileName": "./marker"}, "generate": {"command": ["/bin/sh", "-ec"], "args": [script]},
    });
    let _other = lab.plugin_with("quiet-other", &spec, &[])?;
    shop.repository.write("quiet-folder/map.yaml", map("in-git"))?;
    shop.repository.write("quiet-found/marker", "")?;
    let revision = shop.repository.commit()?;
    for (name, expected) in [("quiet-folder", "in-git"), ("quiet-found", "by-another")] {
        lab.apply(&Application { name, path: name, plugin: None, ..shop.application() })?;
        lab.synced(name, &revision)?;
        lab.ground.object(&format!("/api/v1/namespaces/{name}/configmaps/{expected}"))?;
    }
    let log = ours.logged()?;
    is_so("it was not asked to render", !log.contains("rendered") && !log.contains("refused"), log)
}

/// Without the name of a plugin, what is encrypted is ours, and nothing else is.
fn discovers(lab: &'static Lab) -> Result<(), Failed> {
    let _alone = lab.alone_in_discovery();
    let (name, canary) = ("finder", Canary::new());
    let shop = Shop::new(lab, name)?;
    let keys = shop.folder.join("keys").display().to_string();
    let ours = shop.start_with(Face::Native, &["--keys", &keys, "--discover"])?;
    shop.encrypt("finder-ours/secret.yaml", &yaml_secret("in-yaml", &canary.text), &VALUES)?;
    shop.repository.write("finder-not/map.yaml", map("in-git"))?;
    let revision = shop.repository.commit()?;
    for name in ["finder-ours", "finder-not"] {
        lab.apply(&Application { name, path: name, plugin: None, ..shop.application() })?;
        lab.synced(name, &revision)?;
    }
    same("the value", lab.ground.secret_value("finder-ours", "in-yaml", "password")?, canary.text.clone())?;
    lab.ground.object("/api/v1/namespaces/finder-not/configmaps/in-git")?;
    let log = wait("it says what it rendered", || {
        let log = ours.logged()?;
        Ok(if log.contains("finder-ours") { Ok(log) } else { Err(log) })
    })?;
    is_so("nothing else is rendered", !log.contains("finder-not"), log)?;
    shop.in_no_log(&canary, &[])
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

const FILES: usize = 3000;
const MAPS: usize = 40;
