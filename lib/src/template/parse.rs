//! Makes templates of tokens, as Go's `text/template/parse` does.
//!
//! Invariant: recursion is as deep as [`Budget`] allows, so that no source exhausts the stack.

use crate::template::budget::{Budget, Limit};
use crate::template::functions;
use crate::template::lex::{Kind, Lexer, Token};
use crate::template::node::{Branch, Command, Node, Number, Pipe, Trees, Word, WordKind};
use crate::template::number::{parse_float, parse_int, parse_uint};
use crate::template::quote::{Unit, quoted, unquote, unquote_char};
use crate::template::value::Text;

/// Why a source is no template.
pub enum Fault {
    Limit(Limit),
    Message(String),
}

impl From<Limit> for Fault {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

/// Returns the templates of a source. The first is called `name`.
pub fn parse<'s>(name: &str, source: &'s str, budget: &mut Budget) -> Result<Trees<'s>, Fault> {
    let lexer = Lexer::new(source);
    let mut parser = Parser { name, lexer, trees: Trees::new(), tree: Tree::new(), budget };
    parser.parse()?;
    Ok(parser.trees)
}

struct Parser<'p, 's> {
    name: &'p str,
    lexer: Lexer<'s>,
    trees: Trees<'s>,
    tree: Tree<'s>,
    budget: &'p mut Budget,
}

/// The state of the template that is parsed; each `define` and `block` has its own.
struct Tree<'s> {
    tokens: [Token<'s>; 3],
    peeked: usize,
    variables: Vec<&'s str>,
    action_line: usize,
    ranges: usize,
}

impl Tree<'_> {
    fn new() -> Self {
        Self {
            tokens: [Token::none(), Token::none(), Token::none()],
            peeked: 0,
            variables: vec!["$"],
            action_line: 0,
            ranges: 0,
        }
    }
}

/// A node, or what ends a list of them.
enum Item<'s> {
    Else,
    End,
    Node(Node<'s>),
}

impl Item<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Else => "{{else}}",
            Self::End | Self::Node(_) => "{{end}}",
        }
    }
}

type Parsed<T> = Result<T, Fault>;

impl<'s> Parser<'_, 's> {
    fn parse(&mut self) -> Parsed<()> {
        let mut root = Vec::new();
        loop {
            match self.peek().kind {
                Kind::Eof => break,
                Kind::LeftDelimiter => {
                    let delimiter = self.next();
                    if self.next_non_space().kind == Kind::Define {
                        let outer = std::mem::replace(&mut self.tree, Tree::new());
                        self.definition()?;
                        self.tree = outer;
                        continue;
                    }
                    self.backup_two(delimiter);
                }
                _ => {}
            }
            match self.text_or_action()? {
                Item::Node(node) => root.push(node),
                end => return self.error(&format!("unexpected {}", end.name())),
            }
        }
        self.add(self.name.as_bytes().to_vec(), root)
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let name = self.next_non_space();
        if !matches!(name.kind, Kind::RawString | Kind::String) {
            return self.unexpected(&name, CONTEXT);
        }
        let name = self.unquote(name.text)?;
        self.expect(Kind::RightDelimiter, CONTEXT)?;
        let root = self.whole_list(CONTEXT)?;
        self.add(name.bytes().to_vec(), root)
    }

    /// Adds a template, unless a definition would be lost.
    fn add(&mut self, name: Vec<u8>, root: Vec<Node<'s>>) -> Parsed<()> {
        match self.trees.get(&name) {
            Some(tree) if !is_empty(tree) => {
                if is_empty(&root) {
                    return Ok(());
                }
                self.error(&format!("template: multiple definition of template {}", quoted(&name)))
            }
            _ => {
                self.trees.insert(name, root);
                Ok(())
            }
        }
    }

    /// Parses up to the `end` of a definition.
    fn whole_list(&mut self, context: &str) -> Parsed<Vec<Node<'s>>> {
        match self.list()? {
            (list, Item::End) => Ok(list),
            (_, end) => self.error(&format!("unexpected {} in {context}", end.name())),
        }
    }

    fn list(&mut self) -> Parsed<(Vec<Node<'s>>, Item<'s>)> {
        self.budget.enter()?;
        let mut list = Vec::new();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                end => {
                    self.budget.leave();
                    return Ok((list, end));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item<'s>> {
        let token = self.next_non_space();
        self.budget.steps(1)?;
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text))),
            Kind::LeftDelimiter => {
                self.tree.action_line = token.line;
                let action = self.action();
                self.tree.action_line = 0;
                action
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item<'s>> {
        let token = self.next_non_space();
        Ok(Item::Node(match token.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => return self.jump(&token),
            Kind::Else => {
                let next = self.peek_non_space();
                if !matches!(next.kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelimiter, "else")?;
                }
                return Ok(Item::Else);
            }
            Kind::End => {
                self.expect(Kind::RightDelimiter, "end")?;
                return Ok(Item::End);
            }
            Kind::If => Node::If(self.branch("if")?),
            Kind::Range => Node::Range(self.branch("range")?),
            Kind::Template => self.template()?,
            Kind::With => Node::With(self.branch("with")?),
            _ => {
                self.tree.peeked += 1;
                let at = self.peek().at;
                Node::Action { at, pipe: self.pipe("command", Kind::RightDelimiter)? }
            }
        }))
    }

    fn jump(&mut self, token: &Token<'s>) -> Parsed<Item<'s>> {
        let name = format!("{{{{{}}}}}", token.text);
        let next = self.next_non_space();
        if next.kind != Kind::RightDelimiter {
            return self.unexpected(&next, &name);
        }
        if self.tree.ranges == 0 {
            return self.error(&format!("{name} outside {{{{range}}}}"));
        }
        let at = token.at;
        Ok(Item::Node(if token.kind == Kind::Break { Node::Break { at } } else { Node::Continue { at } }))
    }

    fn branch(&mut self, context: &str) -> Parsed<Branch<'s>> {
        let variables = self.tree.variables.len();
        let pipe = self.pipe(context, Kind::RightDelimiter)?;
        let is_range = usize::from(context == "range");
        self.tree.ranges += is_range;
        let (list, end) = self.list()?;
        self.tree.ranges -= is_range;
        let otherwise = match end {
            Item::Else => Some(self.otherwise(context)?),
            _ => None,
        };
        self.tree.variables.truncate(variables);
        Ok(Branch { at: pipe.at, pipe, list, otherwise })
    }

    fn otherwise(&mut self, context: &str) -> Parsed<Vec<Node<'s>>> {
        let next = self.peek().kind;
        if matches!((context, next), ("if", Kind::If) | ("with", Kind::With)) {
            self.next();
            self.budget.enter()?;
            let branch = self.branch(context)?;
            self.budget.leave();
            return Ok(vec![if next == Kind::If { Node::If(branch) } else { Node::With(branch) }]);
        }
        match self.list()? {
            (list, Item::End) => Ok(list),
            (_, end) => self.error(&format!("expected end; found {}", end.name())),
        }
    }

    fn block(&mut self) -> Parsed<Node<'s>> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipe(CONTEXT, Kind::RightDelimiter)?;
        let outer = std::mem::replace(&mut self.tree, Tree::new());
        let root = match self.list()? {
            (list, Item::End) => list,
            (_, end) => {
                self.tree = outer;
                return self.error(&format!("unexpected {} in {CONTEXT}", end.name()));
            }
        };
        self.add(name.bytes().to_vec(), root)?;
        self.tree = outer;
        Ok(Node::Template { at: token.at, name: name.bytes().to_vec(), pipe: Some(pipe) })
    }

    fn template(&mut self) -> Parsed<Node<'s>> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = if self.next_non_space().kind == Kind::RightDelimiter {
            None
        } else {
            self.tree.peeked += 1;
            Some(self.pipe(CONTEXT, Kind::RightDelimiter)?)
        };
        Ok(Node::Template { at: token.at, name: name.bytes().to_vec(), pipe })
    }

    fn template_name(&mut self, token: &Token<'s>, context: &str) -> Parsed<Text> {
        match token.kind {
            Kind::RawString | Kind::String => self.unquote(token.text),
            _ => self.unexpected(token, context),
        }
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe<'s>> {
        let at = self.peek_non_space().at;
        let mut pipe = Pipe { at, is_assignment: false, variables: Vec::new(), commands: Vec::new() };
        while self.declaration(context, &mut pipe)? {}
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::LeftParenthesis
                | Kind::Nil
                | Kind::Number
                | Kind::RawString
                | Kind::String
                | Kind::Variable => {
                    self.tree.peeked += 1;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check(&pipe, context)?;
        Ok(pipe)
    }

    /// Parses the declaration of a variable, if there is one. Returns whether another may follow.
    fn declaration(&mut self, context: &str, pipe: &mut Pipe<'s>) -> Parsed<bool> {
        let variable = self.peek_non_space();
        if variable.kind != Kind::Variable {
            return Ok(false);
        }
        self.next();
        let after = self.peek();
        let next = self.peek_non_space();
        let is_comma = next.kind == Kind::Char && next.text == ",";
        if matches!(next.kind, Kind::Assign | Kind::Declare) || is_comma {
            self.next_non_space();
            pipe.variables.push(variable.text);
            self.tree.variables.push(variable.text);
            self.budget.fits_variables(self.tree.variables.len())?;
            if !is_comma {
                pipe.is_assignment = next.kind == Kind::Assign;
                return Ok(false);
            }
            if context == "range" && pipe.variables.len() < 2 {
                return match self.peek_non_space().kind {
                    Kind::RightDelimiter | Kind::RightParenthesis | Kind::Variable => Ok(true),
                    _ => self.error("range can only initialize variables"),
                };
            }
            return self.error(&format!("too many declarations in {context}"));
        }
        if after.kind == Kind::Space {
            self.tree.tokens[1] = after;
            self.tree.tokens[2] = variable;
            self.tree.peeked = 3;
        } else {
            self.backup_two(variable);
        }
        Ok(false)
    }

    fn check(&self, pipe: &Pipe<'s>, context: &str) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error(&format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Some(
                WordKind::Bool(_)
                | WordKind::Dot
                | WordKind::Nil
                | WordKind::Number(_)
                | WordKind::Text { .. },
            ) = command.words.first().map(|word| &word.kind)
            {
                return self.error(&format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command<'s>> {
        let mut command = Command { at: self.peek_non_space().at, words: Vec::new() };
        loop {
            self.peek_non_space();
            command.words.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelimiter | Kind::RightParenthesis => self.tree.peeked += 1,
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if command.words.is_empty() {
            return self.error("empty command");
        }
        Ok(command)
    }

    fn operand(&mut self) -> Parsed<Option<Word<'s>>> {
        let Some(word) = self.term()? else { return Ok(None) };
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(&self.next().text[1..]);
        }
        if fields.is_empty() {
            return Ok(Some(word));
        }
        let kind = match word.kind {
            WordKind::Bool(_)
            | WordKind::Dot
            | WordKind::Nil
            | WordKind::Number(_)
            | WordKind::Text { .. } => {
                return self
                    .error(&format!("unexpected . after term {}", quoted(word.to_string().as_bytes())));
            }
            WordKind::Field(mut first) => {
                first.extend(fields);
                WordKind::Field(first)
            }
            WordKind::Variable(name, _) => WordKind::Variable(name, fields),
            _ => WordKind::Chain(Box::new(word), fields),
        };
        Ok(Some(Word { at, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Word<'s>>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Bool => WordKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => self.number(&token)?,
            Kind::Dot => WordKind::Dot,
            Kind::Field => WordKind::Field(vec![&token.text[1..]]),
            Kind::Identifier => match functions::find(token.text) {
                Some(function) => WordKind::Function(function),
                None => {
                    return self.error(&format!("function {} not defined", quoted(token.text.as_bytes())));
                }
            },
            Kind::LeftParenthesis => {
                self.budget.enter()?;
                let pipe = self.pipe("parenthesized pipeline", Kind::RightParenthesis)?;
                self.budget.leave();
                let at = pipe.at;
                return Ok(Some(Word { at, kind: WordKind::Pipe(Box::new(pipe)) }));
            }
            Kind::Nil => WordKind::Nil,
            Kind::RawString | Kind::String => {
                WordKind::Text { quoted: token.text, text: self.unquote(token.text)? }
            }
            Kind::Variable => {
                self.budget.names(self.tree.variables.len())?;
                if !self.tree.variables.contains(&token.text) {
                    let name = quoted(token.text.as_bytes());
                    return self.error(&format!("undefined variable {name}"));
                }
                WordKind::Variable(token.text, Vec::new())
            }
            _ => {
                self.tree.peeked += 1;
                return Ok(None);
            }
        };
        Ok(Some(Word { at: token.at, kind }))
    }

    fn number(&self, token: &Token<'s>) -> Parsed<WordKind<'s>> {
        let text = token.text;
        match token.kind {
            Kind::CharConstant => {
                let value = match unquote_char(&text[1..], '\'') {
                    None => return self.error("invalid syntax"),
                    Some((Unit::Byte(byte), "'")) => u32::from(byte),
                    Some((Unit::Char(character), "'")) => u32::from(character),
                    Some(_) => return self.error(&format!("malformed character constant: {text}")),
                };
                Ok(WordKind::Number(Number {
                    text,
                    int: Some(i64::from(value)),
                    unsigned: Some(u64::from(value)),
                    float: Some(f64::from(value)),
                }))
            }
            Kind::Number if !text.ends_with('i') => self.real(text),
            _ => self.error(&format!("complex numbers are not supported: {}", quoted(text.as_bytes()))),
        }
    }

    #[expect(clippy::float_cmp, reason = "a number that is a whole one can be an integer, as in Go")]
    #[expect(clippy::cast_precision_loss, reason = "what is lost shows that it is no integer")]
    fn real(&self, text: &'s str) -> Parsed<WordKind<'s>> {
        let mut number = Number { text, int: parse_int(text, 0), unsigned: parse_uint(text, 0), float: None };
        if number.int == Some(0) {
            number.unsigned = Some(0);
        }
        if let Some(int) = number.int {
            number.float = Some(int as f64);
        } else if let Some(unsigned) = number.unsigned {
            number.float = Some(unsigned as f64);
        } else if let Some(float) = parse_float(text) {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return self.error(&format!("integer overflow: {}", quoted(text.as_bytes())));
            }
            number.float = Some(float);
            let (int, unsigned) = (float as i64, float as u64);
            number.int = (int as f64 == float && int != i64::MAX).then_some(int);
            number.unsigned = (unsigned as f64 == float && unsigned != u64::MAX).then_some(unsigned);
        } else {
            return self.error(&format!("illegal number syntax: {}", quoted(text.as_bytes())));
        }
        Ok(WordKind::Number(number))
    }

    fn unquote(&self, text: &str) -> Parsed<Text> {
        unquote(text).map_or_else(|| self.error("invalid syntax"), |text| Ok(Text::public(text)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<()> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(()) } else { self.unexpected(&token, context) }
    }

    fn unexpected<T>(&self, token: &Token<'s>, context: &str) -> Parsed<T> {
        let text = token.describe();
        if token.kind != Kind::Error {
            return self.error(&format!("unexpected {text} in {context}"));
        }
        let line = self.tree.action_line;
        if line == 0 || line == token.line {
            return self.error(&text);
        }
        let action = if text.ends_with(" action") { "" } else { " in action" };
        self.error(&format!("{text}{action} started at {}:{line}", self.name))
    }

    fn error<T>(&self, message: &str) -> Parsed<T> {
        let line = self.tree.tokens[0].line;
        Err(Fault::Message(format!("template: {}:{line}: {message}", self.name)))
    }

    fn next(&mut self) -> Token<'s> {
        if self.tree.peeked > 0 {
            self.tree.peeked -= 1;
        } else {
            self.tree.tokens[0] = self.lexer.next();
        }
        self.tree.tokens[self.tree.peeked].clone()
    }

    fn peek(&mut self) -> Token<'s> {
        if self.tree.peeked == 0 {
            self.tree.peeked = 1;
            self.tree.tokens[0] = self.lexer.next();
        }
        self.tree.tokens[self.tree.peeked - 1].clone()
    }

    fn next_non_space(&mut self) -> Token<'s> {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token<'s> {
        let token = self.next_non_space();
        self.tree.peeked += 1;
        token
    }

    fn backup_two(&mut self, token: Token<'s>) {
        self.tree.tokens[1] = token;
        self.tree.peeked = 2;
    }
}

fn is_empty(list: &[Node<'_>]) -> bool {
    list.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}
