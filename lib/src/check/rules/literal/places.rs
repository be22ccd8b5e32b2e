//! Which files hold values of charts, and which texts are settings.

use crate::check::Snapshot;

/// Returns whether a path is that of values of a chart: by its name, or as it lies beside or below a `Chart.yaml`.
pub(super) fn is_chart_values(path: &str, files: &dyn Snapshot) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.to_ascii_lowercase();
    let Some(stem) = [".yaml", ".yml", ".json"].iter().find_map(|end| name.strip_suffix(end)) else {
        return false;
    };
    let in_folder = |part: &str| path.split('/').rev().skip(1).any(|folder| folder == part);
    if stem.contains("schema") || in_folder("templates") || in_folder("crds") || stem == "chart" {
        return false;
    }
    let is_named = stem.split(['-', '_', '.']).any(|part| part == "values") || folder.ends_with("/values");
    let is_for_files = ["dashboards", "files"].into_iter().any(in_folder) || name.ends_with(".json");
    is_named || (!is_for_files && is_below_chart(folder, files))
}

fn is_below_chart(folder: &str, files: &dyn Snapshot) -> bool {
    let mut folder = Some(folder);
    for _ in 0..MAX_DEPTH {
        let Some(at) = folder else { return false };
        let chart = if at.is_empty() { "Chart.yaml".to_owned() } else { format!("{at}/Chart.yaml") };
        if files.contains(&chart) {
            return true;
        }
        folder = at.rsplit_once('/').map(|(parent, _)| parent);
    }
    false
}

/// Returns whether a file is a kustomization by its name.
pub(in crate::check::rules) fn is_kustomization(name: &str) -> bool {
    KUSTOMIZATIONS.contains(&name)
}

/// Returns whether a file in a ConfigMap is a program, a page, or what a dashboard shows: no settings.
pub(super) fn is_code(name: &str, text: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_program =
        text.trim_start().starts_with("#!") || text.contains("{{ define") || text.contains("{{- define");
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    is_program || CODE.contains(&end) || (end == "json" && text.contains("\"panels\""))
}

/// What kustomize calls a kustomization.
pub(in crate::check::rules) const KUSTOMIZATIONS: &[&str] =
    &["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// How names of texts end that are no settings.
const CODE: &[&str] = &[
    "bash",
    "crt",
    "css",
    "go",
    "gohtml",
    "gotmpl",
    "groovy",
    "html",
    "java",
    "js",
    "jsonnet",
    "libsonnet",
    "lua",
    "md",
    "mjs",
    "pem",
    "php",
    "pl",
    "ps1",
    "py",
    "rb",
    "rego",
    "rs",
    "sh",
    "sql",
    "star",
    "svg",
    "tmpl",
    "tpl",
    "ts",
    "vcl",
];

/// How many folders up a chart is looked for.
const MAX_DEPTH: usize = 4;
