//! The peer that answers with the stores, the cipher and the tree walk of sops, many times a second.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;
use selkie::format::go_general;
use selkie::tree::{NodeId, Origin, Style, Tree, Value};
use serde_json::{Value as Json, json};

/// A running peer. It ends when it is dropped.
pub struct Gotree {
    child: Child,
    pipes: RefCell<Pipes>,
}

struct Pipes {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Why sops refused a request.
#[derive(Debug)]
pub struct Refusal {
    /// What sops was doing.
    pub stage: String,
    /// What it said.
    pub error: String,
}

impl Gotree {
    /// Starts the peer.
    pub fn start(program: &Path) -> Result<Self, Failed> {
        Self::run(&mut Command::new(program))
    }

    /// Starts a peer that talks as this one does.
    pub fn run(command: &mut Command) -> Result<Self, Failed> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the peer has no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("the peer has no output")?);
        Ok(Self { child, pipes: RefCell::new(Pipes { input, output }) })
    }

    /// Asks for one operation.
    pub fn ask(&self, request: &Json) -> Result<Json, Refusal> {
        let mut pipes = self.pipes.borrow_mut();
        let mut line = request.to_string();
        line.push('\n');
        pipes.input.write_all(line.as_bytes()).expect("the peer reads until it is ended");
        let mut answer = String::new();
        pipes.output.read_line(&mut answer).expect("the peer answers each line with one");
        let mut answer: Json = serde_json::from_str(&answer).expect("the peer answers with JSON");
        if answer["ok"] == Json::Bool(true) {
            return Ok(answer);
        }
        let mut text = |field: &str| answer[field].take().as_str().unwrap_or_default().to_owned();
        Err(Refusal { stage: text("stage"), error: text("error") })
    }
}

impl Drop for Gotree {
    fn drop(&mut self) {
        // It may have ended by itself, which is what this is for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a text as the peer writes it.
pub fn text(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// Returns the bytes of a text that the peer wrote.
pub fn bytes(text: &Json) -> Vec<u8> {
    match text {
        Json::String(text) => text.clone().into_bytes(),
        other => {
            STANDARD.decode(other["base64"].as_str().unwrap_or_default()).expect("the peer writes base64")
        }
    }
}

/// Returns the documents of a tree as the peer writes them.
pub fn documents(tree: &Tree) -> Json {
    tree.documents().iter().map(|&root| value(tree, root)).collect()
}

/// Returns documents without their comments.
pub fn without_comments(documents: &Json) -> Json {
    match documents {
        Json::Array(items) => {
            items.iter().filter(|item| item.get("comment").is_none()).map(without_comments).collect()
        }
        Json::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), without_comments(field))).collect()
        }
        other => other.clone(),
    }
}

/// Returns documents with an integer for every number that sops writes, and reads again, as one.
pub fn with_integers(documents: &Json) -> Json {
    match documents {
        Json::Array(items) => items.iter().map(with_integers).collect(),
        Json::Object(fields) => match fields.get("float").and_then(Json::as_str) {
            Some("-0") => json!({ "int": "0" }),
            Some(float) if float.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => {
                json!({ "int": float })
            }
            _ => fields.iter().map(|(name, field)| (name.clone(), with_integers(field))).collect(),
        },
        other => other.clone(),
    }
}

/// Returns the texts of all comments of documents.
pub fn comments(documents: &Json) -> Vec<String> {
    match documents {
        Json::Array(items) => items.iter().flat_map(comments).collect(),
        Json::Object(fields) => match fields.get("comment") {
            Some(comment) => vec![comment.to_string()],
            None => fields.values().flat_map(comments).collect(),
        },
        _ => Vec::new(),
    }
}

fn value(tree: &Tree, id: NodeId) -> Json {
    let children = || tree.children(id).filter(|&child| tree.node(child).origin != Origin::Metadata);
    match tree.node(id).value {
        Value::Bool(value) => json!({ "bool": value }),
        Value::Comment(comment) => {
            let is_inline = tree.node(id).style == Style::Inline;
            let mut value = json!({ "comment": text(tree.bytes(comment)) });
            if is_inline {
                value["inline"] = true.into();
            }
            value
        }
        Value::Float(value) => json!({ "float": go_general(value, -4, 6) }),
        Value::Int(value) => json!({ "int": value.to_string() }),
        Value::List => json!({ "list": children().map(|child| value(tree, child)).collect::<Json>() }),
        Value::Map => json!({ "map": children().map(|child| entry(tree, child)).collect::<Json>() }),
        Value::Null => json!({ "null": true }),
        Value::Str(value) => json!({ "str": text(tree.bytes(value)) }),
        Value::Time(value) => json!({ "time": text(tree.bytes(value)) }),
        Value::Unsigned(value) => json!({ "uint": value.to_string() }),
    }
}

fn entry(tree: &Tree, id: NodeId) -> Json {
    match tree.key(id) {
        None => value(tree, id),
        Some(key) => json!({ "key": text(key), "value": value(tree, id) }),
    }
}
