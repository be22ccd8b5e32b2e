//! Which files a chart is made of: its own, without those that Helm leaves out, and charts beside it that it names as
//! dependencies, which Helm wants to have been copied into it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use selkie::manifest::read_objects;
use selkie::render::{Files, Limits, RenderError, normalized};
use selkie::secret::SecretBytes;

use super::ignore::Ignore;
use super::{HelmError, in_time};

/// Returns the files of the chart in a folder, by their paths from it.
///
/// # Errors
/// If there is no chart, its rules or dependencies cannot be used, it takes too long, or charts that name each other are
/// more than the limits allow.
pub(super) fn chart_files(
    files: &dyn Files,
    all: &BTreeSet<String>,
    folder: &str,
    limits: &Limits,
    deadline: Option<Instant>,
) -> Result<BTreeMap<String, String>, HelmError> {
    let mut collector =
        Collector { files, all, limits, deadline, found: BTreeMap::new(), steps: 0, bytes: 0 };
    collector.collect(folder, "", 0)?;
    Ok(collector.found)
}

/// What collects files. A chart that several charts name is copied for each of them, so that few files may be many.
struct Collector<'a> {
    files: &'a dyn Files,
    all: &'a BTreeSet<String>,
    limits: &'a Limits,
    deadline: Option<Instant>,
    found: BTreeMap<String, String>,
    /// How many charts, files and dependencies were looked at.
    steps: usize,
    /// How much was read.
    bytes: u64,
}

impl Collector<'_> {
    /// Adds the files of the chart in a folder, which are to be at a place in the chart that is rendered.
    fn collect(&mut self, folder: &str, place: &str, depth: usize) -> Result<(), HelmError> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let description = format!("{prefix}Chart.yaml");
        if !self.all.contains(&description) || depth > DEEPEST {
            return Err(HelmError::NoChart { folder: folder.to_owned() });
        }
        in_time(self.deadline)?;
        let ignore = format!("{prefix}.helmignore");
        let rules = if self.all.contains(&ignore) { self.read(&ignore)? } else { SecretBytes::new() };
        let rules = Ignore::parse(rules.expose_secret())
            .map_err(|source| HelmError::Ignore { path: ignore, source })?;
        let all = self.all;
        for path in all.range(prefix.clone()..) {
            let Some(inside) = path.strip_prefix(&prefix) else { break };
            self.step()?;
            let is_git = inside == ".git" || inside.starts_with(".git/");
            // Helm takes them for folders of another system.
            let is_odd = inside.contains('\\');
            if !is_git && !is_odd && !rules.leaves_out(inside) {
                self.found.insert(format!("{place}{inside}"), path.clone());
            }
        }
        for (name, address) in self.local_dependencies(&description)? {
            self.step()?;
            let copy = format!("{place}charts/{name}");
            // What was copied or packed by Helm is newer, or older, as its author means it.
            let is_there = |end: char| {
                let start = format!("{copy}{end}");
                self.found.range(start.clone()..).next().is_some_and(|(path, _)| path.starts_with(&start))
            };
            if is_there('/') || is_there('-') {
                continue;
            }
            let beside = normalized(folder, &address);
            let beside = beside.ok_or_else(|| super::ArgumentError::Outside(format!("file://{address}")))?;
            self.collect(&beside, &format!("{copy}/"), depth + 1)?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), HelmError> {
        self.steps += 1;
        Ok(self.limits.check_files(self.steps)?)
    }

    fn read(&mut self, path: &str) -> Result<SecretBytes, HelmError> {
        let text = self.files.read(path).map_err(RenderError::from)?;
        self.limits.check_file(path, text.len() as u64)?;
        self.bytes += text.len() as u64;
        self.limits.check_total(self.bytes)?;
        Ok(text)
    }

    /// Returns the charts beside this one that it names: the name and the path of each.
    fn local_dependencies(&mut self, description: &str) -> Result<Vec<(String, String)>, HelmError> {
        let text = self.read(description)?;
        let failed = |source| RenderError::Object { place: description.to_owned(), source };
        let described = read_objects(text.expose_secret()).map_err(failed)?;
        let dependencies = described.first().and_then(|chart| chart["dependencies"].as_array());
        let local = |dependency: &serde_json::Value| {
            let address = dependency["repository"].as_str()?.strip_prefix("file://")?;
            let name =
                dependency["name"].as_str().filter(|name| !name.contains(['/', '\\']) && *name != "..")?;
            Some((name.to_owned(), address.to_owned()))
        };
        Ok(dependencies.into_iter().flatten().filter_map(local).collect())
    }
}

/// How many charts may name each other.
const DEEPEST: usize = 8;

#[cfg(test)]
mod tests {
    use selkie::render::Memory;

    use super::*;

    fn found(texts: &[(&str, &str)], folder: &str) -> Result<Vec<String>, String> {
        let mut files = Memory::default();
        for (path, text) in texts {
            files.insert(path, *text).expect("it is inside");
        }
        let all = files.paths().into_iter().collect();
        let found =
            chart_files(&files, &all, folder, &Limits::default(), None).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|(inside, path)| format!("{inside}={path}")).collect())
    }

    #[test]
    fn a_chart_is_made_of_its_files_and_of_those_beside_it() {
        let chart = "name: a\ndependencies:\n- {name: b, repository: \"file://../b\"}\n- {name: c, repository: \"file://../c\"}\n- {name: d, repository: \"https://x\"}\n";
        let texts = [
            ("x/a/Chart.yaml", chart),
            ("x/a/.helmignore", "*.bak"),
            ("x/a/old.bak", ""),
            ("x/a/.git/config", ""),
            ("x/a/charts/c-1.tgz", ""),
            ("x/b/Chart.yaml", "name: b"),
            ("x/b/values.yaml", ""),
            ("x/c/Chart.yaml", "name: c"),
        ];
        let expected = [
            ".helmignore=x/a/.helmignore",
            "Chart.yaml=x/a/Chart.yaml",
            "charts/b/Chart.yaml=x/b/Chart.yaml",
            "charts/b/values.yaml=x/b/values.yaml",
            "charts/c-1.tgz=x/a/charts/c-1.tgz",
        ];
        assert_eq!(found(&texts, "x/a"), Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_chart_that_is_none_or_names_itself_is_refused() {
        assert_eq!(found(&[("a", "")], ""), Err("there is no Chart.yaml in the folder".to_owned()));
        let own = "dependencies: [{name: a, repository: 'file://.'}]";
        assert_eq!(found(&[("x/Chart.yaml", own)], "x"), Err("there is no Chart.yaml in x".to_owned()));
        let out = "dependencies: [{name: a, repository: 'file://../../b'}]";
        assert!(found(&[("x/Chart.yaml", out)], "x").is_err_and(|told| told.contains("leads out")));
    }

    #[test]
    fn charts_that_name_each_other_have_a_limit() {
        let mut files = Memory::default();
        for chart in 0..8 {
            let names = (0..26)
                .map(|number| format!("- {{name: d{number}, repository: 'file://../c{}'}}\n", chart + 1));
            let text = format!("name: c{chart}\ndependencies:\n{}", names.collect::<String>());
            files.insert(&format!("c{chart}/Chart.yaml"), text).expect("it is inside");
        }
        files.insert("c8/Chart.yaml", "name: c8").expect("it is inside");
        let all = files.paths().into_iter().collect();
        let limits = Limits { files: 1000, ..Limits::default() };
        let error = chart_files(&files, &all, "c0", &limits, None).err();
        assert!(error.is_some_and(|error| error.to_string().contains("more than 1000 files")));
        let limits = Limits { total_bytes: 10_000, ..Limits::default() };
        let error = chart_files(&files, &all, "c0", &limits, None).err();
        assert!(error.is_some_and(|error| error.to_string().contains("`totalBytes`")));
        let past = Some(Instant::now());
        let error = chart_files(&files, &all, "c0", &Limits::default(), past).err();
        assert!(matches!(error, Some(HelmError::Timeout)));
    }
}
