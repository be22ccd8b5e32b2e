//! A value on one line, in brackets.

use crate::format::yaml::style::{
    Context, binary, choose, double_quoted, plain_scalar, quoted, stays_string,
};
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Tree, Value};

/// Appends the value at `id` on one line, without comments.
pub(in crate::format::yaml) fn flow(tree: &Tree, id: NodeId, out: &mut SecretBytes) {
    let mut frames: Vec<Frame> = Vec::new();
    let mut next = id.index();
    let end = tree.node(id).end as usize;
    while next < end {
        let id = tree.id(next).expect("a node before the end of its parent exists");
        let node = tree.node(id);
        close(&mut frames, next, out);
        next += 1;
        if matches!(node.value, Value::Comment(_)) {
            continue;
        }
        lead_in(tree, id, &mut frames, out);
        match bracket(node) {
            Some((open, close)) => {
                out.push(open);
                frames.push(Frame { end: node.end as usize, close, is_empty: true });
            }
            None => scalar(tree, node.value, out),
        }
    }
    close(&mut frames, end, out);
}

/// Appends an entry as it stands in a flow map.
pub(in crate::format::yaml) fn flow_key(key: &[u8], is_merge: bool, out: &mut SecretBytes) {
    let start = out.len();
    match is_merge && key == b"<<" {
        true => out.push_str("<<"),
        false => key_text(key, out),
    }
    // A key that is longer must be announced.
    if out.len() - start > LONGEST_SIMPLE_KEY {
        let key = out.slice(start..out.len()).unwrap_or_default();
        out.truncate(start);
        out.push_str("? ");
        out.extend_from_slice(key.expose_secret());
        out.push(b' ');
    }
    out.push_str(": ");
}

/// Appends a key without its colon.
pub(in crate::format::yaml) fn key_text(key: &[u8], out: &mut SecretBytes) {
    match std::str::from_utf8(key) {
        Ok(text) => string(text, out),
        Err(_) => bytes(key, out),
    }
}

/// Appends a scalar on one line.
pub(in crate::format::yaml) fn scalar(tree: &Tree, value: Value, out: &mut SecretBytes) {
    match value {
        Value::Str(text) => match std::str::from_utf8(tree.bytes(text)) {
            Ok(text) => string(text, out),
            Err(_) => bytes(tree.bytes(text), out),
        },
        value => {
            let text = plain_scalar(tree, value);
            out.push_str(&text);
            // sops would write, and read, an integer.
            if matches!(value, Value::Float(_))
                && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
            {
                out.push_str(".0");
            }
        }
    }
}

/// A map or list that is being written.
struct Frame {
    end: usize,
    close: u8,
    is_empty: bool,
}

/// Writes what stands before a value: a comma, a key.
fn lead_in(tree: &Tree, id: NodeId, frames: &mut [Frame], out: &mut SecretBytes) {
    let Some(frame) = frames.last_mut() else { return };
    if !frame.is_empty {
        out.push_str(", ");
    }
    frame.is_empty = false;
    if let Some(key) = tree.key(id) {
        flow_key(key, super::is_mergeable(tree, id), out);
    }
}

/// Ends the maps and lists that end before node `next`.
fn close(frames: &mut Vec<Frame>, next: usize, out: &mut SecretBytes) {
    while let Some(frame) = frames.pop_if(|frame| frame.end <= next) {
        out.push(frame.close);
    }
}

const fn bracket(node: &Node) -> Option<(u8, u8)> {
    match node.value {
        Value::List => Some((b'[', b']')),
        Value::Map => Some((b'{', b'}')),
        _ => None,
    }
}

fn string(text: &str, out: &mut SecretBytes) {
    match text.contains('\n') || !stays_string(text) {
        true => double_quoted(text, out),
        false => quoted(text, choose(text, Context::Flow), out),
    }
}

fn bytes(bytes: &[u8], out: &mut SecretBytes) {
    out.push_str("!!binary ");
    double_quoted(&binary(bytes).replace('\n', ""), out);
}

/// The longest key that needs no question mark anywhere, in bytes.
const LONGEST_SIMPLE_KEY: usize = 1000;
