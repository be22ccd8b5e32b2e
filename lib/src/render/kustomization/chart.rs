//! Charts that a kustomization renders with Helm.
//!
//! Invariants: nothing of a kustomization is an option of Helm; no value of a chart is encrypted, as a chart that decides
//! by marks decides wrongly.

use super::config::Field;
use super::{KustomizationError, Reader, known};
use crate::format::Format;
use crate::render::Role;
use crate::render::open::{ENCRYPTED, holds_encrypted};

impl Reader<'_> {
    /// Reads the charts of a kustomization.
    pub(super) fn charts(&mut self, folder: &str, root: Field<'_>) -> Result<(), KustomizationError> {
        if let Some(old) = root.get("helmChartInflationGenerator") {
            let what = "is an old way to render charts; write it as an entry of helmCharts";
            return Err(KustomizationError::Unsupported { place: old.place(), what });
        }
        let globals = root.get("helmGlobals");
        let home = globals.and_then(|globals| globals.get("chartHome"));
        if let Some(globals) = globals {
            known::check(globals)?;
            for path in ["chartHome", "configHome"].iter().filter_map(|name| globals.get(name)) {
                no_option(path)?;
                self.path(folder, path)?;
            }
        }
        for chart in root.list("helmCharts") {
            known::check(chart)?;
            self.found.has_charts = true;
            let home_copied = self.chart(folder, chart, home)?;
            if let (Some(home), Some(copy)) = (home, home_copied) {
                self.edit(home, copy)?;
            }
        }
        Ok(())
    }

    /// Reads one, and returns the folder that its home is copied to, if that is elsewhere.
    fn chart(
        &mut self,
        folder: &str,
        chart: Field<'_>,
        home: Option<Field<'_>>,
    ) -> Result<Option<String>, KustomizationError> {
        check_options(chart)?;
        if chart.to_json().to_string().contains(&*String::from_utf8_lossy(ENCRYPTED)) {
            let path = "a value in it".to_owned();
            self.found.refused.push(KustomizationError::EncryptedChart { place: chart.place(), path });
        }
        for values in chart.get("valuesFile").into_iter().chain(chart.list("additionalValuesFiles")) {
            let Some(path) = self.file(folder, values, values.text().unwrap_or_default())? else { continue };
            self.refer(folder, &path, values, "")?;
            self.values(&path, values)?;
        }
        let text = |name| chart.get(name).and_then(Field::text).unwrap_or_default();
        let home_path = home.and_then(Field::text).unwrap_or("charts");
        let Some(home) = self.resolve(folder, home.unwrap_or(chart), home_path)? else { return Ok(None) };
        // Where Kustomize looks for it before it asks a registry for it.
        let (name, version) = (text("name"), text("version"));
        let places = [format!("{home}/{name}"), format!("{home}/{name}-{version}")];
        let places = places.map(|place| place.trim_start_matches('/').to_owned());
        let Some(place) = places.iter().find(|place| !name.is_empty() && self.is_folder(place)) else {
            self.fetched(chart)?;
            return Ok(None);
        };
        let files: Vec<String> = self.below(place).cloned().collect();
        let copy = self.copy(folder, &home);
        for path in files {
            if let Some(copy) = &copy {
                let rest = path.strip_prefix(&home).unwrap_or(&path).trim_start_matches('/');
                self.found.copies.insert(format!("{folder}/{copy}/{rest}"), path.clone());
            }
            self.values(&path, chart)?;
        }
        if let Some(copy) = &copy {
            // The folder itself is no file.
            self.found.copies.remove(&format!("{folder}/{copy}"));
        }
        Ok(copy)
    }

    /// Adds a file of values, or another one of a chart.
    fn values(&mut self, path: &str, named: Field<'_>) -> Result<(), KustomizationError> {
        if holds_encrypted(self.files.read(path)?.expose_secret()) {
            let (place, path) = (named.place(), path.to_owned());
            self.found.refused.push(KustomizationError::EncryptedChart { place, path });
        }
        let is_chart = named.text().is_none();
        if is_chart && !path.ends_with("/values.yaml") {
            self.found.files.insert(path.to_owned());
            return Ok(());
        }
        self.add(path, values_role(path), named)
    }
}

/// Makes sure that nothing of a chart is an option of Helm, or leads elsewhere than it seems to.
fn check_options(chart: Field<'_>) -> Result<(), KustomizationError> {
    let names = ["kubeVersion", "name", "nameTemplate", "namespace", "releaseName", "repo", "version"];
    let mut texts = names.iter().filter_map(|name| chart.get(name)).chain(chart.list("apiVersions"));
    texts.try_for_each(no_option)?;
    for field in ["name", "version"].iter().filter_map(|name| chart.get(name)) {
        let text = field.text().unwrap_or_default();
        if text.contains(['/', '\\']) || matches!(text, "." | "..") {
            let what =
                "is a path, where a name or version has to be; name its folder in helmGlobals.chartHome";
            return Err(KustomizationError::Unsupported { place: field.place(), what });
        }
    }
    Ok(())
}

fn no_option(field: Field<'_>) -> Result<(), KustomizationError> {
    if field.text().is_some_and(|text| text.trim_start().starts_with('-')) {
        let what = "starts with `-`, so that Helm would take it for an option";
        return Err(KustomizationError::Unsupported { place: field.place(), what });
    }
    Ok(())
}

fn values_role(path: &str) -> Role {
    let format = Format::from_file_name(path);
    Role::Leaves(if format == Format::Json { Format::Json } else { Format::Yaml })
}
