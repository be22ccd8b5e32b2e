//! Changes of the keys of a file.

use libtest_mimic::{Failed, Trial};

use super::{Lab, PLAIN, REAL, RECIPIENT, test};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    vec![
        test("keys_come_and_go_by_rotation", Peer::Sops313, rotation),
        test("keys_are_brought_up_to_date", Peer::Sops313, updatekeys),
        test("groups_are_added", Peer::Sops313, groups),
    ]
}

fn rotation(lab: &Lab) -> Result<(), Failed> {
    let (first, second, third) = (lab.key("us-east-1")?, lab.key("eu-west-1")?, lab.key("eu-west-1")?);
    let context = "--encryption-context a:b";
    lab.work.write("a.yaml", &lab.run(REAL, &format!("encrypt --kms {first} plain.yaml"))?)?;
    lab.run("sops", &format!("rotate -i --add-kms {second} {context} a.yaml"))?;
    lab.all_open("a.yaml", PLAIN)?;
    lab.run("sops", &format!("rotate -i --rm-kms {first} a.yaml"))?;
    lab.all_open("a.yaml", PLAIN)?;
    lab.run("kubectl-seal", &format!("rotate --add-kms {third} a.yaml"))?;
    lab.all_open("a.yaml", PLAIN)?;
    lab.run(REAL, &format!("rotate -i --rm-kms {second} {context} a.yaml"))?;
    lab.all_open("a.yaml", PLAIN)?;
    let sealed = lab.work.read("a.yaml")?;
    let is_right = !sealed.contains(&first) && !sealed.contains(&second) && sealed.contains(&third);
    is_right.then_some(()).ok_or_else(|| sealed.into())
}

fn updatekeys(lab: &Lab) -> Result<(), Failed> {
    let (first, second) = (lab.key("us-east-1")?, lab.key("eu-west-1")?);
    for (at, program) in [REAL, "sops", "kubectl-seal"].into_iter().enumerate() {
        let (old, new) = if at % 2 == 0 { (&first, &second) } else { (&second, &first) };
        lab.work.write("a.yaml", &lab.run("sops", &format!("encrypt --kms {old} plain.yaml"))?)?;
        lab.work.write(".sops.yaml", &format!("creation_rules:\n  - kms: {new}\n    age: {RECIPIENT}\n"))?;
        lab.run(program, "updatekeys --yes a.yaml")?;
        lab.all_open("a.yaml", PLAIN)?;
        let sealed = lab.work.read("a.yaml")?;
        if sealed.contains(old) || !sealed.contains(new) {
            return Err(format!("{program}: {sealed}").into());
        }
        std::fs::remove_file(lab.work.path(".sops.yaml"))?;
    }
    Ok(())
}

fn groups(lab: &Lab) -> Result<(), Failed> {
    let (first, second) = (lab.key("us-east-1")?, lab.key("eu-west-1")?);
    for program in [REAL, "sops"] {
        lab.work.write("a.yaml", &lab.run("sops", &format!("encrypt --kms {first} plain.yaml"))?)?;
        let arguments = format!("groups add -f a.yaml --kms {second} --encryption-context a:b -i");
        lab.run(program, &arguments)?;
        lab.all_open("a.yaml", PLAIN)?;
        let sealed = lab.work.read("a.yaml")?;
        if !sealed.contains("shamir_threshold: 2") || !sealed.contains("a: b\n") {
            return Err(format!("{program}: {sealed}").into());
        }
    }
    Ok(())
}
