//! Templates of Sealed Secrets: Go's `text/template` with the functions of sprig v3.3.0, but for `env`,
//! `expandenv` and `getHostByName`.
//!
//! A template is rendered against a map of bytes, which are its `.`. It knows no environment, network, clock
//! or randomness but what the caller hands in, and its time zone is UTC.
//!
//! Invariants: no template takes more than its [`Limits`]. No error holds a value of the context, or what was
//! computed of one: where Go would show such a value, `(not shown)` stands. Text of the source is shown,
//! and what functions make of nothing else. Values wipe themselves when they are dropped.

mod budget;
mod call;
mod exec;
mod float;
mod functions;
mod lex;
mod node;
mod number;
mod parse;
mod print;
mod quote;
mod rune;
mod semver;
mod time;
mod value;

use std::collections::BTreeMap;
use std::rc::Rc;

use ::time::OffsetDateTime;
use rand_core::CryptoRngCore;

pub use budget::{Limit, Limits};

use crate::secret::SecretBytes;
use crate::template::budget::Budget;
use crate::template::call::Machine;
use crate::template::parse::Fault;
use crate::template::value::{Text, Value};

/// What a template may know of the world.
pub struct Surroundings<'a> {
    /// The time, for `now`, `ago`, `date` and the validity of new certificates.
    pub now: OffsetDateTime,
    /// Randomness, for `randAlpha`, `genPrivateKey`, `bcrypt` and the like.
    pub rng: &'a mut dyn CryptoRngCore,
}

/// Why a template could not be rendered. The text is that of Go as far as it holds no value; what
/// may be secret is `(not shown)`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It failed while it ran.
    #[error("{0}")]
    Execute(String),
    /// It needs more than it may.
    #[error("template: {location}: {limit} {allowed}")]
    Limit {
        /// The name of the template, and the line and column if they are known.
        location: String,
        /// What it needs more of.
        limit: Limit,
        /// How much of it there is.
        allowed: u64,
    },
    /// Its source is not a template.
    #[error("{0}")]
    Parse(String),
}

impl TemplateError {
    fn limit(location: String, limit: Limit, limits: &Limits) -> Self {
        let allowed = match limit {
            Limit::Depth => limits.depth as u64,
            Limit::OutputBytes => limits.output_bytes as u64,
            Limit::SourceBytes => limits.source_bytes as u64,
            Limit::Steps => limits.steps,
            Limit::ValueBytes => limits.value_bytes as u64,
        };
        Self::Limit { location, limit, allowed }
    }
}

/// Renders a template, whose name appears in errors.
///
/// # Errors
/// - [`TemplateError::Parse`] if the source is not a template,
/// - [`TemplateError::Execute`] if it fails while it runs,
/// - [`TemplateError::Limit`] if it needs more than it may.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::collections::BTreeMap;
///
/// use selkie::secret::SecretBytes;
/// use selkie::template::{Limits, Surroundings, render};
///
/// let context = BTreeMap::from([("password".to_owned(), SecretBytes::from("seal"))]);
/// let mut surroundings =
///     Surroundings { now: time::OffsetDateTime::UNIX_EPOCH, rng: &mut rand::rngs::OsRng };
/// let source = "password={{ .password | upper }}";
/// let rendered = render("config", source, &context, &mut surroundings, &Limits::default())?;
/// assert_eq!(rendered.expose_secret(), b"password=SEAL");
/// # Ok(())
/// # }
/// ```
pub fn render(
    name: &str,
    source: &str,
    context: &BTreeMap<String, SecretBytes>,
    surroundings: &mut Surroundings<'_>,
    limits: &Limits,
) -> Result<SecretBytes, TemplateError> {
    let refuse = |limit| TemplateError::limit(name.to_owned(), limit, limits);
    if source.len() > limits.source_bytes {
        return Err(refuse(Limit::SourceBytes));
    }
    let mut budget = Budget::new(limits);
    let trees = parse::parse(name, source, &mut budget).map_err(|fault| match fault {
        Fault::Limit(limit) => refuse(limit),
        Fault::Message(message) => TemplateError::Parse(message),
    })?;
    let entries =
        context.iter().map(|(key, value)| (Text::public(key.as_str()), Text::secret(value.expose_secret())));
    let context = Value::Map(Rc::new(entries.collect()));
    let machine = Machine::new(surroundings.now.into(), surroundings.rng, budget);
    exec::execute(name, source, &trees, context, machine)
}
