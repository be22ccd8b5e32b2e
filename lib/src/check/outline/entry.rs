//! A value in its place in a document.

use std::collections::HashSet;
use std::ops::Range;

use super::places::Places;
use super::{NodeKind, Outline, VISIT, cut};

/// A value of a document, or a key and its value. What it stands for, if it is an alias, is what it says.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    outline: &'a Outline<'a>,
    /// What is written.
    written: usize,
    /// What it stands for.
    node: usize,
}

impl<'a> Entry<'a> {
    pub(super) fn new(outline: &'a Outline<'_>, node: usize) -> Self {
        let target = outline.nodes[node].target;
        Self { outline, written: node, node: target.unwrap_or(node) }
    }

    /// Returns whether an alias is written for it.
    #[must_use]
    pub fn is_alias(self) -> bool {
        self.written != self.node
    }

    /// Returns what it is.
    #[must_use]
    pub fn kind(self) -> NodeKind {
        self.outline.nodes[self.node].kind
    }

    /// Returns whether it is a map.
    #[must_use]
    pub fn is_map(self) -> bool {
        self.kind() == NodeKind::Map
    }

    /// Returns whether it is a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        self.kind() == NodeKind::List
    }

    /// Returns the text of a scalar, as it is meant.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        let node = &self.outline.nodes[self.node];
        matches!(node.kind, NodeKind::Scalar { .. }).then(|| self.outline.bytes(node.value))
    }

    /// Returns whether it is null, or a plain scalar that says nothing.
    #[must_use]
    pub fn is_null(self) -> bool {
        let is_plain = matches!(self.kind(), NodeKind::Scalar { is_quoted: false, .. });
        is_plain && matches!(self.text(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns whether it is a plain scalar that is no text: a number, a truth value or null.
    #[must_use]
    pub fn is_number_or_bool(self) -> bool {
        let is_plain = matches!(self.kind(), NodeKind::Scalar { is_quoted: false, .. });
        let text = self.text().unwrap_or_default();
        let is_word =
            ["true", "false", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word));
        is_plain && (self.is_null() || is_word || text.parse::<f64>().is_ok())
    }

    /// Returns whether its tag says that it is base64 of something.
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self.kind(), NodeKind::Scalar { is_binary: true, .. })
    }

    /// Returns whether a template makes a part of it.
    #[must_use]
    pub fn has_action(self) -> bool {
        self.outline.has_action(&self.span())
    }

    /// Returns its key, if it is in a map.
    #[must_use]
    pub fn key(self) -> Option<&'a str> {
        self.outline.nodes[self.written].key.as_ref().map(|(key, _)| self.outline.bytes(*key))
    }

    /// Returns the bytes of its key in the text of the file, or where it starts if it has none.
    #[must_use]
    pub fn key_span(self) -> Range<usize> {
        let node = &self.outline.nodes[self.written];
        node.key.as_ref().map_or(node.span.start..node.span.start, |(_, span)| span.clone())
    }

    /// Returns the bytes of what it says in the text of the file: for an alias, those of what it stands for.
    #[must_use]
    pub fn span(self) -> Range<usize> {
        self.outline.nodes[self.node].span.clone()
    }

    /// Returns the bytes where it is written, with its key.
    #[must_use]
    pub fn written_span(self) -> Range<usize> {
        let key = self.key_span();
        key.start..self.outline.nodes[self.written].span.end.max(key.end)
    }

    /// Returns what is written in the text of the file for it, with its quotes; for an alias, what it stands for.
    #[must_use]
    pub fn source(self) -> &'a str {
        self.outline.text.get(self.span()).unwrap_or_default()
    }

    /// Returns where the bytes of its text are in the text of the file, for texts that hold documents of their own.
    #[must_use]
    pub fn places(self) -> Places {
        let value = self.outline.nodes[self.node].value;
        match self.text() {
            Some(_) if !value.is_decoded => Places::verbatim(value.start),
            Some(text) => Places::decoded(self.source(), self.span().start, text),
            None => Places::decoded("", self.span().start, ""),
        }
    }

    /// Returns what is below a key of a map: what is written in the map wins over what it merges.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        self.own(key).or_else(|| self.merged().into_iter().find_map(|map| map.own(key)))
    }

    /// Returns what is at the end of a way through maps.
    #[must_use]
    pub fn at(self, path: &[&str]) -> Option<Self> {
        path.iter().try_fold(self, |entry, key| entry.get(key))
    }

    /// Returns the text of what is at the end of a way through maps.
    #[must_use]
    pub fn text_at(self, path: &[&str]) -> Option<&'a str> {
        self.at(path).and_then(Entry::text)
    }

    /// Returns the entries of a map, with those that it merges behind its own, or the items of a list.
    #[must_use]
    pub fn entries(self) -> Entries<'a> {
        let all: Vec<_> = self.below(false).into_iter().map(|(entry, _)| entry).collect();
        Entries(all.into_iter())
    }

    /// Returns it and all that is below it, through aliases.
    #[must_use]
    pub fn walk(self) -> Vec<Self> {
        self.walk_unless(|_| false)
    }

    /// Returns it and all that is below it, through aliases, but for what is to be left out, with what is below that.
    #[must_use]
    pub fn walk_unless(self, is_left_out: impl Fn(Self) -> bool) -> Vec<Self> {
        let (mut found, mut next) = (Vec::new(), vec![(self, false)]);
        while let Some((entry, is_shared)) = next.pop() {
            if is_left_out(entry) {
                continue;
            }
            if is_shared && !self.outline.spend(VISIT) {
                break;
            }
            found.push(entry);
            let at = next.len();
            next.extend(entry.below(is_shared));
            next[at..].reverse();
        }
        found
    }

    /// Returns the map or list that it is written in.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        self.outline.nodes[self.written].parent.map(|node| Self {
            outline: self.outline,
            written: node,
            node,
        })
    }

    /// Returns where it is written, as a JSON pointer from `top` on, or from the root of its document.
    #[must_use]
    pub fn pointer(self, top: Option<Self>) -> String {
        let (mut steps, mut node, mut length) = (Vec::new(), self.written, 0);
        while let Some(parent) = self.outline.nodes[node].parent {
            if top.is_some_and(|top| top.node == node) || length > MAX_POINTER {
                break;
            }
            let step = match &self.outline.nodes[node].key {
                Some((key, _)) => {
                    let key = self.outline.bytes(*key);
                    cut(key, MAX_STEP).replace('~', "~0").replace('/', "~1")
                }
                None => self.outline.nodes[node].position.to_string(),
            };
            length += step.len();
            steps.push(step);
            node = parent;
        }
        steps.iter().rev().fold(String::new(), |pointer, step| pointer + "/" + step)
    }

    /// Returns whether two entries are the same place of the same text.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        std::ptr::eq(self.outline, other.outline) && self.node == other.node
    }

    fn children(self) -> impl Iterator<Item = Self> {
        let (outline, node) = (self.outline, &self.outline.nodes[self.node]);
        // What many aliases stand for is looked through many times.
        let is_open = !self.is_alias() || outline.spend(node.items);
        let end = if is_open { node.end } else { self.node };
        let mut next = self.node + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let child = Self::new(outline, next);
                next = outline.nodes[next].end;
                child
            })
        })
    }

    fn own(self, key: &str) -> Option<Self> {
        self.children().filter(|entry| entry.key() == Some(key)).last()
    }

    /// Returns what is below it, each with whether it stands in more than one place.
    fn below(self, is_shared: bool) -> Vec<(Self, bool)> {
        let is_map = self.is_map();
        let is_own = move |entry: &Self| !is_map || entry.key() != Some("<<");
        let own = self.children().filter(is_own).map(|entry| (entry, is_shared || entry.is_alias()));
        let mut found: Vec<_> = own.collect();
        for map in self.merged() {
            found.extend(map.children().filter(is_own).map(|entry| (entry, true)));
        }
        found
    }

    /// Returns the maps that a map merges, and those that they merge, each before those behind it.
    fn merged(self) -> Vec<Self> {
        let (mut found, mut next) = (Vec::new(), self.merges());
        let mut known = HashSet::new();
        next.reverse();
        while let Some(map) = next.pop() {
            // What is merged a second time brings nothing new, but would cost as much as the first time.
            if !known.insert(map.node) {
                continue;
            }
            // Each costs as much as it has entries, wherever it is merged.
            if !self.outline.spend(1 + self.outline.nodes[map.node].items) {
                break;
            }
            found.push(map);
            let at = next.len();
            next.extend(map.merges());
            next[at..].reverse();
        }
        found
    }

    fn merges(self) -> Vec<Self> {
        let mut found = Vec::new();
        if self.is_map() {
            for entry in self.children().filter(|entry| entry.key() == Some("<<")) {
                if entry.is_list() { found.extend(entry.children()) } else { found.push(entry) }
            }
        }
        found.retain(|map| map.is_map() && !map.is_same(self));
        found
    }
}

/// The entries of a map, or the items of a list.
pub struct Entries<'a>(std::vec::IntoIter<Entry<'a>>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.0.next()
    }
}

/// How long a pointer gets at most, about: what is further up is left out.
const MAX_POINTER: usize = 4096;

/// How much of a key is in a pointer at most.
const MAX_STEP: usize = 512;
