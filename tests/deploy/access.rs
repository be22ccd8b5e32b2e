//! What the controller may do: all that it does, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;

use super::{object, objects};

pub fn tests() -> Vec<Trial> {
    vec![
        Trial::test("deploy::access::roles_are_as_small_as_they_can_be", roles_are_small),
        Trial::test("deploy::access::nothing_is_a_wildcard", nothing_is_a_wildcard),
        Trial::test("deploy::access::roles_are_bound_to_the_controller_alone", bindings),
    ]
}

/// What a role allows, by group, resource and names.
type Access = BTreeMap<(String, String, Vec<String>), BTreeSet<String>>;

fn roles_are_small() -> Result<(), Failed> {
    for &(kind, name, expected) in ROLES {
        let role = object("controller.yaml", kind, name)?;
        let expected: Access = expected
            .iter()
            .map(|&(group, resource, names, verbs)| {
                let verbs = verbs.split(' ').map(str::to_owned).collect();
                let names = names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                ((group.to_owned(), resource.to_owned(), names), verbs)
            })
            .collect();
        let access = access(&role["rules"])?;
        if access != expected {
            return Err(format!("{kind} {name}: {access:#?}, not {expected:#?}").into());
        }
    }
    let roles = objects("controller.yaml")?;
    let count = roles.iter().filter(|object| is_role(object)).count();
    if count == ROLES.len() { Ok(()) } else { Err(format!("there are {count} roles").into()) }
}

fn access(rules: &Json) -> Result<Access, Failed> {
    let mut access = Access::new();
    for rule in rules.as_array().ok_or("rules are a list")? {
        let mut names = texts(&rule["resourceNames"]);
        names.sort();
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                access
                    .entry((group.clone(), resource, names.clone()))
                    .or_default()
                    .extend(texts(&rule["verbs"]));
            }
        }
    }
    Ok(access)
}

fn nothing_is_a_wildcard() -> Result<(), Failed> {
    let files = ["controller.yaml", "namespaced/own.yaml", "namespaced/namespace/role.yaml"];
    for object in files.iter().map(|path| objects(path)).collect::<Result<Vec<_>, _>>()?.concat() {
        if is_role(&object) && object["rules"].to_string().contains('*') {
            return Err(format!("{} allows everything of something", object["metadata"]["name"]).into());
        }
    }
    let chart = super::text("chart/selkie/templates/rbac.yaml")?
        + &super::text("chart/selkie/templates/_helpers.tpl")?;
    let is_wildcard =
        |line: &str| line.contains("[\"*\"]") || line.contains("['*']") || line.trim() == "- \"*\"";
    match chart.lines().find(|line| is_wildcard(line)) {
        Some(line) => Err(format!("the chart allows everything of something: {line}").into()),
        None => Ok(()),
    }
}

fn bindings() -> Result<(), Failed> {
    for object in objects("controller.yaml")?.iter().filter(|object| object["roleRef"].is_object()) {
        let is_public = object["metadata"]["name"] == "sealed-secrets-service-proxier";
        let subjects = object["subjects"].as_array().ok_or("they are a list")?;
        let is_ours = |subject: &Json| {
            subject["kind"] == "ServiceAccount"
                && subject["name"] == "sealed-secrets-controller"
                && subject["namespace"] == "kube-system"
        };
        if !is_public && !subjects.iter().all(is_ours) {
            return Err(format!("{} is bound to others", object["metadata"]["name"]).into());
        }
    }
    Ok(())
}

fn is_role(object: &Json) -> bool {
    object["kind"] == "Role" || object["kind"] == "ClusterRole"
}

fn texts(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// A group, a resource, names of objects, and verbs.
type Rule = (&'static str, &'static str, &'static str, &'static str);

/// What the controller asks of the API server, in the roles that let it.
const ROLES: &[(&str, &str, &[Rule])] = &[
    (
        "ClusterRole",
        "secrets-unsealer",
        &[
            // All objects are watched, and one is read again before it is judged.
            ("bitnami.com", "sealedsecrets", "", "get list watch"),
            ("bitnami.com", "sealedsecrets/status", "", "patch update"),
            // Their metadata is watched, one is read before it is written; adopted ones are patched.
            ("", "secrets", "", "create get list patch update watch"),
            ("", "events", "", "create patch"),
        ],
    ),
    // Keys are found by their label, one of before 0.9 by its name, and made.
    ("Role", "sealed-secrets-key-admin", &[("", "secrets", "", "create get list watch")]),
    (
        "Role",
        "sealed-secrets-leader",
        &[
            ("coordination.k8s.io", "leases", "", "create"),
            ("coordination.k8s.io", "leases", "sealed-secrets-controller", "get update"),
        ],
    ),
    // What kubeseal does, on behalf of its user.
    (
        "Role",
        "sealed-secrets-service-proxier",
        &[
            ("", "services", "sealed-secrets-controller", "get"),
            (
                "",
                "services/proxy",
                "http:sealed-secrets-controller: http:sealed-secrets-controller:http sealed-secrets-controller",
                "create get",
            ),
        ],
    ),
];
