//! The plugin of Argo CD.

use std::process::Command;

use clap::{Args as _, Command as Cli};
use libtest_mimic::{Failed, Trial};
use selkie_decryptor::argocd::Args;
use serde_json::{Value as Json, json};

use super::{object, text};

pub fn tests() -> Vec<Trial> {
    vec![
        Trial::test("deploy::argocd::arguments_are_those_of_the_program", arguments),
        Trial::test("deploy::argocd::is_restricted", is_restricted),
        Trial::test("deploy::argocd::applications_name_what_is_served", names),
        Trial::test("deploy::argocd::plugin_is_what_the_program_prints", plugin),
    ]
}

fn patch(path: &str) -> Result<Json, Failed> {
    let deployment = object(path, "Deployment", "argocd-repo-server")?;
    Ok(deployment["spec"]["template"]["spec"].clone())
}

fn is_known(words: &[&str]) -> Result<(), Failed> {
    let command = Args::augment_args(Cli::new("argocd"));
    command.try_get_matches_from(words).map(drop).map_err(|error| error.to_string().into())
}

fn words(list: &Json) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

fn arguments() -> Result<(), Failed> {
    let pod = patch("argocd/repo-server.yaml")?;
    is_known(&words(&pod["containers"][0]["args"]))?;
    let plugin = object("argocd/command/plugin.yaml", "ConfigManagementPlugin", "selkie")?;
    is_known(&words(&plugin["spec"]["generate"]["command"])[1..])
}

fn is_restricted() -> Result<(), Failed> {
    let pod = patch("argocd/repo-server.yaml")?;
    let version = env!("CARGO_PKG_VERSION");
    let (plugin, programs) = (&pod["containers"][0], &pod["initContainers"][0]);
    for container in [plugin, programs] {
        let context = &container["securityContext"];
        for (what, found, expected) in [
            ("runAsNonRoot", &context["runAsNonRoot"], json!(true)),
            ("seccompProfile", &context["seccompProfile"]["type"], json!("RuntimeDefault")),
            ("allowPrivilegeEscalation", &context["allowPrivilegeEscalation"], json!(false)),
            ("capabilities", &context["capabilities"], json!({"drop": ["ALL"]})),
            ("readOnlyRootFilesystem", &context["readOnlyRootFilesystem"], json!(true)),
        ] {
            if *found != expected {
                return Err(format!("{what} of {} is {found}, not {expected}", container["name"]).into());
            }
        }
    }
    let memory = pod["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|volume| volume["name"] == "selkie-tmp" && volume["emptyDir"]["medium"] == "Memory");
    for (what, holds) in [
        ("it has a token", pod["automountServiceAccountToken"] == false),
        ("it is not the user of Argo CD", plugin["securityContext"]["runAsUser"] == 999),
        ("its files are on a disk", memory),
        ("its image is another", plugin["image"] == format!("selkie-project/selkie-decryptor:{version}")),
    ] {
        if !holds {
            return Err(what.into());
        }
    }
    Ok(())
}

fn names() -> Result<(), Failed> {
    let application = object("argocd/application.yaml", "Application", "shop")?;
    let plugin = object("argocd/command/plugin.yaml", "ConfigManagementPlugin", "selkie")?;
    let named = &application["spec"]["source"]["plugin"];
    if named["name"] != plugin["metadata"]["name"] {
        return Err(format!("it names {}", named["name"]).into());
    }
    let known = &plugin["spec"]["parameters"]["static"];
    let known: Vec<_> = known.as_array().into_iter().flatten().map(|parameter| &parameter["name"]).collect();
    let set = named["parameters"].as_array().into_iter().flatten();
    match set.map(|parameter| &parameter["name"]).find(|name| !known.contains(name)) {
        Some(name) => Err(format!("there is no parameter {name}").into()),
        None => Ok(()),
    }
}

fn plugin() -> Result<(), Failed> {
    let shipped = text("argocd/command/plugin.yaml")?;
    let pod = patch("argocd/repo-server.yaml")?;
    let arguments = words(&pod["containers"][0]["args"]).split_off(2);
    let program = env!("CARGO_BIN_EXE_selkie-decryptor");
    let output = Command::new(program).args(["argocd", "plugin", "--"]).args(arguments).output()?;
    let printed = String::from_utf8(output.stdout)?;
    if printed == shipped { Ok(()) } else { Err(format!("it prints\n{printed}").into()) }
}
