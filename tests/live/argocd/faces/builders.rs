//! Kustomizations and charts, built with what is encrypted in them.

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::super::lab::Lab;
use super::super::test;
use super::shop::{Face, Mode, Shop, VALUES, yaml_secret};
use crate::live::sync_engine::{Canary, is_so, same, wait};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    let kustomize = [Peer::Kustomize];
    let helm = [Peer::Helm4];
    vec![
        test("our_server_builds_a_kustomization_in_mode_plain", &kustomize, |lab| {
            kustomization(lab, "kustomize-plain", Face::Native, Mode::Plain)
        }),
        test("our_server_builds_a_kustomization_in_mode_reseal", &kustomize, |lab| {
            kustomization(lab, "kustomize-reseal", Face::Native, Mode::Reseal)
        }),
        test("our_command_builds_a_kustomization", &kustomize, |lab| {
            kustomization(lab, "kustomize-command", Face::Command, Mode::Reseal)
        }),
        test("our_server_renders_a_chart_in_mode_plain", &helm, |lab| {
            chart(lab, "helm-plain", Face::Native, Mode::Plain)
        }),
        test("our_server_renders_a_chart_in_mode_reseal", &helm, |lab| {
            chart(lab, "helm-reseal", Face::Native, Mode::Reseal)
        }),
    ]
}

fn kustomization(lab: &'static Lab, name: &'static str, face: Face, mode: Mode) -> Result<(), Failed> {
    let canaries = [Canary::new(), Canary::new()];
    let shop = Shop::new(lab, name)?;
    let _plugin = shop.start(face, mode)?;
    let write = |canary: &Canary| {
        let text = &canary.text;
        shop.encrypt("shop/secret.yaml", &yaml_secret("in-yaml", text), &VALUES)?;
        shop.encrypt("base/base.yaml", &yaml_secret("in-base", text), &VALUES)?;
        shop.encrypt("shop/shop.env", &format!("password={text}\nuser=shop\n"), &[])?;
        shop.encrypt("shop/token.txt", text, &[])?;
        shop.repository.write("base/kustomization.yaml", "resources: [base.yaml]\n")?;
        shop.repository.write("shop/kustomization.yaml", KUSTOMIZATION.replace("NAME", name))
    };
    write(&canaries[0])?;
    let first = shop.repository.commit()?;
    lab.apply(&shop.application())?;
    lab.synced(name, &first)?;
    let holds = |canary: &Canary| {
        shop.holds("pre-in-yaml", "password", &canary.text)?;
        shop.holds("pre-in-base", "password", &canary.text)?;
        generated(&shop, "pre-env-", "password", canary)?;
        generated(&shop, "pre-files-", "token.txt", canary)
    };
    holds(&canaries[0])?;
    write(&canaries[1])?;
    let second = shop.bring()?;
    holds(&canaries[1])?;
    shop.collect()?;
    lab.roll_back(name, &first)?;
    holds(&canaries[0])?;
    shop.collect()?;
    lab.apply(&shop.application())?;
    lab.synced(name, &second)?;
    holds(&canaries[1])?;
    settles(&shop, &second)?;
    canaries.iter().try_for_each(|canary| leaves(&shop, canary, mode))
}

/// Waits until a Secret whose name is made of its values is there.
fn generated(shop: &Shop, prefix: &str, key: &str, canary: &Canary) -> Result<(), Failed> {
    let names = wait(&format!("{} has {prefix}*", shop.name), || {
        let secrets = shop.list("api/v1/secrets")?;
        let name = |secret: &serde_json::Value| secret["metadata"]["name"].as_str().map(str::to_owned);
        let names: Vec<_> = secrets.iter().filter_map(name).filter(|name| name.starts_with(prefix)).collect();
        Ok(if names.is_empty() { Err(format!("{} Secrets", secrets.len())) } else { Ok(names) })
    })?;
    let value = |name: &String| shop.lab.ground.secret_value(shop.name, name, key);
    wait(&format!("{} has the value in {prefix}*", shop.name), || {
        let values: Result<Vec<_>, _> = names.iter().map(value).collect();
        let is_there = values?.contains(&canary.text);
        Ok(is_there.then_some(()).ok_or_else(|| format!("{names:?}")))
    })
}

fn chart(lab: &'static Lab, name: &'static str, face: Face, mode: Mode) -> Result<(), Failed> {
    let canaries = [Canary::new(), Canary::new()];
    let shop = Shop::new(lab, name)?;
    let _plugin = shop.start(face, mode)?;
    shop.repository.write("shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n")?;
    shop.repository.write("shop/values.yaml", "color: blue\n")?;
    shop.repository.write("shop/templates/all.yaml", TEMPLATES)?;
    let write =
        |canary: &Canary| shop.encrypt("shop/secrets.yaml", &format!("password: {}\n", canary.text), &[]);
    write(&canaries[0])?;
    let first = shop.repository.commit()?;
    let mut application = shop.application();
    application.parameters =
        json!([{"name": "values", "array": ["secrets.yaml"]}, {"name": "release", "string": "web"}]);
    lab.apply(&application)?;
    lab.synced(name, &first)?;
    let holds = |canary: &Canary| {
        shop.holds("web-direct", "password", &canary.text)?;
        shop.holds("web-encoded", "password", &canary.text)?;
        let map = lab.ground.object(&format!("/api/v1/namespaces/{name}/configmaps/web-plain"))?;
        same("what is not encrypted", &map["data"], &json!({"color": "blue"}))
    };
    holds(&canaries[0])?;
    write(&canaries[1])?;
    let second = shop.bring()?;
    holds(&canaries[1])?;
    lab.roll_back(name, &first)?;
    holds(&canaries[0])?;
    lab.apply(&application)?;
    lab.synced(name, &second)?;
    holds(&canaries[1])?;
    settles(&shop, &second)?;
    canaries.iter().try_for_each(|canary| leaves(&shop, canary, mode))
}

/// Makes sure that nothing changes any more.
fn settles(shop: &Shop, revision: &str) -> Result<(), Failed> {
    shop.lab.refresh(shop.name, true)?;
    shop.lab.synced(shop.name, revision)?;
    let before = shop.traces()?;
    shop.lab.refresh(shop.name, true)?;
    shop.lab.synced(shop.name, revision)?;
    same("what was written", shop.traces()?, before)
}

/// Makes sure that plaintext is nowhere, but for Redis if nothing is sealed.
fn leaves(shop: &Shop, canary: &Canary, mode: Mode) -> Result<(), Failed> {
    let in_redis = shop.in_redis(canary)?;
    is_so(
        "Redis holds it only in clear",
        in_redis.is_empty() == (mode != Mode::Plain),
        format!("{in_redis:?}"),
    )?;
    shop.is_nowhere(canary, &[])
}

const KUSTOMIZATION: &str = "\
namePrefix: pre-
namespace: NAME
resources:
- ../base
- secret.yaml
secretGenerator:
- name: env
  envs: [shop.env]
- name: files
  files: [token.txt]
";
const TEMPLATES: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-direct
  namespace: {{ .Release.Namespace }}
stringData:
  password: {{ .Values.password | quote }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-encoded
data:
  password: {{ .Values.password | b64enc }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-plain
data:
  color: {{ .Values.color }}
";
