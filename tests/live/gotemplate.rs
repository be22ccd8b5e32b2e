//! The peer that renders templates with Go and sprig themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use proptest::test_runner::TestCaseError;
use selkie::secret::SecretBytes;
use selkie::template::{Limits, TemplateError};
use serde_json::{Map, Value as Json, json};

use super::properties::{number_of_documents, runner};
use crate::generate;
use crate::peer::Peer;
use crate::template::{context, programs, run};

pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Gotemplate.test("makes_of_programs_what_was_recorded", |peer| recorded(&peer)),
        Peer::Gotemplate.test("makes_of_templates_what_we_make", |peer| generated(&peer)),
    ]
}

/// The recorded answers are still those of the peer.
fn recorded(peer: &Path) -> Result<(), Failed> {
    let peer = Gotemplate::start(peer)?;
    let context = context();
    let changed =
        programs().into_iter().filter(|program| peer.render(&program.template, &context) != program.recorded);
    let changed: Vec<_> = changed.map(|program| program.template).collect();
    if changed.is_empty() { Ok(()) } else { Err(format!("changed:\n{}", changed.join("\n")).into()) }
}

/// Both sides make the same of generated templates.
fn generated(peer: &Path) -> Result<(), Failed> {
    let peer = Gotemplate::start(peer)?;
    let context = context();
    runner(5 * number_of_documents()?).run(&generate::templates(), |template| {
        let (ours, theirs) =
            (run("t", &template, &context, &Limits::default()), peer.render(&template, &context));
        compare(&template, ours, theirs).map_err(TestCaseError::fail)
    })?;
    Ok(())
}

fn compare(
    template: &str,
    ours: Result<SecretBytes, TemplateError>,
    theirs: Result<Vec<u8>, String>,
) -> Result<(), String> {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) if ours.expose_secret() == theirs => Ok(()),
        (Err(ours), Err(theirs)) if says_as_much(&ours.to_string(), &theirs) => Ok(()),
        // What takes too much here is not compared.
        (Err(TemplateError::Limit { .. }), _) => Ok(()),
        (ours, theirs) => {
            let ours = ours.map(|output| String::from_utf8_lossy(output.expose_secret()).into_owned());
            let theirs = theirs.map(|output| String::from_utf8_lossy(&output).into_owned());
            Err(format!("{template}\nours:   {ours:?}\ntheirs: {theirs:?}"))
        }
    }
}

/// Returns whether errors are the same but for what ours does not show.
fn says_as_much(ours: &str, theirs: &str) -> bool {
    let mut rest = theirs;
    let mut parts = ours.split("(not shown)");
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let mut is_open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        is_open = part.is_empty();
    }
    rest.is_empty() || is_open
}

/// A running peer. It ends when it is dropped.
struct Gotemplate {
    child: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Gotemplate {
    fn start(program: &Path) -> Result<Self, Failed> {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the peer has no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("the peer has no output")?);
        Ok(Self { child, pipes: RefCell::new((input, output)) })
    }

    fn render(&self, template: &str, context: &BTreeMap<String, SecretBytes>) -> Result<Vec<u8>, String> {
        let context: Map<String, Json> = context
            .iter()
            .map(|(key, value)| (key.clone(), STANDARD.encode(value.expose_secret()).into()))
            .collect();
        let request = json!({ "name": "t", "context": context, "template": template });
        let (input, output) = &mut *self.pipes.borrow_mut();
        writeln!(input, "{request}").expect("the peer reads until it is ended");
        let mut answer = String::new();
        output.read_line(&mut answer).expect("the peer answers each line with one");
        let answer: Json = serde_json::from_str(&answer).expect("the peer answers with JSON");
        match answer["output"].as_str() {
            Some(output) => Ok(STANDARD.decode(output).expect("the peer writes base64")),
            None => Err(answer["error"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

impl Drop for Gotemplate {
    fn drop(&mut self) {
        // It may have ended by itself, which is what this is for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
