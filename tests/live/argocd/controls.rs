//! What a search for a plaintext finds with a plugin that decrypts, and does not find where nothing is decrypted on the
//! way: the controls of what is said of our own plugins.

use std::fs;

use libtest_mimic::{Failed, Trial};
use selkie::keys::age::{IdentityKind, generate};
use serde_json::{Value as Json, json};

use super::lab::{Application, Lab};
use super::test;
use crate::live::sync_engine::{Canary, Controller, is_so, ours, path_of, same, wait};
use crate::peer::{Peer, output, piped};

pub fn tests() -> Vec<Trial> {
    vec![
        test("sops_as_a_plugin_leaves_plaintext_in_redis", &[Peer::Sops313], sops_as_a_plugin),
        test("what_our_controller_opens_leaves_none", &[], opened_in_the_cluster),
        test("a_plugin_is_found_by_what_it_discovers", &[], discovered),
    ]
}

/// This plugin does what we do not want, and is found out.
fn sops_as_a_plugin(lab: &Lab) -> Result<(), Failed> {
    let name = "sops-plugin";
    let canaries = [Canary::new(), Canary::new()];
    let age = generate(IdentityKind::X25519, &mut rand_core::OsRng);
    let keys = lab.ground.folder(name)?.join("keys.txt");
    fs::write(&keys, age.secret.expose_secret())?;
    let script = format!(
        "for file in *.yaml; do echo ---; grep -q sops: \"$file\" || cat \"$file\"; grep -q sops: \"$file\" || continue; '{}' decrypt \"$file\"; done; \
         echo ---; echo 'apiVersion: v1'; echo 'kind: ConfigMap'; echo 'metadata: {{name: env}}'; \
         echo \"data: {{project: $ARGOCD_APP_PROJECT_NAME, own: $ARGOCD_ENV_OWN}}\"",
        path_of(Peer::Sops313)?.display()
    );
    let keys = keys.display().to_string();
    let _plugin = lab.plugin(name, &script, &[("SOPS_AGE_KEY_FILE", &keys)])?;
    lab.make_project(name)?;
    let repository = lab.repository(name)?;
    let bin = lab.ground.folder(name)?;
    let commit = |canary: &Canary| {
        let plain = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n    name: shop\nstringData:\n    password: {}\n",
            canary.text
        );
        repository.write("shop/secret.yaml", plain)?;
        let mut encrypt = ours(&bin, "kubectl-seal")?;
        encrypt.args(["encrypt", "--age", &age.recipient, "--encrypted-regex", "^(data|stringData)$"]);
        output(encrypt.args(["--in-place", "shop/secret.yaml"]).current_dir(repository.folder()))?;
        repository.commit()
    };
    let first = commit(&canaries[0])?;
    let application = Application {
        name,
        project: name,
        repository: &repository,
        path: "shop",
        plugin: Some(name),
        env: &[("OWN", "variable")],
        parameters: Json::Null,
    };
    lab.apply(&application)?;
    lab.synced(name, &first)?;
    let further = || lab.ground.find(&format!("/api/v1/namespaces/{name}/configmaps/further"));
    let password = || lab.ground.secret_value(name, "shop", "password");
    same("the password", password()?, canaries[0].text.clone())?;
    let map = lab.ground.object(&format!("/api/v1/namespaces/{name}/configmaps/env"))?;
    same("what the plugin knows", &map["data"], &json!({"own": "variable", "project": name}))?;
    repository.write("shop/further.yaml", FURTHER)?;
    let second = commit(&canaries[1])?;
    lab.refresh(name, false)?;
    lab.synced(name, &second)?;
    same("the password", password()?, canaries[1].text.clone())?;
    is_so("the other one is there", further()?.is_some(), "")?;
    lab.roll_back(name, &first)?;
    same("the password", password()?, canaries[0].text.clone())?;
    is_so("the other one is gone", further()?.is_none(), "")?;
    lab.apply(&application)?;
    lab.synced(name, &second)?;
    lab.refresh(name, true)?;
    lab.synced(name, &second)?;
    same("the password", password()?, canaries[1].text.clone())?;
    repository.remove("shop/further.yaml")?;
    let third = repository.commit()?;
    lab.refresh(name, false)?;
    lab.synced(name, &third)?;
    is_so("the other one is gone", further()?.is_none(), "")?;
    let held = lab.redis()?;
    for canary in &canaries {
        let found = canary.names(&held);
        let is_found = found.iter().any(|key| key.starts_with("mfst|") && is_in_clear(canary, &held[*key]));
        is_so("Redis holds the plaintext", is_found, format!("{found:?} of {:?}", held.keys()))?;
    }
    let logs = lab.logs()?;
    let expected = ["redis", "repo-server", "application-controller", "cmp-sops-plugin"];
    for name in expected {
        let log = logs.get(&format!("argocd-{name}.log")).ok_or_else(|| format!("{name} has no log"))?;
        is_so("it logs", !log.is_empty(), name)?;
    }
    // Its plugin server tells what a command prints.
    same("logs with the plaintext", canaries[0].names(&logs), vec!["argocd-cmp-sops-plugin.log"])?;
    repository.write("shop/secret.yaml", "kind: [")?;
    repository.commit()?;
    lab.refresh(name, false)?;
    let message = lab.failed(name)?;
    is_so("it says so", message.contains("error generating manifests"), &message)?;
    lab.delete(name)
}

fn is_in_clear(canary: &Canary, bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains(&canary.text)
}

/// SealedSecrets and SopsSecrets are opened behind Argo CD's back.
fn opened_in_the_cluster(lab: &Lab) -> Result<(), Failed> {
    let (name, canary) = ("argocd-opened", Canary::new());
    let _alone = lab.alone_in_discovery();
    let controller = Controller::get()?;
    let age = generate(IdentityKind::X25519, &mut rand_core::OsRng);
    lab.ground.cluster.make_namespace(name)?;
    let keys = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sops-keys", "namespace": name},
        "stringData": {"own.agekey": String::from_utf8_lossy(age.secret.expose_secret())},
    });
    lab.ground.cluster.apply(keys.to_string())?;
    let bin = lab.ground.folder(&format!("{name}-bin"))?;
    let repository = lab.repository(name)?;
    let mut seal = ours(&bin, "kubectl-seal")?;
    seal.args(["seal", "--namespace", name, "--cert"]).arg(&controller.certificate);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sealed"},
        "stringData": {"password": canary.text},
    });
    repository.write("shop/sealed.yaml", piped(&mut seal, secret.to_string().as_bytes())?)?;
    let mut encrypt = ours(&bin, "kubectl-seal")?;
    encrypt.args(["encrypt", "--age", &age.recipient, "--input-type", "yaml"]);
    let document = piped(&mut encrypt, format!("password: {}\n", canary.text).as_bytes())?;
    let deferred = json!({
        "apiVersion": "selkie.dev/v1alpha1", "kind": "SopsSecret", "metadata": {"name": "deferred"},
        "spec": {"document": String::from_utf8(document)?, "keys": {"secretRef": {"name": "sops-keys"}}},
    });
    repository.write("shop/deferred.yaml", deferred.to_string())?;
    let revision = repository.commit()?;
    lab.apply(&Application {
        name,
        project: "default",
        repository: &repository,
        path: "shop",
        plugin: None,
        env: &[],
        parameters: Json::Null,
    })?;
    lab.synced(name, &revision)?;
    for secret in ["sealed", "deferred"] {
        let path = format!("/api/v1/namespaces/{name}/secrets/{secret}");
        wait(secret, || Ok(lab.ground.find(&path)?.ok_or("none".to_owned())))?;
        same(secret, lab.ground.secret_value(name, secret, "password")?, canary.text.clone())?;
    }
    lab.refresh(name, true)?;
    lab.synced(name, &revision)?;
    let held = lab.redis()?;
    is_so(
        "Redis holds the manifests",
        held.keys().any(|key| key.starts_with("mfst|") && key.contains(name)),
        "",
    )?;
    same("what Redis holds in clear", canary.names(&held), Vec::new())?;
    let logs = lab.ground.logs("")?;
    is_so("our controller logs", logs.get("controller.log").is_some_and(|log| !log.is_empty()), "")?;
    same("logs with the plaintext", canary.names(&logs), Vec::new())?;
    let told = lab.application(name)?.to_string();
    is_so("the Application does not tell it", !canary.is_in(&told), told)
}

/// Without the name of a plugin, each one is asked about the folder; and how parameters and variables get to it.
fn discovered(lab: &Lab) -> Result<(), Failed> {
    let name = "argocd-discovered";
    let _alone = lab.alone_in_discovery();
    let script = "echo \"{apiVersion: v1, kind: ConfigMap, metadata: {name: told}, data: \
        {own: '$ARGOCD_ENV_OWN', all: '$ARGOCD_APP_PARAMETERS', one: '$PARAM_MODE', app: '$ARGOCD_APP_NAME'}}\"";
    let spec = json!({
        "discover": {"fileName": "./marker"}, "generate": {"command": ["/bin/sh", "-ec"], "args": [script]},
    });
    let _plugin = lab.plugin_with(name, &spec, &[])?;
    let repository = lab.repository(name)?;
    repository.write("some/where/marker", "")?;
    let revision = repository.commit()?;
    lab.apply(&Application {
        name,
        project: "default",
        repository: &repository,
        path: "some/where",
        plugin: None,
        env: &[("OWN", "variable")],
        parameters: json!([{"name": "mode", "string": "reseal"}]),
    })?;
    lab.synced(name, &revision)?;
    let map = lab.ground.object(&format!("/api/v1/namespaces/{name}/configmaps/told"))?;
    let expected = json!({
        "own": "variable", "all": "[{\"name\":\"mode\",\"string\":\"reseal\"}]", "one": "reseal", "app": name,
    });
    same("what it was told", &map["data"], &expected)
}

/// A manifest that is decrypted to what it is.
const FURTHER: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: further\n";
