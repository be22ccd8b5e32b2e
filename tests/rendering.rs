//! The same trees through every face: what comes out, or why nothing does, is the same.

mod faces;
mod trees;

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use selkie::keys::age::{AgeService, Identities};
use selkie::render::{EmitMode, Engine, Limits, Memory, RenderError, Rule, emit, manifests};
use selkie::secret::SecretBytes;
use selkie_decryptor::render::renderer::{Renderer, RendererError, Request};
use serde_json::Value as Json;

use faces::Faces;
use trees::{MadeTree, Maker};

/// The tests of rendering without any peer.
pub fn tests() -> Vec<Trial> {
    vec![Trial::test("rendering::a_thousand_trees_have_one_verdict_through_every_face", one_verdict)]
}

/// What came out, or why nothing did.
type Verdict = Result<Vec<Json>, Refusal>;

/// Why nothing came out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    /// The name of the error.
    name: String,
    /// What it says.
    text: String,
}

fn one_verdict() -> Result<(), Failed> {
    let maker = Maker::new();
    let faces = Faces::start(Path::new(env!("CARGO_BIN_EXE_selkie-decryptor")), &maker.identity)?;
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys.agekey");
    std::fs::write(&keys, &maker.identity)?;
    let renderer = Renderer::new(vec![keys], EmitMode::Plain);
    let mut seen = BTreeMap::new();
    for seed in 0..TREES {
        let tree = maker.tree(seed);
        let expected = of_library(&maker, &tree)?;
        let wanted = tree.fault.map(|fault| fault.error());
        let found = expected.as_ref().err().map(|refusal| refusal.name.as_str());
        if found != wanted {
            return Err(format!("tree {seed}: {found:?} and not {wanted:?}: {:#?}", tree.files).into());
        }
        *seen.entry(tree.fault).or_insert(0) += 1;
        let stream = of_stream(&renderer, &tree)?;
        if stream.as_ref().map_err(|refusal| &refusal.name)
            != expected.as_ref().map_err(|refusal| &refusal.name)
        {
            return Err(format!("tree {seed}: as a stream it is {stream:#?} and not {expected:#?}").into());
        }
        let mut answers = vec![
            ("argocd", faces.argocd(&tree)?, true),
            ("service, as a tree", faces.service_tree(&tree)?, true),
            ("service, as a stream", faces.service_stream(&tree)?, false),
        ];
        // Starting a program takes longer than all of this.
        if seed % 20 == 0 {
            answers.push(("render", faces.render(&tree)?, true));
            answers.push(("helm post-render", faces.post_render(&tree)?, false));
        }
        for (face, answer, knows_files) in answers {
            let is_same = match (&answer, &expected) {
                (Ok(objects), Ok(expected)) => objects == expected,
                // In a stream, documents have no names.
                (Err(text), Err(refusal)) => !knows_files || text.contains(&refusal.text),
                _ => false,
            };
            if !is_same {
                let text = format!("tree {seed}: through {face} it is {answer:#?} and not {expected:#?}");
                return Err(text.into());
            }
        }
    }
    // Each fault was there, and trees without any.
    if seen.len() != 10 { Err(format!("only {seen:?}").into()) } else { Ok(()) }
}

fn of_library(maker: &Maker, tree: &MadeTree) -> Result<Verdict, Failed> {
    let identities = Identities::parse("the tests", &SecretBytes::from(maker.identity.as_str()))?;
    let service = AgeService::new(identities);
    let (rule, limits) = (Rule::default(), Limits::default());
    let engine = Engine { services: Some(&[&service]), sealing_keys: None, rule: &rule, limits: &limits };
    let files = memory(tree)?;
    let render = || {
        let roles = manifests(&files)?;
        let mut sources = engine.open(&files, &roles)?;
        let documents = engine.documents(&files, &roles, &mut sources)?;
        Ok(emit(&rule, &limits, &sources, &documents, &EmitMode::Plain)?.objects)
    };
    Ok(render().map_err(|error| refusal(&error)))
}

/// The files one behind the other, as `cat` does it.
fn of_stream(renderer: &Renderer, tree: &MadeTree) -> Result<Verdict, Failed> {
    let emission = renderer.render_stream(&tree.stream().into(), None, &Request::default());
    verdict(emission.map(|emission| emission.objects))
}

fn verdict(result: Result<Vec<Json>, RendererError>) -> Result<Verdict, Failed> {
    match result {
        Ok(objects) => Ok(Ok(objects)),
        Err(RendererError::Render(error)) => Ok(Err(refusal(&error))),
        Err(error) => Err(error.into()),
    }
}

fn memory(tree: &MadeTree) -> Result<Memory, Failed> {
    let mut files = Memory::default();
    for (path, text) in &tree.files {
        files.insert(path, text.as_str())?;
    }
    Ok(files)
}

fn refusal(error: &RenderError) -> Refusal {
    let name = format!("{error:?}");
    let name = name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned();
    Refusal { name, text: error.to_string() }
}

const TREES: u64 = 1000;
