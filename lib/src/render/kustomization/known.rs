//! Fields that Kustomize takes for others, as Go's JSON does not look at the case of letters.

use super::KustomizationError;
use super::config::Field;

/// Makes sure that no field of a map is one that Kustomize takes for a known one, though it is written otherwise.
pub(super) fn check(map: Field<'_>) -> Result<(), KustomizationError> {
    for (key, field) in map.fields() {
        if !KNOWN.contains(&key) && KNOWN.iter().any(|known| folded(known) == folded(key)) {
            let what =
                "is a field that is written with other letters than Kustomize's; write it as Kustomize does";
            return Err(KustomizationError::Unsupported { place: field.place(), what });
        }
    }
    Ok(())
}

/// Returns a key as Go compares it.
fn folded(key: &str) -> String {
    let letter = |letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    key.chars().map(letter).collect()
}

/// Fields of kustomizations, their entries and what is built into Kustomize, as far as they lead to files or programs.
const KNOWN: &[&str] = &[
    "additionalValuesFiles",
    "apiVersion",
    "apiVersions",
    "bases",
    "chartHome",
    "components",
    "configHome",
    "configMapGenerator",
    "configurations",
    "crds",
    "env",
    "envs",
    "files",
    "generators",
    "helmChartInflationGenerator",
    "helmCharts",
    "helmGlobals",
    "kind",
    "kubeVersion",
    "literals",
    "metadata",
    "name",
    "nameTemplate",
    "namespace",
    "openapi",
    "patch",
    "patches",
    "patchesJson6902",
    "patchesStrategicMerge",
    "path",
    "paths",
    "releaseName",
    "replacements",
    "repo",
    "resources",
    "secretGenerator",
    "targetFilePath",
    "transformers",
    "validators",
    "valuesFile",
    "valuesInline",
    "version",
];
