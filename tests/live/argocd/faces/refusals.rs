//! What is refused: the user is told, and what is in the cluster stays as it is.

use std::fs;

use libtest_mimic::{Failed, Trial};
use selkie::keys::age::{IdentityKind, generate};
use serde_json::json;

use super::super::lab::{Application, Lab};
use super::super::test;
use super::shop::{Face, Mode, Shop, VALUES, yaml_secret};
use crate::live::sync_engine::{Canary, is_so, same};
use crate::peer::piped;

pub fn tests() -> Vec<Trial> {
    vec![
        test("our_server_refuses", &[], |lab| refuses(lab, "native-refuses", Face::Native)),
        test("our_command_refuses", &[], |lab| refuses(lab, "command-refuses", Face::Command)),
        test("our_policy_is_for_a_project", &[], is_for_a_project),
    ]
}

fn refuses(lab: &'static Lab, name: &'static str, face: Face) -> Result<(), Failed> {
    let canaries = [Canary::new(), Canary::new()];
    let shop = Shop::new(lab, name)?;
    let _plugin = shop.start(face, Mode::Plain)?;
    shop.write(&canaries[0])?;
    let path = shop.repository.folder().join("shop/secret.yaml");
    let old = fs::read_to_string(&path)?;
    shop.repository.commit()?;
    lab.apply(&shop.application())?;
    shop.bring()?;
    shop.write(&canaries[1])?;
    let revision = shop.bring()?;
    let new = fs::read_to_string(&path)?;
    let refusals = Refusals { shop: &shop, canaries: &canaries, before: shop.traces()? };

    shop.repository.write("shop/secret.yaml", replayed(&old, &new)?)?;
    refusals.expect(&["shop/secret.yaml", "nothing of it is used"])?;
    shop.repository.write("shop/secret.yaml", &new)?;

    let other = generate(IdentityKind::X25519, &mut rand_core::OsRng);
    let mut encrypt = shop.seal()?;
    encrypt.args(["encrypt", "--age", &other.recipient, "--filename", "foreign.yaml"]).args(VALUES);
    let foreign = piped(&mut encrypt, yaml_secret("foreign", &canaries[1].text).as_bytes())?;
    shop.repository.write("shop/foreign.yaml", foreign)?;
    refusals.expect(&["shop/foreign.yaml: cannot be decrypted", &other.recipient])?;
    shop.repository.remove("shop/foreign.yaml")?;

    let map = yaml_secret("leak", &canaries[1].text).replace("kind: Secret", "kind: ConfigMap");
    shop.encrypt("shop/leak.yaml", &map.replace("stringData", "data"), &VALUES)?;
    refusals.expect(&["ConfigMap leak: data.password would hold a decrypted value of shop/leak.yaml"])?;
    shop.repository.remove("shop/leak.yaml")?;

    let files = ["blob.json", "plain.yaml", "secret.json", "secret.yaml"].map(|name| format!("shop/{name}"));
    let kept: Result<Vec<_>, _> =
        files.iter().map(|file| fs::read(shop.repository.folder().join(file))).collect();
    let kept = kept?;
    for file in &files {
        shop.repository.remove(file)?;
    }
    shop.repository.write("shop/README.txt", "Nothing is here.")?;
    refusals.expect(&["nothing was rendered"])?;
    for (file, bytes) in files.iter().zip(kept) {
        shop.repository.write(file, bytes)?;
    }
    shop.repository.remove("shop/README.txt")?;

    // What the repository may not do, an Application may not either.
    let mut application = shop.application();
    application.parameters = json!([{"name": "mode", "string": "reseal"}]);
    lab.apply(&application)?;
    refusals.expect(&["mode", "reseal", "allow"])?;
    application.parameters = json!([{"name": "values", "array": ["../../../../etc/passwd"]}]);
    lab.apply(&application)?;
    refusals.expect(&["and has to be a path in the repository"])?;

    // All of it was good for nothing else.
    lab.apply(&shop.application())?;
    let last = shop.bring()?;
    is_so("there are more revisions", last != revision, &last)?;
    shop.holds_all(&canaries[1])?;
    let is_secret = |trace: &&String| trace.starts_with("api/");
    let (before, after) = (refusals.before.iter(), shop.traces()?);
    same(
        "what was written",
        after.iter().filter(is_secret).collect(),
        before.filter(is_secret).collect::<Vec<_>>(),
    )?;
    Ok(())
}

/// What a rule allows one project, no other project has, and that with its name in a variable neither.
fn is_for_a_project(lab: &'static Lab) -> Result<(), Failed> {
    let (name, other, canary) = ("allowed", "allowed-other", Canary::new());
    let shop = Shop::new(lab, name)?;
    let keys = shop.folder.join("keys").display().to_string();
    let rule = json!({"name": "shop", "match": {"projects": [name]}, "modes": ["plain"], "keys": [keys]});
    let policy = shop.folder.join("policy.yaml");
    fs::write(&policy, json!({"rules": [rule]}).to_string())?;
    let _plugin = shop.start_with(Face::Native, &["--policy", &policy.display().to_string()])?;
    shop.write(&canary)?;
    let revision = shop.repository.commit()?;
    lab.apply(&shop.application())?;
    lab.synced(name, &revision)?;
    shop.holds_all(&canary)?;
    lab.make_project(other)?;
    let env = [("ARGOCD_APP_PROJECT_NAME", name)];
    lab.apply(&Application { name: other, project: other, env: &env, ..shop.application() })?;
    let message = lab.failed_at(other, &["no rule of the policy", other])?;
    is_so("it tells no value", !canary.is_in(&message), &message)?;
    let secrets = lab.ground.object(&format!("/api/v1/namespaces/{other}/secrets"))?;
    same("Secrets", secrets["items"].as_array().map(Vec::len), Some(0))?;
    shop.is_nowhere(&canary, &[])
}

/// Puts an old value in the place of a new one, which only the MAC of the file tells.
fn replayed(old: &str, new: &str) -> Result<String, Failed> {
    let line = |text: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with("password: ENC["));
        line.map(str::to_owned).ok_or("there is an encrypted value")
    };
    let (old_line, new_line) = (line(old)?, line(new)?);
    is_so("the value is another one", old_line != new_line, &new_line)?;
    Ok(new.replace(&new_line, &old_line))
}

struct Refusals<'a> {
    shop: &'a Shop,
    canaries: &'a [Canary; 2],
    before: Vec<String>,
}

impl Refusals<'_> {
    /// Commits, and makes sure that an error with these words is told, and nothing of what is there goes.
    fn expect(&self, words: &[&str]) -> Result<(), Failed> {
        let (lab, name) = (self.shop.lab, self.shop.name);
        let revision = self.shop.repository.commit()?;
        lab.refresh(name, true)?;
        let message = lab.failed_at(name, words)?;
        for canary in self.canaries {
            is_so("it tells no value", !canary.is_in(&message), format!("{revision}: {message}"))?;
            // The command of a plugin prints in the log of Argo CD's own server.
            let own = format!("argocd-cmp-{name}.log");
            self.shop.is_nowhere(canary, &[&own])?;
        }
        same("what was written", self.shop.traces()?, self.before.clone())
    }
}
