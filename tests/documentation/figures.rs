//! The figures of `docs/performance.md` are those that were measured.

use std::fs;

use libtest_mimic::Failed;
use serde_json::Value as Json;

/// Compares the page with the data that it is drawn of, in both directions.
pub fn are_those_measured() -> Result<(), Failed> {
    let page = fs::read_to_string(super::top().join("docs/performance.md"))?;
    let mut titles = Vec::new();
    for entry in fs::read_dir(super::top().join("benches/data"))? {
        let path = entry?.path();
        let data: Json = serde_json::from_slice(&fs::read(&path)?)?;
        let missing = |what: &str| format!("{}: {what} {MEND}", path.display());
        let measured = data["measured"].as_str().ok_or_else(|| missing("has no day"))?;
        if !page.contains(&format!("measured on {measured}")) {
            return Err(missing("is of a day that the page does not name;").into());
        }
        for section in data["sections"].as_array().into_iter().flatten() {
            let title = section["title"].as_str().ok_or_else(|| missing("has no title"))?;
            let lines = section["lines"].as_array().into_iter().flatten();
            let lines: Vec<_> = lines.filter_map(Json::as_str).collect();
            let Some((_, behind)) = page.split_once(&format!("\n## {title}\n")) else {
                return Err(missing(&format!("{title:?} is not in the page;")).into());
            };
            let section = behind.split("\n## ").next().unwrap_or_default();
            if !section.contains(&format!("\n{}\n", lines.join("\n"))) {
                return Err(missing(&format!("{title:?} has other figures in the page;")).into());
            }
            titles.push(title.to_owned());
        }
    }
    let stray = page.lines().filter_map(|line| line.strip_prefix("## ")).find(|title| {
        let is_title = |known: &String| known == title;
        !titles.iter().any(is_title)
    });
    match stray {
        Some(title) => Err(format!("docs/performance.md: nothing measured {title:?}; {MEND}").into()),
        None => Ok(()),
    }
}

const MEND: &str = "run benches/run.sh --draw";
