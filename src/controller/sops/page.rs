//! What the page `docs/sops-in-the-cluster.md` shows is true: its examples are the files that sops made, they open, and
//! its policy is one.

use std::fs;
use std::path::{Path, PathBuf};

use selkie::format::Format;
use selkie::tree::MetadataEntry;
use serde_json::Value as Json;

use super::isindir::IsindirSecrets;
use super::kit::{World, told};
use super::own::SopsSecrets;
use super::policy::Policy;
use crate::controller::source::Source;

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let page = read("docs/sops-in-the-cluster.md");
    let start = format!("```{language}\n");
    let block = |text: &str| text.split("```").next().unwrap_or_default().to_owned();
    page.split(&start).skip(1).map(block).collect()
}

/// Returns the objects of all blocks, as an API server would give them.
fn objects() -> Vec<Json> {
    let object = |block: &String| {
        let tree = Format::Yaml.read(block.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{block}"));
        let mut object = tree.to_json(tree.documents()[0]);
        if let MetadataEntry::Present(sops) = tree.metadata() {
            object["sops"] = Json::Object(sops.clone());
        }
        if object["metadata"].is_object() {
            object["metadata"]["uid"] = "u-1".into();
        }
        object
    };
    blocks("yaml").iter().map(object).collect()
}

#[test]
fn examples_are_what_sops_made() {
    let blocks = blocks("yaml");
    for name in ["example.yaml", "encrypted-example-isindir.yaml"] {
        assert!(
            blocks.contains(&read(&format!("testdata/controller/sops/{name}"))),
            "{name} is not on the page"
        );
    }
}

#[test]
fn examples_open_to_the_secret_that_is_told() {
    let world = World::new();
    world.cluster.put(
        "shop",
        "sops-keys",
        "1",
        &[("identity.agekey", &read("testdata/controller/sops/keys.txt"))],
    );
    let (own, isindir) = (SopsSecrets::new(world.keys()), IsindirSecrets::new(world.keys(), false));
    let mut count = 0;
    for object in objects().iter().filter(|object| object["kind"] == "SopsSecret") {
        let sources: [&dyn Source; 2] = [&own, &isindir];
        let source = sources.into_iter().find(|source| source.resource().api_version == object["apiVersion"]);
        let desired = pollster::block_on(source.expect("a source").open(object));
        let desired = desired.unwrap_or_else(|failure| panic!("{failure}\n{object}"));
        let secrets: Vec<_> = desired.secrets.iter().map(told).collect();
        assert_eq!(
            secrets,
            [r#"shop/db kubernetes.io/basic-auth {"password":"of the sea","username":"selkie"}"#]
        );
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn the_policy_is_one_and_shows_every_field() {
    let policies: Vec<_> = blocks("yaml").into_iter().filter(|block| block.contains("rules:\n")).collect();
    assert_eq!(policies.len(), 1);
    let policy = Policy::parse(Path::new("policy.yaml"), policies[0].as_bytes());
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        policy.rule("shop").is_some() && !policy.addresses().is_empty() && !policy.key_services().is_empty()
    );
    for field in super::policy::FIELDS {
        assert!(policies[0].contains(&format!(" {field}:")), "{field} is not shown");
        assert!(
            read("docs/sops-in-the-cluster.md").contains(&format!("| `{field}` |")),
            "{field} is not told of"
        );
    }
}

#[test]
fn every_flag_and_metric_that_is_told_of_is_there() {
    let page = read("docs/sops-in-the-cluster.md");
    let (flags, metrics) = (read("src/controller/args.rs"), read("src/controller/metrics/isindir.rs"));
    let words = page.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter));
    for word in words {
        if let Some(flag) = word.strip_prefix("--sops") {
            assert!(flags.contains(&format!("sops{}:", flag.replace('-', "_"))), "there is no {word}");
        }
        if let Some(name) = word.strip_suffix("_total") {
            assert!(metrics.contains(&format!("\"{name}\"")), "there is no {word}");
        }
    }
}
