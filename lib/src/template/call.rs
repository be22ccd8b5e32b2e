//! What a function is, and what it gets when it is called.
//!
//! Invariant: arguments have been checked against the signature before a function gets them. What a
//! function was given that may be secret does not appear in its error.

use rand_core::CryptoRngCore;

use crate::secret::SecretBytes;
use crate::template::budget::{Budget, Limit};
use crate::template::time::Time;
use crate::template::value::{Dict, Element, List, Text, Value};

/// A function of templates.
pub struct Function {
    pub name: &'static str,
    pub signature: Signature,
    pub body: Body,
    /// Whether its result depends on its arguments alone, and tells nothing that they do not.
    pub is_pure: bool,
}

/// What a function does.
pub type Body = fn(&mut Call<'_, '_>) -> Result<Value, Failure>;

/// What a function takes.
#[derive(Clone, Copy)]
pub struct Signature {
    pub fixed: &'static [Type],
    /// The type of any number of further arguments.
    pub rest: Option<Type>,
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`.
    Any,
    Bool,
    Certificate,
    Dict,
    Duration,
    Float,
    Int,
    /// `[]interface {}`.
    List,
    /// `reflect.Value`, for the functions that Go itself has: it tells no value from nil.
    Raw,
    Text,
    Time,
    /// `uint32`.
    Unsigned32,
    Version,
}

impl Type {
    /// Returns what Go calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Bool => "bool",
            Self::Certificate => "sprig.certificate",
            Self::Dict => "map[string]interface {}",
            Self::Duration => "time.Duration",
            Self::Float => "float64",
            Self::Int => "int",
            Self::List => "[]interface {}",
            Self::Raw => "reflect.Value",
            Self::Text => "string",
            Self::Time => "time.Time",
            Self::Unsigned32 => "uint32",
            Self::Version => "*semver.Version",
        }
    }

    /// Returns whether nil is a value of the type.
    pub fn can_be_nil(self) -> bool {
        matches!(self, Self::Any | Self::Dict | Self::List | Self::Raw | Self::Version)
    }

    /// Returns whether a value is of the type.
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Any | Self::Raw => true,
            Self::Bool => matches!(value, Value::Bool(_)),
            Self::Certificate => matches!(value, Value::Certificate(_)),
            Self::Dict => matches!(value, Value::Dict(_)),
            Self::Duration => matches!(value, Value::Duration(_)),
            Self::Float => matches!(value, Value::Float(_)),
            Self::Int => matches!(value, Value::Int(_)),
            Self::List => matches!(value, Value::List(list) if list.element == Element::Any),
            Self::Text => matches!(value, Value::Text(_)),
            Self::Time => matches!(value, Value::Time(_)),
            Self::Unsigned32 => false,
            Self::Version => matches!(value, Value::Version(version) if version.is_pointer),
        }
    }
}

/// Why a function has no result.
#[derive(Debug)]
pub enum Failure {
    Limit(Limit),
    Message(String),
}

impl From<Limit> for Failure {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::Message(message.to_owned())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

/// What functions share while a template is rendered.
pub struct Machine<'m> {
    pub now: Time,
    pub rng: &'m mut dyn CryptoRngCore,
    pub budget: Budget,
    dicts: Vec<Dict>,
}

impl<'m> Machine<'m> {
    /// Returns one without any values.
    pub fn new(now: Time, rng: &'m mut dyn CryptoRngCore, budget: Budget) -> Self {
        Self { now, rng, budget, dicts: Vec::new() }
    }

    /// Returns a new map.
    pub fn dict(&mut self) -> Result<Dict, Limit> {
        self.budget.steps(1)?;
        let dict = Dict::default();
        self.dicts.push(dict.clone());
        Ok(dict)
    }

    /// Returns a list.
    pub fn list(&mut self, element: Element, items: Vec<Value>) -> Result<Value, Limit> {
        self.budget.steps(items.len())?;
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        self.budget.fits_depth(depth)?;
        Ok(Value::List(std::rc::Rc::new(List { element, items, is_nil: false, depth })))
    }

    /// Returns a nil list.
    pub fn nil_list(element: Element) -> Value {
        Value::List(std::rc::Rc::new(List { element, items: Vec::new(), is_nil: true, depth: 1 }))
    }

    /// Returns a list of texts.
    pub fn texts(&mut self, texts: impl IntoIterator<Item = SecretBytes>) -> Result<Value, Limit> {
        let texts = texts.into_iter().map(Value::text).collect();
        self.list(Element::Text, texts)
    }

    /// Fills bytes with randomness.
    pub fn random_bytes(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    /// Returns a random number below `end`, each equally likely.
    pub fn random_below(&mut self, end: u64) -> u64 {
        let end = end.max(1);
        // Numbers beyond the last whole multiple would make small ones likelier.
        let limit = u64::MAX - u64::MAX % end;
        loop {
            let number = self.rng.next_u64();
            if number < limit {
                return number % end;
            }
        }
    }
}

/// Maps may hold each other in circles, which would never be freed, nor wiped; and a long chain of them
/// would be freed with as deep a recursion. So they are emptied one by one.
impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.dicts.iter().for_each(Dict::clear);
    }
}

/// A call of a function.
pub struct Call<'c, 'm> {
    /// The name by which the function is called.
    pub name: &'static str,
    pub args: &'c [Value],
    /// Which arguments stand in the source of the template, and may be shown: a bit each.
    pub public: u64,
    pub machine: &'c mut Machine<'m>,
}

impl<'c> Call<'c, '_> {
    /// Returns an argument; nil if there is none.
    pub fn arg(&self, index: usize) -> Value {
        self.args.get(index).cloned().unwrap_or(Value::Nil)
    }

    // The signature says that an argument is of its type, so what stands for others never comes up.

    /// Returns a text.
    pub fn text(&self, index: usize) -> &'c [u8] {
        if let Some(Value::Text(text)) = self.args.get(index) { text.bytes() } else { &[] }
    }

    /// Returns an integer.
    pub fn int(&self, index: usize) -> i64 {
        self.args.get(index).and_then(Value::as_integer).unwrap_or(0)
    }

    /// Returns a truth value.
    pub fn bool(&self, index: usize) -> bool {
        matches!(self.args.get(index), Some(Value::Bool(true)))
    }

    /// Returns a map, which may be nil.
    pub fn dict(&self, index: usize) -> Option<&'c Dict> {
        if let Some(Value::Dict(dict)) = self.args.get(index) { Some(dict) } else { None }
    }

    /// Returns a point in time.
    pub fn time(&self, index: usize) -> Time {
        if let Some(Value::Time(time)) = self.args.get(index) { (**time).clone() } else { Time::zero() }
    }

    /// Returns whether an argument may be shown in an error.
    pub fn is_public(&self, index: usize) -> bool {
        index < 64 && self.public >> index & 1 == 1
    }

    /// Returns what an error may say of a text.
    pub fn shown(&self, index: usize) -> String {
        if self.is_public(index) {
            String::from_utf8_lossy(self.text(index)).into_owned()
        } else {
            HIDDEN.to_owned()
        }
    }

    /// Returns what an error may say of a number.
    pub fn shown_number(&self, index: usize, number: i64) -> String {
        if self.is_public(index) { number.to_string() } else { HIDDEN.to_owned() }
    }

    /// Returns text as the result, which must not be too large.
    pub fn give(&mut self, bytes: impl Into<SecretBytes>) -> Result<Value, Failure> {
        let bytes = bytes.into();
        self.machine.budget.value(bytes.len())?;
        Ok(Value::Text(Text::secret(bytes)))
    }
}

/// Stands in errors for what may be secret.
pub const HIDDEN: &str = "(not shown)";
