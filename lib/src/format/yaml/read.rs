//! YAML text to a tree.
//!
//! # Places
//! - A scalar's span starts at its tag, if it has one, else at its token; it ends with the token. An
//!   anchor before the tag is outside; an anchor *between* tag and token is inside.
//! - A block scalar's span reaches from its header (`|` or `>`) to the end of its last line, without the
//!   line break. Empty lines at the end are part of it only under `+`. A comment behind the header is
//!   inside, and is a node of its own as well.
//! - A value that is not written down has an empty span directly behind the `:` or `-`, or the anchor, or,
//!   if there is no `:`, behind the key.
//! - A block map or list reaches from the start of its first entry (or its tag) to the end of its last
//!   value; a flow map or list from bracket (or tag) to bracket.
//! - The root of a document without content has an empty span of style `Block` where `---`, `...` or the
//!   end of the source stands; that of a document which is a written null has the span of the null, and
//!   style `Plain`.
//! - `key_start` is the first byte of an entry: its `?`, the anchor or tag of its key, or the key itself;
//!   the `-` of an item of a block list.
//! - A comment's span reaches from the `#` to the end of its line. Comments on the line of a value stand
//!   before it in the tree, but behind it in the source.

use super::build::build;
use super::comments::attribute;
use super::outline::{Outline, outline};
use crate::format::{ParseError, ParseErrorKind, nested_metadata};
use crate::secret::SecretBytes;
use crate::tree::Tree;

/// Reads a source.
pub(super) fn read(source: SecretBytes) -> Result<Tree, ParseError> {
    if source.is_empty() {
        return Err(ParseError { line: 1, kind: ParseErrorKind::Empty });
    }
    let text = text_of(source.expose_secret())?;
    let Outline { items, decoded, scanned } = outline(text)?;
    if items.is_empty() {
        let kind = ParseErrorKind::OnlyComments;
        return Err(ParseError { line: 1, kind });
    }
    let comments = attribute(&scanned, &items);
    let mut tree = Tree::new(source);
    tree.intern(decoded.expose_secret());
    let mut tree = build(tree, &items, &comments, &scanned.lines)?;
    tree.set_metadata(nested_metadata(&tree));
    Ok(tree)
}

/// Returns a source as text, if sops would take it as text too.
fn text_of(source: &[u8]) -> Result<&str, ParseError> {
    let error = |at: usize, kind| {
        let line = source[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        ParseError { line, kind }
    };
    let text = std::str::from_utf8(source)
        .map_err(|invalid| error(invalid.valid_up_to(), ParseErrorKind::Encoding))?;
    match position_of_unreadable(source) {
        None => Ok(text),
        Some(at) => {
            let what = "a control character must be written as an escape";
            Err(error(at, ParseErrorKind::Syntax(what.to_owned())))
        }
    }
}

/// Returns the position of the first character that sops refuses, or U+0085, which it takes for the end of a
/// line where YAML 1.2 does not.
fn position_of_unreadable(source: &[u8]) -> Option<usize> {
    let is_suspect = |&byte: &u8| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte >= 0x7F;
    let mut checked = 0;
    // Nearly all chunks hold nothing suspect, and the compiler makes the test of a whole chunk fast.
    while let Some(chunk) = source.get(checked..).filter(|rest| !rest.is_empty()) {
        let chunk = &chunk[..chunk.len().min(CHUNK)];
        if chunk.iter().fold(false, |found, byte| found | is_suspect(byte)) {
            let is_unreadable = |at: &usize| {
                let rest = &source[checked + at..];
                is_suspect(&rest[0]) && is_unreadable(rest)
            };
            if let Some(at) = (0..chunk.len()).find(is_unreadable) {
                return Some(checked + at);
            }
        }
        checked += chunk.len();
    }
    None
}

/// Returns whether `rest` starts with a control character, U+0085 among them, or U+FFFE or U+FFFF; it does
/// not start with a blank or a line break of YAML 1.2.
const fn is_unreadable(rest: &[u8]) -> bool {
    matches!(rest, [0..0x20 | 0x7F, ..] | [0xC2, 0x80..=0x9F, ..] | [0xEF, 0xBF, 0xBE | 0xBF, ..])
}

const CHUNK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{NodeId, Origin, Style, Value};

    /// Returns a node in one line, without those below it.
    fn show(tree: &Tree, id: NodeId) -> String {
        let node = tree.node(id);
        let text = |text| String::from_utf8_lossy(tree.bytes(text)).into_owned();
        let value = match node.value {
            Value::Bool(value) => format!("bool {value}"),
            Value::Comment(comment) if node.style == Style::Inline => format!("inline #{}", text(comment)),
            Value::Comment(comment) => format!("#{}", text(comment)),
            Value::Float(value) => format!("float {value}"),
            Value::Int(value) => format!("int {value}"),
            Value::List => "list".to_owned(),
            Value::Map => "map".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Str(value) => format!("str {:?}", text(value)),
            Value::Time(value) => format!("time {}", text(value)),
            Value::Unsigned(value) => format!("unsigned {value}"),
        };
        let key = tree.key(id).map(|key| format!("{}: ", String::from_utf8_lossy(key))).unwrap_or_default();
        let origin =
            if node.origin == Origin::Source { String::new() } else { format!(" {:?}", node.origin) };
        format!("{key}{value}{origin}")
    }

    /// Returns a tree as indented lines.
    fn dump(source: &str) -> String {
        let tree = read(source.into()).unwrap_or_else(|error| panic!("{source:?}: {error}"));
        let mut open: Vec<u32> = Vec::new();
        let mut lines = String::new();
        for (id, node) in tree.nodes() {
            while open.pop_if(|end| *end as usize <= id.index()).is_some() {}
            lines += &format!("{}{}\n", "  ".repeat(open.len()), show(&tree, id));
            if matches!(node.value, Value::List | Value::Map) {
                open.push(node.end);
            }
        }
        lines
    }

    #[test]
    fn comments_are_where_go_yaml_puts_them() {
        let source =
            "# h\n\n# a\na: 1 # i\nb:\n  # c\n  - x # y\n  - k: v\n    # f\n# g\nsops:\n  mac: x # m\n";
        let expected = "\
map
  # h
  # a
  inline # i
  a: int 1
  b: list
    # c
    inline # y
    str \"x\"
    map
      k: str \"v\"
      # f
  # g
  sops: map Metadata
    inline # m Metadata
    mac: str \"x\" Metadata
";
        assert_eq!(dump(source), expected);
    }

    #[test]
    fn aliases_are_copies_of_what_they_stand_for() {
        let expected = "\
map
  a: map
    b: list
      int 1
      int 2
  c: map Alias
    b: list Copy
      int 1 Copy
      int 2 Copy
  <<: map Alias
    b: list Copy
      int 1 Copy
      int 2 Copy
";
        assert_eq!(dump("a: &x {b: [1, 2]}\nc: *x\n<<: *x\n"), expected);
    }

    #[test]
    fn a_document_may_hold_nothing_but_comments() {
        let expected = "map\n  # c\nmap\n  inline # d\n  a: str \"x\\n\\n\"\nmap\n  # e\n";
        assert_eq!(dump("---\n# c\n---\na: |+ # d\n  x\n\n---\n{}\n...\n# e\n"), expected);
    }
}
