//! What a template consists of, and how Go writes it in errors.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};

use crate::template::call::Function;
use crate::template::quote::quoted;
use crate::template::value::Text;

/// All templates that a source defines, by name.
pub type Trees<'s> = BTreeMap<Vec<u8>, Vec<Node<'s>>>;

/// A part of a template.
pub enum Node<'s> {
    Action { at: usize, pipe: Pipe<'s> },
    Break { at: usize },
    Continue { at: usize },
    If(Branch<'s>),
    Range(Branch<'s>),
    Template { at: usize, name: Vec<u8>, pipe: Option<Pipe<'s>> },
    Text(&'s str),
    With(Branch<'s>),
}

/// An `if`, a `range` or a `with`.
pub struct Branch<'s> {
    pub at: usize,
    pub pipe: Pipe<'s>,
    pub list: Vec<Node<'s>>,
    pub otherwise: Option<Vec<Node<'s>>>,
}

/// Commands, each of which gets the value of the one before as its last argument.
pub struct Pipe<'s> {
    pub at: usize,
    pub is_assignment: bool,
    pub variables: Vec<&'s str>,
    pub commands: Vec<Command<'s>>,
}

/// A function, or a value, and arguments.
pub struct Command<'s> {
    pub at: usize,
    pub words: Vec<Word<'s>>,
}

/// A word of a command.
pub struct Word<'s> {
    pub at: usize,
    pub kind: WordKind<'s>,
}

/// What a word is.
pub enum WordKind<'s> {
    Bool(bool),
    Chain(Box<Word<'s>>, Vec<&'s str>),
    Dot,
    Field(Vec<&'s str>),
    Function(&'static Function),
    Nil,
    Number(Number<'s>),
    Pipe(Box<Pipe<'s>>),
    Text {
        quoted: &'s str,
        text: Text,
    },
    /// The name with its `$`, and fields.
    Variable(&'s str, Vec<&'s str>),
}

/// A number, as all kinds that it can be.
pub struct Number<'s> {
    pub text: &'s str,
    pub int: Option<i64>,
    pub unsigned: Option<u64>,
    pub float: Option<f64>,
}

/// What an error is about.
#[derive(Clone, Copy)]
pub enum Place<'t, 's> {
    Command(&'t Command<'s>),
    Node(&'t Node<'s>),
    Pipe(&'t Pipe<'s>),
    Word(&'t Word<'s>),
}

impl Place<'_, '_> {
    /// Returns where it starts.
    pub fn at(&self) -> usize {
        match self {
            Self::Command(command) => command.at,
            Self::Node(
                Node::Action { at, .. }
                | Node::Break { at }
                | Node::Continue { at }
                | Node::Template { at, .. }
                | Node::If(Branch { at, .. })
                | Node::Range(Branch { at, .. })
                | Node::With(Branch { at, .. }),
            ) => *at,
            Self::Node(Node::Text(_)) => 0,
            Self::Pipe(pipe) => pipe.at,
            Self::Word(word) => word.at,
        }
    }
}

impl Display for Place<'_, '_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Command(command) => command.fmt(formatter),
            Self::Node(node) => node.fmt(formatter),
            Self::Pipe(pipe) => pipe.fmt(formatter),
            Self::Word(word) => word.fmt(formatter),
        }
    }
}

impl Display for Node<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Action { pipe, .. } => write!(formatter, "{{{{{pipe}}}}}"),
            Self::Break { .. } => formatter.write_str("{{break}}"),
            Self::Continue { .. } => formatter.write_str("{{continue}}"),
            // Go writes the whole of it; errors are about the pipe, or what is inside.
            Self::If(branch) => write!(formatter, "{{{{if {}}}}}", branch.pipe),
            Self::Range(branch) => write!(formatter, "{{{{range {}}}}}", branch.pipe),
            Self::Template { name, pipe: None, .. } => {
                write!(formatter, "{{{{template {}}}}}", quoted(name))
            }
            Self::Template { name, pipe: Some(pipe), .. } => {
                write!(formatter, "{{{{template {} {pipe}}}}}", quoted(name))
            }
            Self::Text(text) => formatter.write_str(text),
            Self::With(branch) => write!(formatter, "{{{{with {}}}}}", branch.pipe),
        }
    }
}

impl Display for Pipe<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        for (index, variable) in self.variables.iter().enumerate() {
            write!(formatter, "{}{variable}", if index > 0 { ", " } else { "" })?;
        }
        if !self.variables.is_empty() {
            formatter.write_str(if self.is_assignment { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(formatter, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl Display for Command<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        for (index, word) in self.words.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            match &word.kind {
                WordKind::Pipe(pipe) => write!(formatter, "{space}({pipe})")?,
                _ => write!(formatter, "{space}{word}")?,
            }
        }
        Ok(())
    }
}

impl Display for Word<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match &self.kind {
            WordKind::Bool(value) => value.fmt(formatter),
            WordKind::Chain(word, fields) => {
                match &word.kind {
                    WordKind::Pipe(pipe) => write!(formatter, "({pipe})")?,
                    _ => word.fmt(formatter)?,
                }
                write_fields(formatter, fields)
            }
            WordKind::Dot => formatter.write_str("."),
            WordKind::Field(fields) => write_fields(formatter, fields),
            WordKind::Function(function) => formatter.write_str(function.name),
            WordKind::Nil => formatter.write_str("nil"),
            WordKind::Number(number) => formatter.write_str(number.text),
            WordKind::Pipe(pipe) => pipe.fmt(formatter),
            WordKind::Text { quoted, .. } => formatter.write_str(quoted),
            WordKind::Variable(name, fields) => {
                formatter.write_str(name)?;
                write_fields(formatter, fields)
            }
        }
    }
}

fn write_fields(formatter: &mut Formatter<'_>, fields: &[&str]) -> Result {
    fields.iter().try_for_each(|field| write!(formatter, ".{field}"))
}
