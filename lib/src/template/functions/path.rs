//! Paths, with slashes.

use crate::template::call::{Call, Failure};
use crate::template::value::Value;

type Result = std::result::Result<Value, Failure>;

pub fn base(call: &mut Call<'_, '_>) -> Result {
    let path = call.text(0);
    let end = path.iter().rposition(|&byte| byte != b'/').map(|at| at + 1);
    let base = match end {
        None if path.is_empty() => b".".to_vec(),
        None => b"/".to_vec(),
        Some(end) => {
            let path = &path[..end];
            path[path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1)..].to_vec()
        }
    };
    call.give(base)
}

pub fn dir(call: &mut Call<'_, '_>) -> Result {
    let path = call.text(0);
    let end = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let dir = cleaned(&path[..end]);
    call.give(dir)
}

pub fn clean(call: &mut Call<'_, '_>) -> Result {
    let path = cleaned(call.text(0));
    call.give(path)
}

pub fn ext(call: &mut Call<'_, '_>) -> Result {
    let path = call.text(0);
    let name = path.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let ext = path[name..].iter().rposition(|&byte| byte == b'.').map_or(&[][..], |at| &path[name + at..]);
    let ext = ext.to_vec();
    call.give(ext)
}

pub fn is_abs(call: &mut Call<'_, '_>) -> Result {
    Ok(call.text(0).starts_with(b"/").into())
}

/// Returns the shortest path that means the same.
fn cleaned(path: &[u8]) -> Vec<u8> {
    let is_rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if is_rooted => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    let path = [if is_rooted { &b"/"[..] } else { &[] }, &parts.join(&b'/')].concat();
    if path.is_empty() { b".".to_vec() } else { path }
}
