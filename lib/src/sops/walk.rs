//! The walk over a document's values, in the order that the MAC has, each with its additional data and
//! whether the rule selects it.

use super::selector::{Matcher, Selector};
use crate::tree::{NodeId, Origin, Style, Tree, Value};

/// Walks over a tree whose values, but not whose structure, may change meanwhile.
pub(crate) struct Walk<'a> {
    matcher: Option<Matcher<'a>>,
    selector: &'a Selector,
    next: usize,
    frames: Vec<Frame>,
    /// How many of them a comment covers that matches.
    matched_frames: usize,
    aad: String,
    /// The additional data of the innermost map or list that ended just now.
    left: String,
}

/// A scalar or comment of the walk.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    pub(crate) id: NodeId,
    /// Whether the rule says that the leaf is encrypted.
    pub(crate) selected: bool,
}

/// A map or list that the walk is in.
struct Frame {
    end: usize,
    aad_length: usize,
    key_matched: bool,
    comment_matched: bool,
}

impl<'a> Walk<'a> {
    /// Starts a walk; where `single_value` the rule applies to nothing and everything is selected.
    pub(crate) fn new(selector: &'a Selector, single_value: bool) -> Self {
        let matcher = (!single_value).then(|| Matcher::new(selector));
        Self {
            matcher,
            selector,
            next: 0,
            frames: Vec::new(),
            matched_frames: 0,
            aad: String::new(),
            left: String::new(),
        }
    }

    /// Returns the next leaf; [`Self::aad`] then has its additional data.
    pub(crate) fn next(&mut self, tree: &Tree) -> Option<Leaf> {
        loop {
            let id = tree.id(self.next)?;
            let node = tree.node(id);
            self.leave(self.next);
            if node.origin == Origin::Metadata {
                self.next = node.end as usize;
                continue;
            }
            self.next += 1;
            match node.value {
                Value::Comment(text) => return Some(self.comment(tree, id, tree.bytes(text))),
                Value::List | Value::Map => self.enter(tree, id),
                _ => return Some(self.scalar(tree, id)),
            }
        }
    }

    /// Returns the additional data of the leaf that was returned last.
    pub(crate) fn aad(&self) -> &str {
        &self.aad
    }

    /// Returns the additional data that a comment at this place may have been given instead, as writers
    /// differ on what a comment belongs to: the maps and lists that end before it, and those around it.
    pub(crate) fn other_comment_aads(&self) -> impl Iterator<Item = &str> {
        let ends = self.left.match_indices(':').map(|(colon, _)| colon + 1).rev();
        let before = ends.map(|end| &self.left[..end]).take(MOST_COMMENT_AADS);
        let outer = self.frames.iter().rev().map(|frame| frame.aad_length);
        let outer = outer.filter(|&length| length < self.aad.len());
        before.chain(outer.map(|length| root_aad(&self.aad[..length])).take(MOST_COMMENT_AADS))
    }

    /// Leaves the maps and lists that end before node `index`.
    fn leave(&mut self, index: usize) {
        let mut is_innermost = true;
        while let Some(frame) = self.frames.pop_if(|frame| frame.end <= index) {
            if std::mem::take(&mut is_innermost) {
                self.left.clear();
                self.left.push_str(&self.aad[..frame.aad_length]);
            }
            self.matched_frames -= usize::from(frame.comment_matched);
            self.forget_comments();
        }
        let length = self.frames.last().map_or(0, |frame| frame.aad_length);
        self.aad.truncate(length);
    }

    fn enter(&mut self, tree: &Tree, id: NodeId) {
        self.left.clear();
        let key_matched = self.push_key(tree, id);
        let end = tree.node(id).end as usize;
        self.frames.push(Frame { end, aad_length: self.aad.len(), key_matched, comment_matched: false });
    }

    fn scalar(&mut self, tree: &Tree, id: NodeId) -> Leaf {
        self.left.clear();
        let key_matched = self.push_key(tree, id);
        let selected = self.selects(key_matched, self.comment_matched());
        self.forget_comments();
        Leaf { id, selected }
    }

    fn comment(&mut self, tree: &Tree, id: NodeId, text: &[u8]) -> Leaf {
        let key_matched = self.frames.last().is_some_and(|frame| frame.key_matched);
        let before = self.comment_matched();
        let is_seen = tree.node(id).style != Style::Unseen;
        let matched = is_seen && self.matcher.as_ref().is_some_and(|matcher| matcher.comment_matches(text));
        if let Some(frame) = self.frames.last_mut().filter(|frame| matched && !frame.comment_matched) {
            frame.comment_matched = true;
            self.matched_frames += 1;
        }
        // A comment that asks for encryption stays readable itself; one that asks for none is covered.
        let covered = match self.selector {
            Selector::UnencryptedCommentRegex(_) => before || matched,
            _ => before,
        };
        if self.aad.is_empty() {
            self.aad.push(':');
        }
        debug_assert!(tree.node(id).key.is_none(), "a comment has no key");
        Leaf { id, selected: self.selects(key_matched, covered) }
    }

    fn selects(&self, key_matched: bool, comment_matched: bool) -> bool {
        let matched = if self.selector.looks_at_comments() { comment_matched } else { key_matched };
        self.matcher.is_none() || self.selector.selects(matched)
    }

    const fn comment_matched(&self) -> bool {
        self.matched_frames > 0
    }

    /// A value uses up the comments above it.
    fn forget_comments(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            self.matched_frames -= usize::from(std::mem::take(&mut frame.comment_matched));
        }
    }

    /// Appends a node's key to the additional data; returns whether it or a key above matches the rule.
    fn push_key(&mut self, tree: &Tree, id: NodeId) -> bool {
        let above = self.frames.last().is_some_and(|frame| frame.key_matched);
        // SOPS leaves list positions out of the path, so equal items of one list share their additional
        // data. Do not "fix" this: files in the wild depend on it.
        let Some(key) = tree.key(id) else { return above };
        self.aad.push_str(&String::from_utf8_lossy(key));
        self.aad.push(':');
        above || self.matcher.as_mut().is_some_and(|matcher| matcher.key_matches(key))
    }
}

/// The additional data of comments at the top is a lone colon.
fn root_aad(aad: &str) -> &str {
    if aad.is_empty() { ":" } else { aad }
}

/// How far around a comment its additional data is looked for, so that hostile nesting costs no time.
const MOST_COMMENT_AADS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;
    use crate::tree::{Node, Span};

    /// `a: {b: [1, {c: 2}]}`, `# note`, `d_clear: 3`.
    fn tree() -> Tree {
        let mut tree = Tree::new(SecretBytes::new());
        let root = tree.open_document(Span::default(), Style::Block);
        tree.push_json(Some("a"), &serde_json::json!({"b": [1, {"c": 2}]}));
        let note = tree.intern(b" note");
        tree.push(Node::new(Value::Comment(note), None, Span::default(), Style::Plain));
        tree.push_json(Some("d_clear"), &serde_json::json!(3));
        tree.push_json(Some("e"), &serde_json::json!(4));
        tree.close(root);
        tree
    }

    fn walk(field: &'static str, text: &str) -> Vec<(String, bool)> {
        let selector = Selector::from_fields(|name| (name == field).then_some(text));
        let selector = selector.expect("a valid rule").expect("a rule");
        let (tree, mut walk) = (tree(), Walk::new(&selector, false));
        let mut seen = Vec::new();
        while let Some(leaf) = walk.next(&tree) {
            seen.push((walk.aad().to_owned(), leaf.selected));
        }
        seen
    }

    fn selected(field: &'static str, text: &str) -> Vec<bool> {
        walk(field, text).into_iter().map(|(_, selected)| selected).collect()
    }

    #[test]
    fn list_positions_are_no_part_of_the_path() {
        let aads: Vec<_> = walk("unencrypted_suffix", "_clear").into_iter().map(|(aad, _)| aad).collect();
        assert_eq!(aads, ["a:b:", "a:b:c:", ":", "d_clear:", "e:"]);
    }

    #[test]
    fn each_rule_selects_as_its_name_says() {
        assert_eq!(selected("unencrypted_suffix", "_clear"), [true, true, true, false, true]);
        assert_eq!(selected("encrypted_suffix", "_clear"), [false, false, false, true, false]);
        assert_eq!(selected("unencrypted_regex", "^b$"), [false, false, true, true, true]);
        assert_eq!(selected("encrypted_regex", "^b$"), [true, true, false, false, false]);
        assert_eq!(selected("unencrypted_comment_regex", "note"), [true, true, false, false, true]);
        assert_eq!(selected("encrypted_comment_regex", "note"), [false, false, false, true, false]);
    }
}
