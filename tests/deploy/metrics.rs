//! Alerts and panels are about metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use serde_json::Value as Json;

use super::{object, objects};

pub fn tests() -> Vec<Trial> {
    vec![
        Trial::test("deploy::metrics::alerts_are_about_what_there_is", alerts),
        Trial::test("deploy::metrics::panels_are_about_what_there_is", panels),
        Trial::test("deploy::metrics::what_there_is_is_in_the_program", metrics),
    ]
}

fn alerts() -> Result<(), Failed> {
    let rules = object("monitoring/prometheus-rules.yaml", "PrometheusRule", "sealed-secrets-controller")?;
    let mut names = BTreeSet::new();
    for rule in
        rules["spec"]["groups"].as_array().into_iter().flatten().flat_map(|group| list(&group["rules"]))
    {
        let name = rule["alert"].as_str().ok_or("an alert has a name")?;
        for part in [
            &rule["labels"]["severity"],
            &rule["annotations"]["summary"],
            &rule["annotations"]["description"],
        ] {
            part.as_str()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| format!("{name} does not say all"))?;
        }
        are_known(name, rule["expr"].as_str().ok_or("an alert has an expression")?)?;
        if !names.insert(name.to_owned()) {
            return Err(format!("{name} is there twice").into());
        }
    }
    if names.contains("SealedSecretsUnsealErrorHigh") {
        Ok(())
    } else {
        Err("that of Sealed Secrets is missing".into())
    }
}

fn panels() -> Result<(), Failed> {
    let dashboard = objects("monitoring/dashboard.json")?.into_iter().next().ok_or("there is none")?;
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = panel["title"].as_str().ok_or("a panel has a title")?;
        for target in list(&panel["targets"]) {
            are_known(title, target["expr"].as_str().ok_or("a target has an expression")?)?;
        }
        if !ids.insert(panel["id"].as_u64()) {
            return Err(format!("{title} has the id of another panel").into());
        }
    }
    if ids.len() > 10 { Ok(()) } else { Err("most panels are missing".into()) }
}

/// Every name is one that the program registers, without what is added to the names of counters.
fn metrics() -> Result<(), Failed> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller");
    let mut text = fs::read_to_string(sources.join("metrics.rs"))?;
    for file in fs::read_dir(sources.join("metrics"))? {
        text += &fs::read_to_string(file?.path())?;
    }
    for name in METRICS.iter().chain(&HISTOGRAMS) {
        let counter = name.strip_suffix("_total").unwrap_or(name);
        if [name, counter].iter().all(|name| !text.contains(&format!("\"{name}\""))) {
            return Err(format!("the program has no {name}").into());
        }
    }
    Ok(())
}

fn are_known(place: &str, expression: &str) -> Result<(), Failed> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names: Vec<_> = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).collect();
    if names.is_empty() {
        return Err(format!("{place} is about nothing: {expression}").into());
    }
    for name in names {
        let is_known = METRICS.contains(&name)
            || HISTOGRAMS.iter().any(|histogram| {
                name.strip_prefix(histogram).is_some_and(|part| ["_bucket", "_count", "_sum"].contains(&part))
            });
        if !is_known {
            return Err(format!("{place} is about {name}, which there is not").into());
        }
    }
    Ok(())
}

fn list(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

const PREFIXES: [&str; 3] = ["process_", "sealed_secrets_controller_", "selkie_"];

const HISTOGRAMS: [&str; 2] =
    ["sealed_secrets_controller_http_request_duration_seconds", "selkie_reconcile_duration_seconds"];

/// What the controller tells Prometheus of, besides histograms.
const METRICS: [&str; 20] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "sealed_secrets_controller_condition_info",
    "sealed_secrets_controller_http_requests_total",
    "sealed_secrets_controller_unseal_errors_total",
    "sealed_secrets_controller_unseal_requests_total",
    "selkie_api_requests_total",
    "selkie_attempts_total",
    "selkie_events_dropped_total",
    "selkie_failures_total",
    "selkie_is_leader",
    "selkie_key_not_after_timestamp_seconds",
    "selkie_key_secrets_broken",
    "selkie_keys",
    "selkie_members",
    "selkie_newest_key_not_after_timestamp_seconds",
    "selkie_objects",
    "selkie_queue_depth",
    "selkie_secret_writes_total",
    "selkie_skipped_total",
];
