//! Entries of maps and lists: put in, given another value, and taken out, in the style of what stands around
//! them.
//!
//! What is laid out here is a proposal: who asks for it reads it again.

use serde_json::Value as Json;

use super::ROOT;
use super::entry::{Entries, end_of, in_brackets, with_breaks, without_break};
use super::lines::{Lines, indent_of, list_indent_of};
use super::place::Entry;
use super::scalar::{Parent, Scalars};
use crate::format::WriteError;
use crate::format::splice::Splice;
use crate::format::yaml::write::flow::{flow, flow_key};
use crate::format::yaml::write::{write_entries, write_json};
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Origin, Span, Style, Tree, Value};

/// Changes to maps and lists of one tree.
pub(super) struct Structure<'a> {
    tree: &'a Tree,
    lines: Lines<'a>,
    line_break: &'static str,
    /// Whether values go on one line.
    is_inline: bool,
}

impl<'a> Structure<'a> {
    /// Returns changes that put values into lines of their own, or each on one line.
    pub(super) fn new(tree: &'a Tree, is_inline: bool) -> Self {
        let lines = Lines::new(tree.source());
        Self { tree, lines, line_break: lines.line_break(), is_inline }
    }

    /// Puts a value behind the last one of a map, under a key, or of a list.
    pub(super) fn insert(
        &self,
        container: NodeId,
        key: Option<&str>,
        value: &Json,
        splice: &mut Splice,
    ) -> Result<(), WriteError> {
        let node = self.tree.node(container);
        let last = self.tree.items(container).last();
        match (last, node.style) {
            // A null that is written down: nothing else can stand beside it.
            (None, Style::Plain) => self.replace(container, &filled(key, value), splice),
            (None, Style::Flow)
                if self.tree.children(container).next().is_none() && !self.is_in_brackets(container) =>
            {
                self.replace(container, &filled(key, value), splice)
            }
            (last, Style::Flow) => {
                self.insert_in_brackets(container, last, key, value, splice);
                Ok(())
            }
            (Some(last), _) => self.insert_below(last, key, value, splice),
            (None, _) => {
                let key = Some(key.ok_or(unsupported("a list without brackets or items"))?);
                Entries::new(self.tree).insert(container, &self.entry(key, value, 0)?, splice);
                Ok(())
            }
        }
    }

    /// Puts a value behind the last one in brackets; on a line of its own if that has one.
    fn insert_in_brackets(
        &self,
        container: NodeId,
        last: Option<NodeId>,
        key: Option<&str>,
        value: &Json,
        splice: &mut Splice,
    ) {
        let close = self.tree.node(container).span.end as usize - 1;
        let at = last.map_or(close, |last| end_of(self.tree, last));
        splice.replace_with(Span::new(at, at), |out| {
            if let Some(last) = last {
                out.push(b',');
                let start = self.tree.node(last).key_start as usize;
                let line = self.lines.start(start);
                if self.lines.is_blank(line, start) {
                    out.push_str(self.line_break);
                    out.extend_from_slice(&self.tree.source()[line..start]);
                } else {
                    out.push(b' ');
                }
            }
            if let Some(key) = key {
                flow_key(key.as_bytes(), false, out);
            }
            inline(value, out);
        });
    }

    /// Puts an entry in lines of its own below the last one of a block.
    fn insert_below(
        &self,
        last: NodeId,
        key: Option<&str>,
        value: &Json,
        splice: &mut Splice,
    ) -> Result<(), WriteError> {
        let column = self.lines.column(self.tree.node(last).key_start as usize);
        let text = self.entry(key, value, column)?;
        let end = Entry::of(self.tree, self.lines, last).ok_or(KEY)?.end;
        let at = if end > 0 && end == self.lines.start(end) { end } else { self.lines.next(end) };
        let is_open_end = at == self.tree.source().len() && !self.lines.ends_with_break();
        splice.replace_with(Span::new(at, at), |out| match is_open_end {
            true => {
                out.push_str(self.line_break);
                out.extend_from_slice(self.lines_before(at, &text, value));
            }
            false => out.extend_from_slice(text.expose_secret()),
        });
        Ok(())
    }

    /// Returns the lines of an entry, or of an item if there is no key, which begin at `column`.
    fn entry(&self, key: Option<&str>, value: &Json, column: usize) -> Result<SecretBytes, WriteError> {
        let text = match self.is_inline {
            true => inline_entry(key, value, column),
            false => write_json(key, value, column, indent_of(self.tree))?,
        };
        Ok(with_breaks(text, self.line_break))
    }

    /// Puts a value in the place of another.
    pub(super) fn replace(&self, id: NodeId, value: &Json, splice: &mut Splice) -> Result<(), WriteError> {
        let node = self.tree.node(id);
        let (start, end) = (node.span.start as usize, node.span.end as usize);
        let is_open = matches!(node.value, Value::List | Value::Map) && node.origin != Origin::Alias;
        if !is_open && !self.is_inline && !matches!(value, Json::Array(_) | Json::Object(_)) {
            let mut values = Tree::new(SecretBytes::new());
            let given = values.push_json(None, value);
            let parent = self.tree.parent(id).map_or(ROOT, |parent| self.describe(parent));
            Scalars::new(self.tree).put(id, &values, values.node(given).value, parent, splice);
            return Ok(());
        }
        if self.is_in_brackets(id) {
            splice.replace_with(Span::new(start, end), |out| inline(value, out));
            return Ok(());
        }
        if self.tree.documents().contains(&id) {
            return self.replace_document(id, value, splice);
        }
        let entry = Entry::of(self.tree, self.lines, id).ok_or(KEY)?;
        let mut text = SecretBytes::new();
        if is_filled(value) && !self.is_inline {
            self.block(&entry, value, &mut text)?;
            splice.replace(Span::new(entry.head, entry.line_end), text.expose_secret());
        } else {
            text.push(b' ');
            inline(value, &mut text);
            text.extend_from_slice(if entry.is_block { entry.comment } else { b"" });
            let end = if entry.is_block { entry.line_end } else { entry.end };
            splice.replace(Span::new(entry.head, end), text.expose_secret());
        }
        Ok(())
    }

    /// Appends a map or list in lines, to stand behind a key or dash.
    fn block(&self, entry: &Entry<'_>, value: &Json, out: &mut SecretBytes) -> Result<(), WriteError> {
        let indent = indent_of(self.tree);
        let column = match (entry.is_item, value) {
            (true, _) => entry.column + 2,
            (false, Json::Array(_)) => entry.column + list_indent_of(self.tree).unwrap_or(indent),
            (false, _) => entry.column + indent,
        };
        let text = with_breaks(write_entries(value, column, indent)?, self.line_break);
        let text = self.lines_before(entry.line_end, &text, value);
        out.extend_from_slice(entry.comment);
        if entry.is_item && entry.comment.is_empty() {
            out.push(b' ');
            out.extend_from_slice(&text[column..]);
        } else {
            out.push_str(self.line_break);
            out.extend_from_slice(text);
        }
        Ok(())
    }

    /// Returns lines as they go before `at`: without the last line break where the line goes on, or the
    /// source ends without one, unless a block scalar needs it.
    fn lines_before<'t>(&self, at: usize, text: &'t SecretBytes, value: &Json) -> &'t [u8] {
        let needs_break = at == self.tree.source().len() && ends_with_break(value);
        if needs_break { text.expose_secret() } else { without_break(text) }
    }

    fn replace_document(&self, id: NodeId, value: &Json, splice: &mut Splice) -> Result<(), WriteError> {
        let node = self.tree.node(id);
        let (start, end) = (node.span.start as usize, end_of(self.tree, id));
        if node.style == Style::Block && self.tree.items(id).next().is_none() {
            if is_filled(value) {
                let text = write_entries(value, 0, indent_of(self.tree))?;
                Entries::new(self.tree).insert(id, &with_breaks(text, self.line_break), splice);
            }
            return Ok(());
        }
        let is_alone = self.lines.is_blank(self.lines.start(start), start);
        splice.replace_with(Span::new(start, end), |out| {
            if !is_alone || !is_filled(value) || self.is_inline {
                inline(value, out);
                return Ok(());
            }
            let column = self.lines.column(start);
            let text = write_entries(value, column, indent_of(self.tree))?;
            let text = with_breaks(text, self.line_break);
            out.extend_from_slice(&self.lines_before(end, &text, value)[column..]);
            Ok(())
        })
    }

    /// Takes out a value with its key or dash.
    pub(super) fn remove(&self, id: NodeId, splice: &mut Splice) -> Result<(), WriteError> {
        let node = self.tree.node(id);
        let start = node.key_start as usize;
        if self.is_in_brackets(id) {
            let (start, end) = in_brackets(self.tree.source(), start, end_of(self.tree, id).max(start));
            splice.delete(Span::new(start, end));
            return Ok(());
        }
        let entry = Entry::of(self.tree, self.lines, id).ok_or(KEY)?;
        let Some(parent) = self.tree.parent(id) else { return Err(KEY) };
        if self.tree.children(parent).filter(|&child| self.is_entry(child)).count() == 1 {
            return self.empty(parent, &entry, start, splice);
        }
        let line = self.lines.start(start);
        if self.lines.is_blank(line, start) {
            let ends_source = self.lines.next(entry.line_end) == entry.line_end;
            let from = if ends_source && !self.is_inline { self.lines.break_before(line) } else { line };
            splice.delete(Span::new(from, self.lines.next(entry.line_end).max(entry.end)));
        } else {
            // The first entry behind a dash: the next one takes its place.
            let next = self.lines.next(entry.line_end);
            let blanks = self.tree.source()[next..].iter().take_while(|&&byte| byte == b' ').count();
            splice.delete(Span::new(start, next + blanks));
        }
        Ok(())
    }

    /// Takes out the only entry of a block.
    fn empty(
        &self,
        parent: NodeId,
        entry: &Entry<'_>,
        start: usize,
        splice: &mut Splice,
    ) -> Result<(), WriteError> {
        let brackets: &[u8] = if entry.is_item { b"[]" } else { b"{}" };
        let is_document = self.tree.documents().contains(&parent);
        let around = if is_document { None } else { Entry::of(self.tree, self.lines, parent) };
        if let Some(around) = around.filter(|around| {
            let lines = &self.tree.source()[self.lines.next(around.head).min(start)..start];
            lines.iter().all(u8::is_ascii_whitespace)
        }) {
            splice.replace_with(Span::new(around.head, entry.line_end), |out| {
                out.push(b' ');
                out.extend_from_slice(brackets);
                out.extend_from_slice(around.comment);
            });
            return Ok(());
        }
        splice.replace(Span::new(start, entry.line_end), brackets);
        Ok(())
    }

    fn is_entry(&self, id: NodeId) -> bool {
        !matches!(self.tree.node(id).value, Value::Comment(_))
    }

    fn is_in_brackets(&self, id: NodeId) -> bool {
        self.tree.parent(id).is_some_and(|parent| self.tree.node(parent).style == Style::Flow)
    }

    fn describe(&self, container: NodeId) -> Parent {
        let node = self.tree.node(container);
        Parent { is_flow: node.style == Style::Flow, is_list: node.value == Value::List }
    }
}

/// Appends a value on one line.
fn inline(value: &Json, out: &mut SecretBytes) {
    let mut tree = Tree::new(SecretBytes::new());
    let root = tree.push_json(None, value);
    flow(&tree, root, out);
}

/// Returns a map or list around a value.
fn filled(key: Option<&str>, value: &Json) -> Json {
    match key {
        Some(key) => Json::Object([(key.to_owned(), value.clone())].into_iter().collect()),
        None => Json::Array(vec![value.clone()]),
    }
}

/// Returns the line of an entry.
fn inline_entry(key: Option<&str>, value: &Json, column: usize) -> SecretBytes {
    let mut line = SecretBytes::new();
    (0..column).for_each(|_| line.push(b' '));
    match key {
        Some(key) => flow_key(key.as_bytes(), false, &mut line),
        None => line.push_str("- "),
    }
    inline(value, &mut line);
    line.push(b'\n');
    line
}

fn is_filled(value: &Json) -> bool {
    match value {
        Json::Array(items) => !items.is_empty(),
        Json::Object(entries) => !entries.is_empty(),
        _ => false,
    }
}

/// Returns whether the last text of a value ends with a line break.
fn ends_with_break(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.last().is_some_and(ends_with_break),
        Json::Object(entries) => entries.values().next_back().is_some_and(ends_with_break),
        Json::String(text) => text.ends_with('\n'),
        _ => false,
    }
}

const fn unsupported(what: &'static str) -> WriteError {
    WriteError::Unsupported { format: "yaml", what }
}

const KEY: WriteError = unsupported("a change below a key of this form; make it by hand");
