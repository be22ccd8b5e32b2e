//! A scalar's token with another value, in the style that the token has as far as that can hold the value.

use std::cell::OnceCell;

use super::lines::{Lines, indent_of, is_break};
use crate::format::splice::Splice;
use crate::format::yaml::resolve::{Scalar, resolve_plain};
use crate::format::yaml::style::{Context, Holds, choose, plain_scalar, quoted, stays_string};
use crate::format::yaml::write::flow::scalar as flow_scalar;
use crate::secret::SecretBytes;
use crate::tree::{Node, NodeId, Origin, Span, Style, Tree, Value};

/// Changes scalars of one tree.
pub(super) struct Scalars<'a> {
    tree: &'a Tree,
    lines: Lines<'a>,
    line_break: &'static str,
    indent: OnceCell<usize>,
}

/// Where a scalar stands.
#[derive(Clone, Copy)]
pub(super) struct Parent {
    pub(super) is_flow: bool,
    pub(super) is_list: bool,
}

impl<'a> Scalars<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        let lines = Lines::new(tree.source());
        Self { tree, lines, line_break: lines.line_break(), indent: OnceCell::new() }
    }

    /// Writes what a node holds now in the place of its token.
    pub(super) fn set(&self, id: NodeId, parent: Parent, splice: &mut Splice) {
        self.put(id, self.tree, self.tree.node(id).value, parent, splice);
    }

    /// Writes a scalar whose text is in `values` in the place of a node's token.
    pub(super) fn put(&self, id: NodeId, values: &Tree, value: Value, parent: Parent, splice: &mut Splice) {
        let node = self.tree.node(id);
        let token = Token::of(self.tree, node);
        let text = match value {
            Value::Str(text) => std::str::from_utf8(values.bytes(text)).ok(),
            _ => None,
        };
        // An alias has the style of what it stands for.
        let style = if node.origin == Origin::Alias { Style::Plain } else { node.style };
        match (text, style) {
            (Some(text), Style::Literal | Style::Folded) if !parent.is_flow => {
                let block = BlockScalar::of(self.lines, &token, self.lines.column(node.key_start as usize));
                match self.block_text(text, node, &token, &block, parent) {
                    Some((header, body)) => {
                        splice.replace_with(Span::new(token.start, block.header_end), |out| {
                            token.keep_anchor(out);
                            out.push_str(&header);
                        });
                        splice.replace(Span::new(block.body_start, block.body_end), body.expose_secret());
                    }
                    None => {
                        self.line(&token, block.header_end, splice, |out| {
                            quoted(text, Style::DoubleQuoted, out)
                        });
                        splice.delete(Span::new(block.body_start, block.body_end));
                    }
                }
            }
            (_, Style::Literal | Style::Folded) => {
                let block = BlockScalar::of(self.lines, &token, 0);
                self.line(&token, block.header_end, splice, |out| flow_scalar(values, value, out));
                splice.delete(Span::new(block.body_start, block.body_end));
            }
            (Some(text), style) => self.text(text, style, node, &token, parent, splice),
            (None, _) if node.origin == Origin::Alias || matches!(value, Value::Str(_)) => {
                self.line(&token, token.end, splice, |out| flow_scalar(values, value, out));
            }
            (None, _) => {
                let text = plain_scalar(values, value);
                self.line(&token, token.end, splice, |out| out.push_str(&text));
            }
        }
    }

    /// Writes a string in the place of a token of one style.
    fn text(
        &self,
        text: &str,
        style: Style,
        node: &Node,
        token: &Token<'_>,
        parent: Parent,
        splice: &mut Splice,
    ) {
        let style = match style {
            Style::DoubleQuoted => Style::DoubleQuoted,
            Style::SingleQuoted => single_or_better(text, token, parent),
            _ if parent.is_flow => flow_style(text, token),
            _ => choose(text, Context::Block),
        };
        if style == Style::Literal {
            if let Some((header, body)) = self.new_block(text, node, token, parent) {
                self.line(token, token.end, splice, |out| out.push_str(&header));
                let end = self.lines.end(token.end);
                splice.replace(Span::new(end, end), body.expose_secret());
                return;
            }
            self.line(token, token.end, splice, |out| quoted(text, Style::DoubleQuoted, out));
            return;
        }
        self.line(token, token.end, splice, |out| quoted(text, style, out));
    }

    /// Writes on one line in the place of a token, set off from what stands around it.
    fn line(&self, token: &Token<'_>, end: usize, splice: &mut Splice, write: impl FnOnce(&mut SecretBytes)) {
        let source = self.tree.source();
        let is_tight = token.start == end
            && token
                .start
                .checked_sub(1)
                .is_some_and(|before| !matches!(source[before], b' ' | b'\t' | b'\r' | b'\n'));
        splice.replace_with(Span::new(token.start, end), |out| {
            if is_tight {
                out.push(b' ');
            }
            token.keep_anchor(out);
            write(out);
        });
    }

    /// Returns header and text of a block scalar for what is a token on one line, if the lines below
    /// allow for one.
    fn new_block(
        &self,
        text: &str,
        node: &Node,
        token: &Token<'_>,
        parent: Parent,
    ) -> Option<(String, SecretBytes)> {
        let column = self.lines.column(node.key_start as usize);
        let content_column = self.content_column(column, parent);
        let end = self.lines.end(token.end);
        let empty_below = self.empty_lines_below(end, content_column)?;
        let content = text.trim_end_matches('\n');
        let breaks = text.len() - content.len();
        let hint = text.starts_with([' ', '\n']).then(|| match content.is_empty() {
            true => self.indent(),
            false => content_column - column,
        });
        let header = header(b'|', hint, breaks, content);
        let missing = self.missing_breaks(end, breaks, content, empty_below)?;
        Some((header, self.body(content, breaks.min(1), missing, content_column)))
    }

    /// Returns header and text for a block scalar that holds another text, or `None` if it cannot.
    fn block_text(
        &self,
        text: &str,
        node: &Node,
        token: &Token<'_>,
        block: &BlockScalar,
        parent: Parent,
    ) -> Option<(String, SecretBytes)> {
        if !Holds::of(text).literal {
            return None;
        }
        let column = self.lines.column(node.key_start as usize);
        let content_column = block.column.unwrap_or_else(|| self.content_column(column, parent));
        let first = text.trim_start_matches('\n').bytes().next();
        let mut hint = block.hint;
        if hint.is_none() && matches!(first, Some(b' ' | b'\t')) {
            hint = Some(content_column.checked_sub(column).filter(|hint| (1..=9).contains(hint))?);
        }
        let content = text.trim_end_matches('\n');
        let breaks = text.len() - content.len();
        let folded = (node.style == Style::Folded).then(|| unfolded(content)).flatten();
        let sign = if folded.is_some() { b'>' } else { b'|' };
        let written = folded.as_deref().unwrap_or(content);
        let below = self.empty_lines_below(block.body_end.max(self.lines.end(token.start)), usize::MAX)?;
        let missing = self.missing_breaks(block.body_end, breaks, content, below)?;
        Some((
            header(sign, hint, breaks, content),
            self.body(written, breaks.min(1), missing, content_column),
        ))
    }

    /// Returns the lines of a block scalar, each after a line break.
    fn body(&self, content: &str, last_break: usize, missing: usize, column: usize) -> SecretBytes {
        let mut out = SecretBytes::with_capacity(content.len() + column + 2);
        // Without content every line break is an empty line of its own.
        let lines = content.split('\n').skip(usize::from(content.is_empty() && last_break == 0));
        for line in lines {
            out.push_str(self.line_break);
            if !line.is_empty() {
                (0..column).for_each(|_| out.push(b' '));
                out.push_str(line);
            }
        }
        (0..missing).for_each(|_| out.push_str(self.line_break));
        out
    }

    /// Returns how many line breaks the text of a block scalar needs beyond those that the source has
    /// below it; `None` if the source has too many.
    fn missing_breaks(&self, end: usize, breaks: usize, content: &str, empty_below: usize) -> Option<usize> {
        // The last one ends a line that others, or nothing, follow.
        let is_last = end >= self.tree.source().len();
        let wanted = breaks.saturating_sub(1);
        let keeps = wanted > 0 || content.is_empty() && breaks > 0;
        let found = if keeps { empty_below } else { 0 };
        Some(wanted.checked_sub(found)? + usize::from(is_last && breaks > 0))
    }

    /// Returns how many empty lines follow the line that ends at `end`; `None` if a line that follows would
    /// become part of a block scalar whose lines begin at `column`.
    fn empty_lines_below(&self, end: usize, column: usize) -> Option<usize> {
        let source = self.tree.source();
        let mut count = 0;
        let mut line = self.lines.next(end);
        while line < source.len() {
            let line_end = self.lines.end(line);
            let text = &source[line..line_end];
            let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
            match text.get(spaces) {
                Some(b'\t') => return None,
                Some(b'#') if spaces >= column => return None,
                Some(_) => return Some(count),
                None if spaces > column => return None,
                None if line_end == source.len() => return Some(count),
                None => count += 1,
            }
            line = self.lines.next(line);
        }
        Some(count)
    }

    /// Returns where the lines of a new block scalar begin, below a key or dash at `column`.
    fn content_column(&self, column: usize, parent: Parent) -> usize {
        if parent.is_list {
            return column + 2;
        }
        (column + self.indent()) / self.indent() * self.indent()
    }

    fn indent(&self) -> usize {
        *self.indent.get_or_init(|| indent_of(self.tree))
    }
}

/// A scalar as it is written.
struct Token<'a> {
    source: &'a [u8],
    start: usize,
    /// The anchor between tag and text.
    anchor: &'a [u8],
    /// Where the text or header begins, behind tag and anchor.
    text: usize,
    end: usize,
}

impl<'a> Token<'a> {
    fn of(tree: &'a Tree, node: &Node) -> Self {
        let source = tree.source();
        let (start, end) = (node.span.start as usize, node.span.end as usize);
        let mut token = Self { source, start, anchor: b"", text: start, end };
        while let Some(b'!' | b'&') = source[token.text..end].first() {
            let rest = &source[token.text..end];
            let length = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            if rest[0] == b'&' {
                token.anchor = &rest[..length];
            }
            let blanks = rest[length..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            token.text += length + blanks;
        }
        token
    }

    fn bytes(&self) -> &'a [u8] {
        &self.source[self.text..self.end]
    }

    fn keep_anchor(&self, out: &mut SecretBytes) {
        if !self.anchor.is_empty() {
            out.extend_from_slice(self.anchor);
            out.push(b' ');
        }
    }
}

/// The parts of a block scalar.
struct BlockScalar {
    /// Where the header ends, before a comment.
    header_end: usize,
    /// Where the line with the header ends.
    body_start: usize,
    /// Where the last line ends that is not empty.
    body_end: usize,
    /// The indentation that the header gives.
    hint: Option<usize>,
    /// Where the lines begin; `None` if there are none.
    column: Option<usize>,
}

impl BlockScalar {
    fn of(lines: Lines<'_>, token: &Token<'_>, parent_column: usize) -> Self {
        let text = token.bytes();
        let indicators = text.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        let hint = text[..indicators].iter().find(|byte| byte.is_ascii_digit());
        let hint = hint.map(|digit| usize::from(digit - b'0'));
        let header_end = token.text + indicators;
        let body_start = lines.end(header_end);
        let breaks = text.iter().rev().take_while(|byte| is_break(byte)).count();
        let body_end = (token.end - breaks).max(body_start);
        let column = hint
            .map(|hint| parent_column + hint)
            .or_else(|| first_column(&token.source[body_start..body_end]));
        Self { header_end, body_start, body_end, hint, column }
    }
}

/// Returns how far the first line that is not empty is indented.
fn first_column(body: &[u8]) -> Option<usize> {
    let mut lines =
        body.split(is_break).map(|line| (line, line.iter().take_while(|&&byte| byte == b' ').count()));
    lines.find(|(line, spaces)| *spaces < line.len()).map(|(_, spaces)| spaces)
}

fn header(sign: u8, hint: Option<usize>, breaks: usize, content: &str) -> String {
    let mut header = String::from(char::from(sign));
    if let Some(hint) = hint {
        header.push_str(&hint.to_string());
    }
    header.push_str(match breaks {
        0 => "-",
        1 if !content.is_empty() => "",
        _ => "+",
    });
    header
}

/// Returns the lines that fold to a text, or `None` if none do.
fn unfolded(content: &str) -> Option<String> {
    if content.is_empty()
        || content.split('\n').any(|line| line.starts_with([' ', '\t']))
        || content.starts_with('\n')
    {
        return None;
    }
    let mut lines = String::with_capacity(content.len() * 2);
    let mut in_break = false;
    for char in content.chars() {
        if char == '\n' && !in_break {
            lines.push('\n');
        }
        in_break = char == '\n';
        lines.push(char);
    }
    Some(lines)
}

/// Between brackets a string without quotes becomes one in single quotes when it is encrypted, and comes
/// back without; elsewhere single quotes stay as long as they can.
fn single_or_better(text: &str, token: &Token<'_>, parent: Parent) -> Style {
    if parent.is_flow && token.bytes().starts_with(b"'ENC[") {
        return choose(text, Context::Flow);
    }
    if Holds::of(text).single { Style::SingleQuoted } else { Style::DoubleQuoted }
}

/// What is no string becomes one in double quotes, as JSON has it.
fn flow_style(text: &str, token: &Token<'_>) -> Style {
    let is_string =
        std::str::from_utf8(token.bytes()).is_ok_and(|token| resolve_plain(token) == Scalar::Text);
    let stays = || Holds::of(text).flow_plain && stays_string(text);
    if is_string || stays() { choose(text, Context::Flow) } else { Style::DoubleQuoted }
}
