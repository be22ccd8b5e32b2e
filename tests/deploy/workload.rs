//! The program as it is started in a cluster.

use std::collections::BTreeSet;

use clap::{Args as _, Command};
use libtest_mimic::{Failed, Trial};
use selkie_decryptor::controller::Args;
use serde_json::{Value as Json, json};

use super::{object, objects, text};

pub fn tests() -> Vec<Trial> {
    vec![
        Trial::test("deploy::workload::arguments_are_those_of_the_program", arguments),
        Trial::test("deploy::workload::chart_knows_the_flags_of_the_program", flags_of_chart),
        Trial::test("deploy::workload::is_restricted", is_restricted),
        Trial::test("deploy::workload::names_are_those_of_sealed_secrets", names),
        Trial::test("deploy::workload::versions_are_those_of_the_program", versions),
        Trial::test("deploy::workload::probes_ask_where_callers_are_not", probes),
        Trial::test("deploy::workload::image_is_what_manifests_start", image),
    ]
}

/// Returns the Deployment of the plain manifests.
fn deployment() -> Result<Json, Failed> {
    object("controller.yaml", "Deployment", "sealed-secrets-controller")
}

/// Returns the flags that the program knows.
fn flags() -> BTreeSet<String> {
    let command = Args::augment_args(Command::new("controller"));
    command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
}

fn are_flags<'a>(place: &str, arguments: impl Iterator<Item = &'a str>) -> Result<(), Failed> {
    let flags = flags();
    for argument in arguments {
        let name = argument.strip_prefix("--").ok_or_else(|| format!("{place}: {argument} is no flag"))?;
        let name = name.split('=').next().unwrap_or_default();
        if !flags.contains(name) {
            return Err(format!("{place}: there is no flag --{name}").into());
        }
    }
    Ok(())
}

fn arguments() -> Result<(), Failed> {
    let deployment = deployment()?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    if container["command"] != json!(["controller"]) {
        return Err(format!("it starts {}", container["command"]).into());
    }
    let arguments: Vec<_> =
        container["args"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    are_flags("controller.yaml", arguments.iter().copied())?;
    for path in ["sops/deployment.yaml", "sops/shared-keys/deployment.yaml"] {
        let patches = objects(path)?.into_iter().next().ok_or("there are none")?;
        let added = patches.as_array().into_iter().flatten().filter_map(|patch| patch["value"].as_str());
        are_flags(path, added)?;
    }
    let command = Args::augment_args(Command::new("controller").no_binary_name(true));
    command.try_get_matches_from(arguments).map(|_| ()).map_err(|error| error.to_string().into())
}

/// The API may be busy with its callers: that is no reason to start the program again.
fn probes() -> Result<(), Failed> {
    let deployment = deployment()?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let port = &container[probe]["httpGet"]["port"];
        if port != "metrics" {
            return Err(format!("{probe} asks {port}").into());
        }
    }
    let chart = text("chart/selkie/templates/workload.yaml")?;
    let (_, probes) = chart.split_once("httpGet:").ok_or("the chart has no probes")?;
    match probes.lines().find_map(|line| line.trim().strip_prefix("port: ")) {
        Some("metrics") => Ok(()),
        port => Err(format!("probes of the chart ask {port:?}").into()),
    }
}

/// The helper of the chart that lists them has a line for each.
fn flags_of_chart() -> Result<(), Failed> {
    let helpers = text("chart/selkie/templates/_helpers.tpl")?;
    let listed = helpers.lines().filter_map(|line| line.trim().strip_prefix("(list \"")?.split('"').next());
    let printed = helpers.split("printf \"--").skip(1).filter_map(|rest| rest.split('=').next());
    let flags: Vec<_> =
        listed.chain(printed).filter(|name| *name != "%s").map(|name| format!("--{name}")).collect();
    if flags.len() < 30 {
        return Err(format!("only {flags:?} were found").into());
    }
    are_flags("the chart", flags.iter().map(String::as_str))
}

/// What the Pod Security Standard `restricted` asks for, and a file system that cannot be written.
fn is_restricted() -> Result<(), Failed> {
    let deployment = deployment()?;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0]["securityContext"];
    for (what, found, expected) in [
        ("runAsNonRoot", &pod["securityContext"]["runAsNonRoot"], json!(true)),
        ("runAsUser", &pod["securityContext"]["runAsUser"], json!(1001)),
        ("seccompProfile", &pod["securityContext"]["seccompProfile"]["type"], json!("RuntimeDefault")),
        ("allowPrivilegeEscalation", &container["allowPrivilegeEscalation"], json!(false)),
        ("capabilities", &container["capabilities"], json!({"drop": ["ALL"]})),
        ("readOnlyRootFilesystem", &container["readOnlyRootFilesystem"], json!(true)),
    ] {
        if *found != expected {
            return Err(format!("{what} is {found}, not {expected}").into());
        }
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if !pod[field].is_null() {
            return Err(format!("it has {field}").into());
        }
    }
    Ok(())
}

/// What is upgraded in place has to have the same names, and the same selector, which can never be changed.
fn names() -> Result<(), Failed> {
    let objects = objects("controller.yaml")?;
    for &(kind, name) in UPSTREAM {
        if !objects.iter().any(|object| object["kind"] == kind && object["metadata"]["name"] == name) {
            return Err(format!("there is no {kind} {name}").into());
        }
    }
    let deployment = deployment()?;
    let selector = json!({"matchLabels": {"name": "sealed-secrets-controller"}});
    if deployment["spec"]["selector"] != selector {
        return Err(format!("the selector is {}", deployment["spec"]["selector"]).into());
    }
    let service = object("controller.yaml", "Service", "sealed-secrets-controller")?;
    if service["spec"]["ports"] != json!([{"port": 8080, "targetPort": 8080}]) {
        return Err(format!("the ports are {}", service["spec"]["ports"]).into());
    }
    Ok(())
}

fn versions() -> Result<(), Failed> {
    let version = env!("CARGO_PKG_VERSION");
    let deployment = deployment()?;
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    if *image != format!("selkie-project/selkie-decryptor:{version}") {
        return Err(format!("the image is {image}").into());
    }
    let chart = objects("chart/selkie/Chart.yaml")?.into_iter().next().ok_or("there is no chart")?;
    if chart["appVersion"] != version || chart["version"] != version {
        return Err(format!("the chart is {} of {}", chart["version"], chart["appVersion"]).into());
    }
    Ok(())
}

fn image() -> Result<(), Failed> {
    let file = std::fs::read_to_string(super::folder("../Containerfile"))?;
    for line in ["FROM scratch", "USER 1001", "ENV PATH=/usr/local/bin"] {
        if !file.lines().any(|other| other.trim_end_matches(" \\") == line) {
            return Err(format!("it has no line {line}").into());
        }
    }
    if file.contains("ln -s selkie-decryptor /image/usr/local/bin/controller") {
        Ok(())
    } else {
        Err("it has no program that is called controller".into())
    }
}

/// What the manifests of Sealed Secrets 0.40 create.
const UPSTREAM: &[(&str, &str)] = &[
    ("ClusterRole", "secrets-unsealer"),
    ("ClusterRoleBinding", "sealed-secrets-controller"),
    ("CustomResourceDefinition", "sealedsecrets.bitnami.com"),
    ("Deployment", "sealed-secrets-controller"),
    ("Role", "sealed-secrets-key-admin"),
    ("Role", "sealed-secrets-service-proxier"),
    ("RoleBinding", "sealed-secrets-controller"),
    ("RoleBinding", "sealed-secrets-service-proxier"),
    ("Service", "sealed-secrets-controller"),
    ("Service", "sealed-secrets-controller-metrics"),
    ("ServiceAccount", "sealed-secrets-controller"),
];
