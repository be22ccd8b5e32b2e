//! A controller that starts again does not do again what is done.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::failures::{Distant, is_write, names};
use super::lab::{Deed, Lab};
use super::{is_so, same, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("restart::unchanged_objects_are_left_alone", &[], unchanged),
        test("restart::status_that_somebody_made_up_does_not_count", &[], forged),
    ]
}

fn unchanged(lab: &Lab) -> Result<(), Failed> {
    const COUNT: usize = 25;
    let distant = Distant::new(lab, "restart-unchanged")?;
    let controller = distant.start("one", &[])?;
    let names = names("a", COUNT);
    distant.make(&names)?;
    distant.all_ready(&names)?;
    same(
        "what was opened",
        controller.metric("sealed_secrets_controller_unseal_requests_total")? >= COUNT as f64,
        true,
    )?;
    controller.end()?;
    let version = |name: &String| Ok(distant.space.sealed(name)?["metadata"]["resourceVersion"].clone());
    let before: Vec<_> = names.iter().map(version).collect::<Result<_, Failed>>()?;
    distant.proxy.take_seen();
    let controller = distant.start("one", &[])?;
    lab.wait("all are skipped", || {
        Ok((controller.metric("selkie_skipped_total")? >= COUNT as f64).then_some(()))
    })?;
    same("what was skipped", controller.metric("selkie_skipped_total{kind=\"SealedSecret\"")?, COUNT as f64)?;
    same("what was opened", controller.metric("sealed_secrets_controller_unseal_requests_total")?, 0.0)?;
    same("what was tried", controller.metric("selkie_attempts_total")?, 0.0)?;
    let seen = distant.proxy.take_seen();
    let writes: Vec<_> = seen.iter().filter(|seen| is_write(seen)).map(|seen| seen.target.clone()).collect();
    is_so("nothing is written", writes.is_empty(), &json!(writes))?;
    let single: Vec<_> =
        seen.iter().filter(|seen| seen.target.contains("/a-")).map(|seen| seen.target.clone()).collect();
    is_so("no Secret is read", single.is_empty(), &json!(single))?;
    let after: Vec<_> = names.iter().map(version).collect::<Result<_, Failed>>()?;
    same("the versions", after, before)?;
    // One that changed is seen to, and it alone.
    distant.space.delete_secret(&names[0])?;
    distant.all_ready(&names)?;
    same("what was opened", controller.metric("sealed_secrets_controller_unseal_requests_total")?, 1.0)?;
    controller.end()
}

/// Whoever may write statuses cannot say that a Secret is as it should be.
fn forged(lab: &Lab) -> Result<(), Failed> {
    let distant = Distant::new(lab, "restart-forged")?;
    let controller = distant.start("one", &[])?;
    let names = names("a", 4);
    distant.make(&names)?;
    distant.all_ready(&names)?;
    controller.end()?;
    let space = &distant.space;
    // Of all, the Secret is another one, and the status says that this is what was applied.
    for (number, name) in names.iter().enumerate() {
        let secret = space.patch_secret(name, json!({"data": {"a": STANDARD.encode("forged")}}))?;
        let mut applied = space.sealed(name)?["status"]["applied"].clone();
        applied["secrets"][0]["resourceVersion"] = secret["metadata"]["resourceVersion"].clone();
        match number {
            // The digest as it was, that of another object, or none.
            0 => {}
            1 => applied["digest"] = space.sealed(&names[0])?["status"]["applied"]["digest"].clone(),
            2 => applied["digest"] = "".into(),
            _ => applied["secrets"] = json!([]),
        }
        let path = format!("{}/status", space.sealed_path(name));
        lab.act(&path, Deed::Patch(&json!({"status": {"applied": applied}})))?;
    }
    let controller = distant.start("one", &[])?;
    distant.all_ready(&names)?;
    same("what was skipped", controller.metric("selkie_skipped_total")?, 0.0)?;
    controller.end()
}
