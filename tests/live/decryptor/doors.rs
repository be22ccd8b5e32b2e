//! Who may ask the controller, how often, and how much.

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::keys::{SMALL, restore};
use super::lab::{CONTROLLER, Lab};
use super::process::{Process, send};
use super::space::Space;
use super::{same, test};
use crate::live::sealed_secrets::Pair;

pub fn tests() -> Vec<Trial> {
    vec![test("doors::tokens_rates_and_sizes", &[], doors)]
}

fn doors(lab: &Lab) -> Result<(), Failed> {
    let namespace = "doors";
    let account = lab.home(namespace)?;
    let rbac = "rbac.authorization.k8s.io";
    // What the chart adds for callers with tokens.
    let rules =
        json!([{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]);
    let items = json!([
        {"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": namespace}, "rules": rules},
        {"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": namespace},
         "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": namespace},
         "subjects": [{"kind": "ServiceAccount", "name": CONTROLLER, "namespace": namespace}]},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "caller", "namespace": namespace}},
    ]);
    lab.cluster.apply(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let pair = Pair::another()?;
    restore(lab, namespace, "key", pair)?;
    let flags = [
        "--all-namespaces=false",
        SMALL,
        "--http-authenticate",
        "--http-max-body=100000",
        "--rate-limit=1",
        "--rate-limit-burst=3",
    ];
    let controller = Process::start(lab, namespace, "one", &account, &flags)?;
    let space = Space::new(lab, namespace, pair.certificate.clone());
    let sealed = space.seal("a", json!({"stringData": {"a": "1"}}))?;
    let moved = sealed.to_string().replace(r#""name":"a""#, r#""name":"b""#);
    let token = format!("Bearer {}", lab.cluster.token(namespace, "caller")?);
    let post = |headers: &[(&str, &str)], body: &str| -> Result<u16, Failed> {
        Ok(send((&lab.cluster.inside, controller.port), "POST", "/v1/verify", headers, body)?.status)
    };
    let known = [("Authorization", token.as_str())];
    same("nobody", post(&[], &sealed.to_string())?, 401)?;
    same("somebody unknown", post(&[("Authorization", "Bearer x.y.z")], &sealed.to_string())?, 401)?;
    same("the certificate is for everybody", controller.get("/v1/cert.pem")?.0, 200)?;
    // Each asks for somebody else, as the API server says of those that it passes on.
    let of = |who: &'static str| [known[0], ("X-Forwarded-For", who)];
    same("somebody known", post(&of("10.0.0.1"), &sealed.to_string())?, 200)?;
    same("another name", post(&of("10.0.0.2"), &moved)?, 409)?;
    same("too large", post(&of("10.0.0.3"), &"x".repeat(200_000))?, 413)?;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(post(&of("10.0.0.4"), &sealed.to_string())?);
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    same("what is answered, until it is too much", statuses[..4].to_vec(), vec![200; 4])?;
    same(
        "the rest is too much",
        refused >= 1 && statuses.iter().all(|status| [200, 429].contains(status)),
        true,
    )?;
    same("others are answered", post(&of("10.0.0.5"), &sealed.to_string())?, 200)?;
    controller.end()
}
