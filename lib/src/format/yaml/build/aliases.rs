//! Aliases, expanded: a copy of what the anchor names, without its comments.

use super::{Anchored, Builder, MAX_METADATA_NESTING, METADATA_NESTING};
use crate::format::yaml::outline::Item;
use crate::format::{ParseError, ParseErrorKind};
use crate::tree::{Node, NodeId, Origin, Span, Text, Value};

impl Builder<'_> {
    /// Appends what an alias stands for.
    pub(super) fn push_alias(
        &mut self,
        key: Option<(Text, u32)>,
        alias: &Item,
    ) -> Result<NodeId, ParseError> {
        let root = |node: Node| Node {
            key: key.map(|key| key.0),
            span: alias.span,
            key_start: key.map_or(alias.entry, |key| key.1),
            origin: Origin::Alias,
            ..node
        };
        match self.anchors.get(&alias.anchor) {
            Some(&Anchored::Scalar(value, style)) => {
                self.spend(value, alias.span)?;
                Ok(self.tree.push(root(Node::new(value, None, alias.span, style))))
            }
            Some(&Anchored::Closed(target)) => {
                let copy = self.tree.push(root(*self.tree.node(target)));
                self.copy_below(target, copy, alias.span)?;
                Ok(copy)
            }
            _ => {
                let what = "an alias stands for a value that contains it".to_owned();
                Err(self.error(alias.span.start, ParseErrorKind::Syntax(what)))
            }
        }
    }

    /// Takes a copy of a value out of the budget: long texts cost more, as each is decrypted and kept.
    fn spend(&mut self, value: Value, alias: Span) -> Result<(), ParseError> {
        let length = match value {
            Value::Str(text) => self.tree.bytes(text).len(),
            _ => 0,
        };
        let cost = 1 + length / FREE_LENGTH;
        let left = self.copies_left.checked_sub(cost);
        self.copies_left = left.ok_or_else(|| self.error(alias.start, ParseErrorKind::AliasBomb))?;
        Ok(())
    }

    fn copy_below(&mut self, target: NodeId, copy: NodeId, alias: Span) -> Result<(), ParseError> {
        let in_metadata = self.frames.last().is_some_and(|frame| frame.in_metadata);
        let nowhere = Span { start: alias.end, end: alias.end };
        let below = target.index() + 1..self.tree.node(target).end as usize;
        // The copies that are open, and where their originals end.
        let mut open = vec![(below.end, copy)];
        for index in below {
            while let Some((_, done)) = open.pop_if(|(end, _)| *end <= index) {
                self.tree.close(done);
            }
            let node = *self.tree.node(self.tree.id(index).expect("the node is below another"));
            if matches!(node.value, Value::Comment(_)) {
                continue;
            }
            self.spend(node.value, alias)?;
            let copy = self.tree.push(Node {
                span: nowhere,
                key_start: nowhere.start,
                origin: Origin::Copy,
                ..node
            });
            if matches!(node.value, Value::List | Value::Map) {
                open.push((node.end as usize, copy));
            }
            if in_metadata && open.len() > MAX_METADATA_NESTING {
                return Err(self.error(alias.start, METADATA_NESTING));
            }
        }
        open.into_iter().for_each(|(_, done)| self.tree.close(done));
        Ok(())
    }
}

/// How many bytes of text a copy may have that costs no more than one without.
const FREE_LENGTH: usize = 64;
