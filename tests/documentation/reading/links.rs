//! Links within the repository lead somewhere, and every page is found from the first one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use pulldown_cmark::{Event, Tag, TagEnd};

use super::{Faults, events};
use crate::documentation::{pages, top};

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    vec![
        Trial::test("documentation::links_lead_somewhere", links_lead_somewhere),
        Trial::test("documentation::every_page_is_linked_from_the_readme", every_page_is_linked),
    ]
}

fn links_lead_somewhere() -> Result<(), Failed> {
    let mut faults = Faults::default();
    let others = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| top().join(name));
    let mut anchors = BTreeMap::new();
    for page in pages().into_iter().chain(others) {
        let text = fs::read_to_string(&page)?;
        let name = page.strip_prefix(top())?.display().to_string();
        for (address, offset) in links(&text) {
            let (path, anchor) = address.split_once('#').unwrap_or((&address, ""));
            let target = if path.is_empty() { page.clone() } else { joined(&page, path) };
            if !target.exists() {
                faults.add(&name, &text, offset, &format!("there is no {path}"));
            } else if !anchor.is_empty() && target.extension() == Some(OsStr::new("md")) {
                if !anchors.contains_key(&target) {
                    anchors.insert(target.clone(), self::anchors(&fs::read_to_string(&target)?));
                }
                if !anchors[&target].contains(anchor) {
                    faults.add(&name, &text, offset, &format!("{path} has no heading #{anchor}"));
                }
            }
        }
    }
    faults.end()
}

fn every_page_is_linked() -> Result<(), Failed> {
    let readme = top().join("README.md");
    let text = fs::read_to_string(&readme)?;
    let linked: BTreeSet<_> = links(&text)
        .into_iter()
        .map(|(address, _)| joined(&readme, address.split('#').next().unwrap_or_default()))
        .collect();
    let mut faults = Faults::default();
    for page in pages().into_iter().filter(|page| *page != readme && !linked.contains(page)) {
        faults.add("README.md", &text, text.len(), &format!("it has no link to {}", page.display()));
    }
    faults.end()
}

/// Returns the links of a page that lead to something of the repository, and where they are.
fn links(text: &str) -> Vec<(String, usize)> {
    let link = |(event, range): (Event<'_>, std::ops::Range<usize>)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            (!dest_url.contains("://")).then(|| (dest_url.to_string(), range.start))
        }
        _ => None,
    };
    events(text).filter_map(link).collect()
}

/// Returns the anchors of the headings of a page, as hosts of Git make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut heading) = (BTreeSet::new(), None::<String>);
    for (event, _) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let twins = (1..).map(|number| format!("{anchor}-{number}"));
                let free = std::iter::once(anchor.clone()).chain(twins).find(|name| !anchors.contains(name));
                anchors.extend(free);
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    *heading += &text;
                }
            }
            _ => {}
        }
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let kept = |char: char| match char {
        ' ' => Some('-'),
        '-' | '_' => Some(char),
        _ => char.is_alphanumeric().then_some(char),
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}

/// Returns where a link of a page leads.
fn joined(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap_or(page).to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}
