//! Each mode: Secrets come, change, go back, and are left alone; and where their plaintext is.

use libtest_mimic::{Failed, Trial};

use super::super::lab::Lab;
use super::super::test;
use super::shop::{Face, Mode, Shop};
use crate::live::sync_engine::{Canary, is_so, same};

pub fn tests() -> Vec<Trial> {
    vec![
        test("our_server_in_mode_plain", &[], |lab| changes(lab, "native-plain", Face::Native, Mode::Plain)),
        test("our_server_in_mode_reseal", &[], |lab| {
            changes(lab, "native-reseal", Face::Native, Mode::Reseal)
        }),
        test("our_server_in_mode_defer", &[], |lab| changes(lab, "native-defer", Face::Native, Mode::Defer)),
        test("our_command_in_mode_plain", &[], |lab| {
            changes(lab, "command-plain", Face::Command, Mode::Plain)
        }),
        test("our_command_in_mode_reseal", &[], |lab| {
            changes(lab, "command-reseal", Face::Command, Mode::Reseal)
        }),
        test("our_server_without_keys", &[], |lab| {
            without_keys(lab, "native-redact", Mode::Redact)?;
            without_keys(lab, "native-fake", Mode::Fake)
        }),
    ]
}

fn changes(lab: &'static Lab, name: &'static str, face: Face, mode: Mode) -> Result<(), Failed> {
    let canaries = [Canary::new(), Canary::new()];
    let shop = Shop::new(lab, name)?;
    let _plugin = shop.start(face, mode)?;
    shop.write(&canaries[0])?;
    let first = shop.repository.commit()?;
    lab.apply(&shop.application())?;
    lab.synced(name, &first)?;
    shop.holds_all(&canaries[0])?;
    shop.write(&canaries[1])?;
    let second = shop.bring()?;
    shop.holds_all(&canaries[1])?;
    lab.roll_back(name, &first)?;
    shop.holds_all(&canaries[0])?;
    lab.apply(&shop.application())?;
    lab.synced(name, &second)?;
    shop.holds_all(&canaries[1])?;
    lab.refresh(name, true)?;
    lab.synced(name, &second)?;
    let before = shop.traces()?;
    lab.refresh(name, true)?;
    lab.synced(name, &second)?;
    same("what was written", shop.traces()?, before)?;
    for canary in &canaries {
        leaves(&shop, canary, face, mode)?;
    }
    Ok(())
}

/// Makes sure that plaintext is where it has to be expected, and nowhere else.
fn leaves(shop: &Shop, canary: &Canary, face: Face, mode: Mode) -> Result<(), Failed> {
    let in_redis = shop.in_redis(canary)?;
    if mode == Mode::Plain {
        // This is why there are other modes.
        let is_there = in_redis.iter().any(|key| key.starts_with("mfst|") && key.contains(shop.name));
        is_so("Redis holds the plaintext", is_there, format!("{in_redis:?}"))?;
    } else {
        same("what Redis holds in clear", in_redis, Vec::new())?;
    }
    let own = format!("argocd-cmp-{}.log", shop.name);
    // The plugin server of Argo CD tells what a command prints.
    let is_told = face == Face::Command && mode == Mode::Plain;
    let mut but = Vec::new();
    if is_told {
        let logs = shop.lab.logs()?;
        same("logs with the plaintext", canary.names(&logs), vec![own.as_str()])?;
        but.push(own.as_str());
    }
    shop.is_nowhere(canary, &but)
}

/// Nobody has the key, and what comes has the shape of what would.
fn without_keys(lab: &'static Lab, name: &'static str, mode: Mode) -> Result<(), Failed> {
    let canary = Canary::new();
    let shop = Shop::new(lab, name)?;
    let _plugin = shop.start(Face::Native, mode)?;
    shop.write(&canary)?;
    let revision = shop.repository.commit()?;
    lab.apply(&shop.application())?;
    lab.synced(name, &revision)?;
    for secret in ["in-yaml", "in-json"] {
        let value = lab.ground.secret_value(name, secret, "password")?;
        let is_dummy = match mode {
            Mode::Redact => value == "REDACTED",
            // How long what is base64 was, nobody knows exactly without keys.
            _ => value != canary.text && value.len().abs_diff(canary.text.len()) <= 2,
        };
        is_so("it is a dummy", is_dummy, value)?;
    }
    let blob = lab.ground.secret_value(name, "blob", "config.yaml")?;
    is_so("it is a dummy", !blob.contains("ENC["), &blob)?;
    lab.refresh(name, true)?;
    lab.synced(name, &revision)?;
    let before = shop.traces()?;
    lab.refresh(name, true)?;
    lab.synced(name, &revision)?;
    same("what was written", shop.traces()?, before)?;
    same("what Redis holds in clear", shop.in_redis(&canary)?, Vec::new())?;
    shop.is_nowhere(&canary, &[])
}
