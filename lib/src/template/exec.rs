//! Runs templates, as Go's `text/template` does.
//!
//! Invariants: each action and each call takes steps of the budget, each level of recursion a level of its
//! depth. An error tells what stands in the source, and types, but no value that may be secret.

use crate::secret::SecretBytes;
use crate::template::TemplateError;
use crate::template::budget::Limit;
use crate::template::call::{Call, Failure, Function, HIDDEN, Machine, Type};
use crate::template::functions::methods;
use crate::template::node::{Branch, Command, Node, Number, Pipe, Place, Trees, Word, WordKind};
use crate::template::print;
use crate::template::quote::quoted;
use crate::template::value::{Element, Value};

/// Runs the template `name` of `trees`.
pub fn execute(
    name: &str,
    source: &str,
    trees: &Trees<'_>,
    context: Value,
    machine: Machine<'_>,
) -> Result<SecretBytes, TemplateError> {
    let (template, root) = trees.get_key_value(name.as_bytes()).expect("parsing adds the template itself");
    let dot = Slot::of(context);
    let mut execution = Execution {
        name,
        source,
        trees,
        template,
        variables: vec![("$", dot.clone())],
        place: None,
        out: SecretBytes::new(),
        machine,
    };
    match execution.list(&dot, root) {
        Ok(()) => Ok(execution.out),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Break | Stop::Continue) => unreachable!("the parser allows them inside a range only"),
    }
}

struct Execution<'t, 's, 'm> {
    name: &'t str,
    source: &'s str,
    trees: &'t Trees<'s>,
    /// The name of the template that runs.
    template: &'t [u8],
    variables: Vec<(&'s str, Slot)>,
    /// What an error would be about.
    place: Option<Place<'t, 's>>,
    out: SecretBytes,
    machine: Machine<'m>,
}

/// A value, and whether Go knows it as an `interface {}` here, which shows in errors.
#[derive(Clone)]
struct Slot {
    value: Value,
    is_interface: bool,
}

impl Slot {
    fn of(value: Value) -> Self {
        Self { value, is_interface: false }
    }

    fn type_name(&self) -> &'static str {
        if self.is_interface { "interface {}" } else { self.value.type_name() }
    }
}

/// Why what runs does not go on.
enum Stop {
    Break,
    Continue,
    Error(TemplateError),
}

impl From<TemplateError> for Stop {
    fn from(error: TemplateError) -> Self {
        Self::Error(error)
    }
}

type Run<T> = Result<T, Stop>;

impl<'t, 's> Execution<'t, 's, '_> {
    fn list(&mut self, dot: &Slot, list: &'t [Node<'s>]) -> Run<()> {
        self.deeper(|this| list.iter().try_for_each(|node| this.node(dot, node)))
    }

    fn node(&mut self, dot: &Slot, node: &'t Node<'s>) -> Run<()> {
        self.place = Some(Place::Node(node));
        self.steps(1)?;
        match node {
            Node::Action { pipe, .. } => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.place = Some(Place::Node(node));
                    let printed = print::print(&mut self.out, &value, &mut self.machine.budget);
                    self.limit(printed)?;
                }
            }
            Node::Break { .. } => return Err(Stop::Break),
            Node::Continue { .. } => return Err(Stop::Continue),
            Node::If(branch) => return self.branch(dot, branch, false),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { name, pipe, .. } => return self.template(dot, name, pipe.as_ref()),
            Node::Text(text) => self.out.push_str(text),
            Node::With(branch) => return self.branch(dot, branch, true),
        }
        if self.out.len() > self.machine.budget.limits().output_bytes {
            return self.limit(Err(Limit::OutputBytes));
        }
        Ok(())
    }

    fn branch(&mut self, dot: &Slot, branch: &'t Branch<'s>, is_with: bool) -> Run<()> {
        let variables = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let done = if value.is_true() && is_with {
            self.list(&Slot::of(value), &branch.list)
        } else if value.is_true() {
            self.list(dot, &branch.list)
        } else {
            branch.otherwise.as_ref().map_or(Ok(()), |list| self.list(dot, list))
        };
        self.variables.truncate(variables);
        done
    }

    fn range(&mut self, dot: &Slot, branch: &'t Branch<'s>) -> Run<()> {
        let variables = self.variables.len();
        let done = match self.iterate(dot, branch) {
            Ok(true) | Err(Stop::Break) => Ok(()),
            Ok(false) => branch.otherwise.as_ref().map_or(Ok(()), |list| self.list(dot, list)),
            Err(stop) => Err(stop),
        };
        self.variables.truncate(variables);
        done
    }

    /// Returns whether there was anything.
    fn iterate(&mut self, dot: &Slot, branch: &'t Branch<'s>) -> Run<bool> {
        let value = self.pipe(dot, &branch.pipe)?;
        match &value {
            Value::Dict(dict) => {
                let entries = dict.entries();
                self.steps(entries.len())?;
                for (key, value) in &entries {
                    let element = Slot { value: value.clone(), is_interface: true };
                    self.iteration(branch, Some(Value::Text(key.clone())), element)?;
                }
                Ok(!entries.is_empty())
            }
            Value::List(list) => {
                let is_interface = list.element == Element::Any;
                for (index, value) in list.items.iter().enumerate() {
                    let element = Slot { value: value.clone(), is_interface };
                    self.iteration(branch, Some(Value::Int(index as i64)), element)?;
                }
                Ok(!list.items.is_empty())
            }
            Value::Map(map) => {
                for (key, value) in map.iter() {
                    let element = Slot::of(Value::Text(value.clone()));
                    self.iteration(branch, Some(Value::Text(key.clone())), element)?;
                }
                Ok(!map.is_empty())
            }
            Value::Missing | Value::Nil => Ok(false),
            number => match count(number) {
                None => {
                    let shown = self.shown(&branch.pipe, &value);
                    self.error(&format!("range can't iterate over {shown}"))
                }
                Some(_) if branch.pipe.variables.len() > 1 => {
                    let shown = self.shown(&branch.pipe, &value);
                    self.error(&format!("can't use {shown} to iterate over more than one variable"))
                }
                Some(end) => {
                    for index in 0..end {
                        self.iteration(branch, None, Slot::of(like(number, index)))?;
                    }
                    Ok(end > 0)
                }
            },
        }
    }

    fn iteration(&mut self, branch: &'t Branch<'s>, index: Option<Value>, element: Slot) -> Run<()> {
        self.steps(1)?;
        let (pipe, mark) = (&branch.pipe, self.variables.len());
        let index = Slot::of(index.unwrap_or(Value::Missing));
        match (pipe.variables.as_slice(), pipe.is_assignment) {
            ([], _) => {}
            ([only], true) => self.assign(only, element.clone())?,
            ([first, second, ..], true) => {
                self.assign(first, index)?;
                self.assign(second, element.clone())?;
            }
            // The pipeline has pushed them, the last one on top.
            (declared, false) => {
                if let Some((_, top)) = self.variables.last_mut() {
                    *top = element.clone();
                }
                if declared.len() > 1
                    && let Some((_, below)) = self.variables.iter_mut().rev().nth(1)
                {
                    *below = index;
                }
            }
        }
        let done = self.list(&element, &branch.list);
        self.variables.truncate(mark);
        match done {
            Err(Stop::Continue) => Ok(()),
            other => other,
        }
    }

    fn template(&mut self, dot: &Slot, name: &[u8], pipe: Option<&'t Pipe<'s>>) -> Run<()> {
        let Some((name, root)) = self.trees.get_key_value(name) else {
            return self.error(&format!("template {} not defined", quoted(name)));
        };
        let dot = Slot::of(match pipe {
            None => Value::Missing,
            Some(pipe) => self.pipe(dot, pipe)?,
        });
        let variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let template = std::mem::replace(&mut self.template, name);
        let done = self.list(&dot, root);
        self.variables = variables;
        self.template = template;
        done
    }

    fn pipe(&mut self, dot: &Slot, pipe: &'t Pipe<'s>) -> Run<Value> {
        self.place = Some(Place::Pipe(pipe));
        let mut last: Option<Value> = None;
        for command in &pipe.commands {
            self.steps(1)?;
            let slot = self.deeper(|this| this.command(dot, command, last.take()))?;
            // Go takes values out of their interfaces here.
            last = Some(if let Value::Nil = slot.value { Value::Missing } else { slot.value });
        }
        let value = last.unwrap_or(Value::Missing);
        for variable in &pipe.variables {
            let slot = Slot::of(value.clone());
            if pipe.is_assignment {
                self.assign(variable, slot)?;
            } else {
                self.variables.push((variable, slot));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Slot, command: &'t Command<'s>, last: Option<Value>) -> Run<Slot> {
        let Some((first, rest)) = command.words.split_first() else {
            unreachable!("the parser refuses empty commands")
        };
        match &first.kind {
            WordKind::Chain(word, fields) => self.chain(dot, first, word, fields, rest, last),
            WordKind::Field(fields) => {
                self.place = Some(Place::Word(first));
                self.fields(dot, dot.clone(), first, fields, rest, last)
            }
            WordKind::Function(function) => {
                self.place = Some(Place::Word(first));
                self.call(dot, function, None, Place::Command(command), rest, last)
            }
            WordKind::Pipe(pipe) => {
                self.is_no_function(first, rest, last.as_ref())?;
                self.pipe(dot, pipe).map(Slot::of)
            }
            WordKind::Variable(name, fields) => {
                self.place = Some(Place::Word(first));
                let value = self.variable(name)?;
                if fields.is_empty() {
                    self.is_no_function(first, rest, last.as_ref())?;
                    return Ok(value);
                }
                self.fields(dot, value, first, fields, rest, last)
            }
            WordKind::Bool(_)
            | WordKind::Dot
            | WordKind::Nil
            | WordKind::Number(_)
            | WordKind::Text { .. } => {
                self.place = Some(Place::Word(first));
                self.is_no_function(first, rest, last.as_ref())?;
                self.constant(dot, first)
            }
        }
    }

    fn is_no_function(&mut self, first: &'t Word<'s>, rest: &[Word<'s>], last: Option<&Value>) -> Run<()> {
        if rest.is_empty() && last.is_none() {
            return Ok(());
        }
        let first = match &first.kind {
            // Go writes a pipeline without its parentheses here.
            WordKind::Pipe(pipe) => pipe.to_string(),
            _ => first.to_string(),
        };
        self.error(&format!("can't give argument to non-function {first}"))
    }

    fn constant(&mut self, dot: &Slot, word: &'t Word<'s>) -> Run<Slot> {
        match &word.kind {
            WordKind::Bool(value) => Ok(Slot::of(Value::Bool(*value))),
            WordKind::Dot => Ok(dot.clone()),
            WordKind::Number(number) => self.number(word, number).map(Slot::of),
            WordKind::Text { text, .. } => Ok(Slot::of(Value::Text(text.clone()))),
            _ => self.error("nil is not a command"),
        }
    }

    fn number(&mut self, word: &'t Word<'s>, number: &Number<'s>) -> Run<Value> {
        self.place = Some(Place::Word(word));
        let text = number.text;
        let is_rune = text.starts_with('\'');
        let is_hexadecimal = (text.starts_with("0x") || text.starts_with("0X")) && text.len() > 2;
        let is_hex_integer = is_hexadecimal && !text.contains(['p', 'P']);
        match *number {
            Number { float: Some(value), .. }
                if !is_rune && !is_hex_integer && text.contains(['.', 'e', 'E', 'p', 'P']) =>
            {
                Ok(Value::Float(value))
            }
            Number { int: Some(value), .. } => Ok(Value::Int(value)),
            _ => self.error(&format!("{text} overflows int")),
        }
    }

    fn chain(
        &mut self,
        dot: &Slot,
        word: &'t Word<'s>,
        inner: &'t Word<'s>,
        fields: &'t [&'s str],
        rest: &'t [Word<'s>],
        last: Option<Value>,
    ) -> Run<Slot> {
        self.place = Some(Place::Word(word));
        let receiver = self.argument(dot, None, inner)?;
        self.fields(dot, receiver, word, fields, rest, last)
    }

    fn fields(
        &mut self,
        dot: &Slot,
        receiver: Slot,
        word: &'t Word<'s>,
        fields: &'t [&'s str],
        rest: &'t [Word<'s>],
        last: Option<Value>,
    ) -> Run<Slot> {
        let mut receiver = receiver;
        let (Some((end, before)), mut last) = (fields.split_last(), last) else {
            return Ok(receiver);
        };
        for name in before {
            receiver = self.field(dot, &receiver, word, name, &[], None)?;
        }
        self.field(dot, &receiver, word, end, rest, last.take())
    }

    fn field(
        &mut self,
        dot: &Slot,
        receiver: &Slot,
        word: &'t Word<'s>,
        name: &str,
        rest: &'t [Word<'s>],
        last: Option<Value>,
    ) -> Run<Slot> {
        let has_arguments = !rest.is_empty() || last.is_some();
        match &receiver.value {
            Value::Missing => return Ok(Slot::of(Value::Missing)),
            Value::Nil => return self.error(&format!("nil pointer evaluating interface {{}}.{name}")),
            value => {
                if let Some(method) = methods::find(value, name) {
                    return self.call(dot, method, Some(value.clone()), Place::Word(word), rest, last);
                }
            }
        }
        match &receiver.value {
            Value::Certificate(certificate) => {
                let field = match name {
                    "Cert" => &certificate.certificate,
                    "Key" => &certificate.key,
                    _ => return self.no_field(receiver, name),
                };
                if has_arguments {
                    return self.error(&format!("{name} has arguments but cannot be invoked as function"));
                }
                Ok(Slot::of(Value::Text(field.clone())))
            }
            Value::Dict(_) | Value::Map(_) if has_arguments => {
                self.error(&format!("{name} is not a method but has arguments"))
            }
            Value::Dict(dict) => Ok(match dict.get(name.as_bytes()) {
                None => Slot::of(Value::Missing),
                Some(value) => Slot { value, is_interface: true },
            }),
            Value::Map(map) => Ok(Slot::of(
                map.get(name.as_bytes()).map_or(Value::Missing, |text| Value::Text(text.clone())),
            )),
            _ => self.no_field(receiver, name),
        }
    }

    fn no_field<T>(&mut self, receiver: &Slot, name: &str) -> Run<T> {
        self.error(&format!("can't evaluate field {name} in type {}", receiver.type_name()))
    }

    fn call(
        &mut self,
        dot: &Slot,
        function: &'static Function,
        receiver: Option<Value>,
        place: Place<'t, 's>,
        words: &'t [Word<'s>],
        last: Option<Value>,
    ) -> Run<Slot> {
        let (name, signature) = (function.name, function.signature);
        let (fixed, given) = (signature.fixed, words.len() + usize::from(last.is_some()));
        if signature.rest.is_some() && given < fixed.len() {
            let (want, got) = (fixed.len(), words.len());
            return self.error(&format!("wrong number of args for {name}: want at least {want} got {got}"));
        }
        if signature.rest.is_none() && given != fixed.len() {
            let want = fixed.len();
            return self.error(&format!("wrong number of args for {name}: want {want} got {given}"));
        }
        if matches!(name, "and" | "or") {
            return self.short_circuit(dot, name == "or", words, last);
        }
        let type_at = |index: usize| fixed.get(index).copied().or(signature.rest);
        let mut args = Vec::with_capacity(given + 1);
        let mut public = 0_u64;
        args.extend(receiver);
        let shift = args.len();
        let mut all_public = shift == 0;
        for (index, word) in words.iter().enumerate() {
            let value = self.argument(dot, type_at(index), word)?.value;
            let is_literal = matches!(
                word.kind,
                WordKind::Bool(_) | WordKind::Nil | WordKind::Number(_) | WordKind::Text { .. }
            );
            let is_public = is_literal || is_public(&value);
            all_public &= is_public;
            public |= u64::from(is_public && index + shift < 64) << ((index + shift) & 63);
            args.push(value);
        }
        if let Some(value) = last {
            let value = self.validate(Slot::of(value), type_at(words.len()))?.value;
            let (index, is_public) = (args.len(), is_public(&value));
            all_public &= is_public;
            public |= u64::from(is_public && index < 64) << (index & 63);
            args.push(value);
        }
        if name == "call" {
            let shown = words.first().map_or_else(|| HIDDEN.to_owned(), ToString::to_string);
            self.place = Some(place);
            return match args.first() {
                None | Some(Value::Missing | Value::Nil) => self.error("error calling call: call of nil"),
                Some(value) => {
                    let type_name = value.type_name();
                    self.error(&format!("error calling call: non-function {shown} of type {type_name}"))
                }
            };
        }
        self.steps(1 + args.len())?;
        let bytes =
            args.iter().map(|value| if let Value::Text(text) = value { text.bytes().len() } else { 0 });
        let charged = self.machine.budget.bytes(bytes.sum());
        self.limit(charged)?;
        let result = (function.body)(&mut Call { name, args: &args, public, machine: &mut self.machine });
        match result {
            Ok(Value::Text(text)) if function.is_pure && all_public => {
                Ok(Slot::of(Value::Text(text.into_public())))
            }
            Ok(value) => Ok(Slot::of(value)),
            Err(failure) => {
                self.place = Some(place);
                match failure {
                    Failure::Limit(limit) => self.limit(Err(limit)),
                    Failure::Message(message) => self.error(&format!("error calling {name}: {message}")),
                }
            }
        }
    }

    /// Runs `and` and `or`, which look at no more arguments than they need.
    fn short_circuit(
        &mut self,
        dot: &Slot,
        until: bool,
        words: &'t [Word<'s>],
        last: Option<Value>,
    ) -> Run<Slot> {
        let mut slot = Slot::of(Value::Missing);
        for word in words {
            slot = self.argument(dot, Some(Type::Raw), word)?;
            if slot.value.is_true() == until {
                return Ok(slot);
            }
        }
        Ok(last.map_or(slot, Slot::of))
    }

    fn argument(&mut self, dot: &Slot, expected: Option<Type>, word: &'t Word<'s>) -> Run<Slot> {
        self.place = Some(Place::Word(word));
        let slot = match &word.kind {
            WordKind::Chain(inner, fields) => self.chain(dot, word, inner, fields, &[], None)?,
            WordKind::Dot => dot.clone(),
            WordKind::Field(fields) => self.fields(dot, dot.clone(), word, fields, &[], None)?,
            WordKind::Function(function) => {
                self.deeper(|this| this.call(dot, function, None, Place::Word(word), &[], None))?
            }
            WordKind::Nil => match expected {
                Some(expected) if !expected.can_be_nil() => {
                    return self.error(&format!("cannot assign nil to {}", expected.name()));
                }
                Some(Type::Raw) => return Ok(Slot::of(Value::Missing)),
                Some(_) => return Ok(Slot::of(Value::Nil)),
                None => return self.error(&format!("indirection through explicit nil in {word}")),
            },
            WordKind::Pipe(pipe) => Slot::of(self.pipe(dot, pipe)?),
            WordKind::Variable(name, fields) => {
                let value = self.variable(name)?;
                if fields.is_empty() { value } else { self.fields(dot, value, word, fields, &[], None)? }
            }
            WordKind::Bool(_) | WordKind::Number(_) | WordKind::Text { .. } => {
                return self.literal(dot, expected, word).map(Slot::of);
            }
        };
        self.validate(slot, expected)
    }

    fn literal(&mut self, dot: &Slot, expected: Option<Type>, word: &'t Word<'s>) -> Run<Value> {
        let Some(expected) = expected else { return self.constant(dot, word).map(|slot| slot.value) };
        let wanted = match (expected, &word.kind) {
            (Type::Any | Type::Raw, _) => return self.constant(dot, word).map(|slot| slot.value),
            (Type::Bool, WordKind::Bool(value)) => return Ok(Value::Bool(*value)),
            (Type::Bool, _) => "bool",
            (Type::Duration, WordKind::Number(Number { int: Some(value), .. })) => {
                return Ok(Value::Duration(*value));
            }
            (Type::Int, WordKind::Number(Number { int: Some(value), .. })) => return Ok(Value::Int(*value)),
            (Type::Duration | Type::Int, _) => "integer",
            (Type::Float, WordKind::Number(Number { float: Some(value), .. })) => {
                return Ok(Value::Float(*value));
            }
            (Type::Float, _) => "float",
            (Type::Text, WordKind::Text { text, .. }) => return Ok(Value::Text(text.clone())),
            (Type::Text, _) => "string",
            // Go takes the lower 32 bits.
            (Type::Unsigned32, WordKind::Number(Number { unsigned: Some(value), .. })) => {
                return Ok(Value::Int((*value & 0xFFFF_FFFF) as i64));
            }
            (Type::Unsigned32, _) => "unsigned integer",
            (expected, _) => {
                return self.error(&format!("can't handle {word} for arg of type {}", expected.name()));
            }
        };
        self.error(&format!("expected {wanted}; found {word}"))
    }

    fn validate(&mut self, slot: Slot, expected: Option<Type>) -> Run<Slot> {
        let Some(expected) = expected else { return Ok(slot) };
        match &slot.value {
            Value::Missing if expected == Type::Raw => Ok(slot),
            Value::Missing if expected.can_be_nil() => Ok(Slot::of(Value::Nil)),
            Value::Missing => self.error(&format!("invalid value; expected {}", expected.name())),
            value if expected.accepts(value) => Ok(slot),
            value => {
                let (want, got) = (expected.name(), value.type_name());
                self.error(&format!("wrong type for value; expected {want}; got {got}"))
            }
        }
    }

    fn variable(&mut self, name: &str) -> Run<Slot> {
        let at = self.position(name)?;
        Ok(self.variables[at].1.clone())
    }

    fn assign(&mut self, name: &str, slot: Slot) -> Run<()> {
        let at = self.position(name)?;
        self.variables[at].1 = slot;
        Ok(())
    }

    /// Returns where the variable of a name is: the one that was declared last.
    fn position(&mut self, name: &str) -> Run<usize> {
        let found = self.variables.iter().rposition(|(known, _)| *known == name);
        let compared = self.variables.len() - found.unwrap_or(0);
        let taken = self.machine.budget.names(compared);
        self.limit(taken)?;
        match found {
            Some(at) => Ok(at),
            None => self.error(&format!("undefined variable: {name}")),
        }
    }

    /// Returns what an error may say of the value of a pipeline.
    fn shown(&self, pipe: &Pipe<'s>, value: &Value) -> String {
        let literal = pipe.commands.last().and_then(|command| command.words.first()).map(|word| &word.kind);
        match (value, literal) {
            (Value::Text(text), _) if text.is_public() => String::from_utf8_lossy(text.bytes()).into_owned(),
            (Value::Int(value), Some(WordKind::Number(_))) => value.to_string(),
            (Value::Bool(value), Some(WordKind::Bool(_))) => value.to_string(),
            (Value::Float(value), Some(WordKind::Number(_))) => crate::format::go_general(*value, -4, 21),
            _ => HIDDEN.to_owned(),
        }
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        let entered = self.machine.budget.enter();
        self.limit(entered)?;
        let done = run(self);
        self.machine.budget.leave();
        done
    }

    fn steps(&mut self, steps: usize) -> Run<()> {
        let taken = self.machine.budget.steps(steps);
        self.limit(taken)
    }

    fn limit<T>(&mut self, result: Result<T, Limit>) -> Run<T> {
        result.map_err(|limit| {
            let location = self.place.map_or_else(|| self.name.to_owned(), |place| self.location(place));
            Stop::Error(TemplateError::limit(location, limit, self.machine.budget.limits()))
        })
    }

    fn error<T>(&mut self, message: &str) -> Run<T> {
        let place = self.place.map_or_else(
            || self.name.to_owned(),
            |place| {
                let template = quoted(self.template);
                format!("{}: executing {template} at <{place}>", self.location(place))
            },
        );
        Err(Stop::Error(TemplateError::Execute(format!("template: {place}: {message}"))))
    }

    /// Returns the name, the line and the column in bytes, from 0.
    fn location(&self, place: Place<'_, '_>) -> String {
        let before = &self.source[..place.at().min(self.source.len())];
        let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        format!("{}:{line}:{column}", self.name)
    }
}

fn is_public(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text.is_public())
}

/// Returns how often a range over a number runs.
fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Unsigned(end) => Some(*end),
        other => other.as_integer().map(|end| u64::try_from(end).unwrap_or(0)),
    }
}

/// Returns a number of the type of another.
fn like(value: &Value, number: u64) -> Value {
    match value {
        Value::Duration(_) => Value::Duration(number as i64),
        Value::Int64(_) => Value::Int64(number as i64),
        Value::Month(_) => Value::Month(number as u8),
        Value::Unsigned(_) => Value::Unsigned(number),
        Value::Unsigned8(_) => Value::Unsigned8(number as u8),
        Value::Weekday(_) => Value::Weekday(number as u8),
        _ => Value::Int(number as i64),
    }
}
