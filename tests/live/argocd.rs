//! Argo CD itself: what its programs do with manifests that a plugin makes.
//!
//! Its Redis, repo-server and application-controller run once for all trials. First of all they show what a search for a
//! plaintext is worth: with the usual plugin, it is found.

mod lab;
mod redis;
mod repository;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use selkie::keys::age::{IdentityKind, generate};

use super::cluster;
use super::sync_engine::{Canary, is_so, ours, path_of, same};
use crate::peer::{Peer, output};

pub use lab::{Application, Lab};

/// Returns the tests that need Argo CD.
pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Argocd.test("is_the_version_that_it_should_be", |program| is_the_version(&program)),
        Trial::test("live::argocd::a_canary_is_found_in_its_forms", is_found_in_its_forms),
        test("sops_as_a_plugin_leaves_plaintext_in_redis", &[Peer::Sops313], sops_as_a_plugin),
    ]
}

/// Returns a test with Argo CD, which is ignored unless all that it takes is there.
pub fn test(
    name: &str,
    also: &[Peer],
    run: impl FnOnce(&'static Lab) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let is_possible = cluster::is_possible(&NEEDED) && cluster::is_possible(also);
    Trial::test(format!("live::argocd::{name}"), || run(Lab::get()?)).with_ignored_flag(!is_possible)
}

fn is_the_version(program: &Path) -> Result<(), Failed> {
    let version = output(std::process::Command::new(program).args(["version", "--client", "--short"]))?;
    let version = String::from_utf8(version)?;
    // Behind it is the commit, which is not known of a module.
    is_so("it is the version", version.starts_with("argocd: v3.2.6+"), version)
}

/// What is not found is not there, wherever it begins.
fn is_found_in_its_forms() -> Result<(), Failed> {
    let (canary, other) = (Canary::new(), Canary::new());
    for (before, between) in (0..3).flat_map(|before| (0..3).map(move |between| (before, between))) {
        let clear = format!("{}{} behind", "-".repeat(before), canary.text);
        let once = format!("{}{}", " ".repeat(between), STANDARD.encode(&clear));
        for (form, text) in [("clear", &clear), ("once", &once), ("twice", &STANDARD.encode(&once))] {
            let text = format!("around {text} around");
            is_so("it is found", canary.is_in(&text), format!("{form} {before} {between}"))?;
            is_so("another is not", !other.is_in(&text), form)?;
        }
    }
    Ok(())
}

/// The control of what is said of our own plugins: this one does what we do not want, and is found out.
fn sops_as_a_plugin(lab: &Lab) -> Result<(), Failed> {
    let name = "sops-plugin";
    let canaries = [Canary::new(), Canary::new()];
    let age = generate(IdentityKind::X25519, &mut rand_core::OsRng);
    let keys = lab.ground.folder(name)?.join("keys.txt");
    std::fs::write(&keys, age.secret.expose_secret())?;
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
        parameters: serde_json::Value::Null,
    };
    lab.apply(&application)?;
    lab.synced(name, &first)?;
    let further = || lab.ground.find(&format!("/api/v1/namespaces/{name}/configmaps/further"));
    let password = || lab.ground.secret_value(name, "shop", "password");
    same("the password", password()?, canaries[0].text.clone())?;
    let map = lab.ground.object(&format!("/api/v1/namespaces/{name}/configmaps/env"))?;
    same("what the plugin knows", &map["data"], &serde_json::json!({"own": "variable", "project": name}))?;
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

/// A manifest that is decrypted to what it is.
const FURTHER: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: further\n";

const NEEDED: [Peer; 4] = [Peer::Argocd, Peer::ArgocdManifests, Peer::Git, Peer::Redis];
