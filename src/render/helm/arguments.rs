//! What is said of how a chart is rendered: files with values, and arguments of `helm template`.
//!
//! Invariants: a file is one of those that are rendered, whatever the path says; an argument is one that reaches nothing
//! outside of the chart: no cluster, no network, no program, no file.

use selkie::render::normalized;

/// A file that holds values, as it is meant by a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValuesFile {
    /// The path from the root of the files.
    pub(super) path: String,
    /// Whether it may be missing.
    pub(super) is_optional: bool,
}

/// An argument, sorted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// Let values be that are not the same each time.
    AllowRandom,
    /// Words for Helm.
    Plain(Vec<String>),
    /// The value of a name is what a file holds.
    SetFile(String, ValuesFile),
    /// The schemas of the chart are not looked at.
    SkipSchema,
}

/// An argument or path cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The path is of a kind that names no file of those that are rendered.
    #[error("{0}: values are files of what is rendered; an address, a literal or another program is none")]
    Address(String),
    /// The path leads out.
    #[error("{0}: leads out of the files that are rendered")]
    Outside(String),
    /// The argument is not one of those that are passed on.
    #[error(
        "{0}: is not passed on to Helm, as a chart is rendered without cluster, network, plugins and other files"
    )]
    Refused(String),
    /// Something belongs behind the argument.
    #[error("{0}: a value is missing")]
    Missing(String),
}

impl ValuesFile {
    /// Understands a path as a chart in `folder` means it: relative to the chart; behind a slash, or a name with a dollar
    /// as Argo CD has for further sources, from the root of the files. What tells a plugin to decrypt is not needed.
    ///
    /// # Errors
    /// If it is no file of those that are rendered.
    pub(super) fn parse(folder: &str, text: &str) -> Result<Self, ArgumentError> {
        let (path, is_optional) = file_of(text).ok_or_else(|| ArgumentError::Address(text.to_owned()))?;
        let folder = if path.starts_with(['/', '$']) { "" } else { folder };
        let inside = normalized(folder, path.trim_start_matches('/'));
        let path = inside.ok_or_else(|| ArgumentError::Outside(text.to_owned()))?;
        Ok(Self { path, is_optional })
    }
}

impl Argument {
    /// Sorts out arguments for a chart in `folder`.
    ///
    /// # Errors
    /// If one is not passed on.
    pub(super) fn parse(folder: &str, arguments: &[String]) -> Result<Vec<Self>, ArgumentError> {
        let mut parsed = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) if argument.starts_with('-') => (name, Some(value.to_owned())),
                _ => (argument.as_str(), None),
            };
            if SWITCHES.contains(&name) {
                parsed.push(match name {
                    "--allow-random" => Self::AllowRandom,
                    "--skip-schema-validation" => Self::SkipSchema,
                    _ => Self::Plain(vec![argument.clone()]),
                });
                continue;
            }
            if name != "--set-file" && !OPTIONS.contains(&name) {
                return Err(ArgumentError::Refused(name.to_owned()));
            }
            let value = value.or_else(|| rest.next().cloned());
            let value = value.ok_or_else(|| ArgumentError::Missing(name.to_owned()))?;
            if name == "--set-file" {
                for set in value.split(',') {
                    let (name, path) = set
                        .split_once('=')
                        .ok_or_else(|| ArgumentError::Missing(format!("--set-file {set}")))?;
                    parsed.push(Self::SetFile(name.to_owned(), ValuesFile::parse(folder, path)?));
                }
            } else {
                parsed.push(Self::Plain(vec![format!("{name}={value}")]));
            }
        }
        Ok(parsed)
    }
}

/// Returns the file that a path or address of the `secrets://` family names, and whether it may be missing; `None` if it
/// names none.
pub fn file_of(text: &str) -> Option<(&str, bool)> {
    let (scheme, rest) = match text.split_once("://") {
        None => return Some((text, false)),
        Some(split) => split,
    };
    let (rest, is_first) = rest.strip_prefix('?').map_or((rest, false), |rest| (rest, true));
    let file = match scheme {
        "secrets" => rest,
        "secrets+age-import"
        | "secrets+age-import-kubernetes"
        | "secrets+gpg-import"
        | "secrets+gpg-import-kubernetes" => rest.split_once('?')?.1,
        _ => return None,
    };
    let (file, is_second) = file.strip_prefix('?').map_or((file, false), |file| (file, true));
    let is_file = !file.is_empty() && !file.contains("://") && !file.contains('!');
    is_file.then_some((file, is_first || is_second))
}

/// Arguments that stand alone.
const SWITCHES: &[&str] = &[
    "--allow-random",
    "--include-crds",
    "--is-upgrade",
    "--no-hooks",
    "--skip-crds",
    "--skip-schema-validation",
    "--skip-tests",
];

/// Arguments with a value.
const OPTIONS: &[&str] = &[
    "--api-versions",
    "--kube-version",
    "--set",
    "--set-json",
    "--set-literal",
    "--set-string",
    "--show-only",
    "-a",
    "-s",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_files_of_what_is_rendered() {
        for (text, path, is_optional) in [
            ("values.yaml", "charts/x/values.yaml", false),
            ("secrets://../s.yaml", "charts/s.yaml", false),
            ("secrets://?s.yaml", "charts/x/s.yaml", true),
            ("secrets+age-import:///keys/a.txt?s.yaml", "charts/x/s.yaml", false),
            ("secrets+gpg-import-kubernetes://ns/k#key??s.yaml", "charts/x/s.yaml", true),
            ("/env/s.yaml", "env/s.yaml", false),
            ("$values/env/s.yaml", "$values/env/s.yaml", false),
        ] {
            let expected = ValuesFile { path: path.to_owned(), is_optional };
            assert_eq!(ValuesFile::parse("charts/x", text), Ok(expected), "{text}");
        }
        for text in [
            "https://h/x",
            "secrets://https://h/x",
            "secrets+literal://x",
            "secrets://vals!x",
            "secrets+age-import://k",
        ] {
            assert_eq!(ValuesFile::parse("", text), Err(ArgumentError::Address(text.to_owned())), "{text}");
        }
        let outside = ValuesFile::parse("x", "../../y");
        assert_eq!(outside, Err(ArgumentError::Outside("../../y".to_owned())));
    }

    #[test]
    fn arguments_reach_nothing_outside() {
        let parse =
            |words: &[&str]| Argument::parse("x", &words.iter().map(ToString::to_string).collect::<Vec<_>>());
        let plain = |word: &str| Argument::Plain(vec![word.to_owned()]);
        let file = |path: &str| ValuesFile { path: path.to_owned(), is_optional: false };
        assert_eq!(
            parse(&["--include-crds", "-a", "v1", "--set-file=a=f,b=../g", "--allow-random"]),
            Ok(vec![
                plain("--include-crds"),
                plain("-a=v1"),
                Argument::SetFile("a".to_owned(), file("x/f")),
                Argument::SetFile("b".to_owned(), file("g")),
                Argument::AllowRandom,
            ])
        );
        for name in [
            "--post-renderer",
            "--validate",
            "--values",
            "-f",
            "--output-dir",
            "--dry-run",
            "chart",
            "--repo",
        ] {
            assert_eq!(parse(&[name, "x"]), Err(ArgumentError::Refused(name.to_owned())), "{name}");
        }
        assert_eq!(parse(&["--set"]), Err(ArgumentError::Missing("--set".to_owned())));
    }
}
