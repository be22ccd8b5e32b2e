//! The same done by the controller of Sealed Secrets and by ours, each in a namespace of its own: what comes of it, what
//! is said, answered and counted.

use std::collections::BTreeSet;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};

use super::keys::{OWN, SMALL, keys_of};
use super::lab::Lab;
use super::peers::{NAMES, Real, objects, secrets, synced};
use super::process::{Process, ask, send};
use super::space::{Space, condition, plain};
use super::{is_so, same, test};
use crate::live::controller::PROGRAM;

pub fn tests() -> Vec<Trial> {
    vec![test("peers::both_controllers_do_the_same", &[PROGRAM], differences)]
}

/// What one of them did.
struct Done {
    secrets: Vec<Json>,
    key: Json,
    said: Vec<String>,
    answers: Vec<(String, u16)>,
    series: BTreeSet<String>,
}

fn differences(lab: &Lab) -> Result<(), Failed> {
    let (namespaces, port) = (["peers-theirs", "peers-ours"], 6004);
    lab.home(namespaces[0])?;
    let account = lab.home(namespaces[1])?;
    let real = Real::start(lab, namespaces[0], port)?;
    let theirs = Done::by(lab, namespaces[0], port)?;
    drop(real);
    let controller = Process::start(lab, namespaces[1], "one", &account, &[&OWN[..], &[SMALL]].concat())?;
    let ours = Done::by(lab, namespaces[1], controller.port)?;
    for (ours, theirs) in ours.secrets.into_iter().zip(theirs.secrets) {
        same("a Secret", ours, theirs)?;
    }
    same("a key", ours.key, theirs.key)?;
    same("what is said", ours.said, theirs.said)?;
    // Where theirs panics, and where it takes no YAML although it does for the other question.
    let known = [("/v1/verify with garbage", 0, 500), ("/v1/rotate with yaml", 500, 200)];
    let answers = theirs.answers.into_iter().map(|(what, status)| {
        let known = known.iter().find(|(question, of_theirs, _)| *question == what && *of_theirs == status);
        let status = known.map_or(status, |(_, _, of_ours)| *of_ours);
        (what, status)
    });
    same("what is answered", ours.answers, answers.collect())?;
    is_so("theirs counts", !theirs.series.is_empty(), &Json::Null)?;
    let missing: Vec<_> = theirs.series.difference(&ours.series).collect();
    same("what is not counted", missing, Vec::new())?;
    controller.end()
}

impl Done {
    fn by(lab: &Lab, namespace: &str, port: u16) -> Result<Self, Failed> {
        let host = lab.cluster.inside.as_str();
        let space = Space::new(lab, namespace, ask(host, port, "/v1/cert.pem")?.1);
        let objects = objects(&space)?;
        for object in &objects {
            space.create(object)?;
        }
        synced(&space)?;
        let mut secrets: Vec<_> = secrets(&space)?.into_iter().map(plain).collect();
        for secret in &mut secrets {
            secret["metadata"]["namespace"] = "".into();
            let owners = secret["metadata"].get_mut("ownerReferences").and_then(Json::as_array_mut);
            owners.into_iter().flatten().for_each(|owner| owner["uid"] = "".into());
        }
        let mut said: Vec<_> =
            NAMES.iter().map(|name| space.event(name, "Unsealed")).collect::<Result<_, Failed>>()?;
        said.push(space.event("broken", "ErrUnsealFailed")?);
        said.push(condition(&space.sealed("broken")?, "Synced")["message"].to_string());
        Ok(Self {
            secrets,
            key: key(lab, namespace)?,
            said,
            answers: answers(host, port, &objects)?,
            series: series(host, port + 1)?,
        })
    }
}

/// Returns a key Secret without what differs.
fn key(lab: &Lab, namespace: &str) -> Result<Json, Failed> {
    let mut key = plain(keys_of(lab, namespace)?.pop().ok_or("there is a key")?);
    for field in ["name", "namespace"] {
        key["metadata"][field] = "".into();
    }
    key["data"] = json!(key["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>()));
    Ok(key)
}

fn answers(host: &str, port: u16, objects: &[Json]) -> Result<Vec<(String, u16)>, Failed> {
    let (good, broken) = (objects[0].to_string(), objects[objects.len() - 1].to_string());
    let failing = good.replace(r#""spec":{"#, r#""spec":{"template":{"data":{"x":"{{ fail .a }}"}},"#);
    let pod = r#"{"kind":"Pod","apiVersion":"v1"}"#;
    let yaml = "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nspec: {encryptedData: {}}\n";
    let bodies = [
        ("good", good.as_str()),
        ("broken", &broken),
        ("failing", &failing),
        ("pod", pod),
        ("yaml", yaml),
        ("garbage", "]["),
        ("nothing", ""),
    ];
    let mut answers = Vec::new();
    for path in ["/v1/verify", "/v1/rotate"] {
        for (what, body) in bodies {
            // Theirs answers nothing where it panics.
            let status = send((host, port), "POST", path, &[], body).map_or(0, |answer| answer.status);
            answers.push((format!("{path} with {what}"), status));
        }
    }
    for (method, path) in [
        ("GET", "/healthz"),
        ("PUT", "/v1/cert.pem"),
        ("GET", "/v1/verify"),
        ("GET", "/"),
        ("GET", "/v1/cert.pem/"),
        ("GET", "/metrics"),
    ] {
        answers.push((format!("{method} {path}"), send((host, port), method, path, &[], "")?.status));
    }
    Ok(answers)
}

/// Returns the names of series, with those of their labels.
fn series(host: &str, port: u16) -> Result<BTreeSet<String>, Failed> {
    let metrics = ask(host, port, "/metrics")?.1;
    let ours = metrics.lines().filter(|line| line.starts_with("sealed_secrets_controller_"));
    Ok(ours
        .map(|line| {
            let (name, rest) = line.split_once(['{', ' ']).unwrap_or((line, ""));
            let mut labels: Vec<_> = rest
                .split('"')
                .filter_map(|part| part.strip_suffix('='))
                .map(|label| label.trim_start_matches(','))
                .collect();
            labels.sort_unstable();
            format!("{name} {}", labels.join(" "))
        })
        .collect())
}
