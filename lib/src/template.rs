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
use crate::template::node::Trees;
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
            Limit::Variables => limits.variables as u64,
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
    let entries = context.iter().map(|(key, value)| (key.as_str(), value.expose_secret()));
    Renderer::new(entries, limits).render(name, source, surroundings)
}

/// Renders templates against one map. The steps of [`Limits`] are those of all of them together.
pub struct Renderer {
    context: Value,
    budget: Budget,
}

impl Renderer {
    /// Returns one that has rendered nothing yet.
    pub fn new<'a>(context: impl IntoIterator<Item = (&'a str, &'a [u8])>, limits: &Limits) -> Self {
        let entries = context.into_iter().map(|(key, value)| (Text::public(key), Text::secret(value)));
        Self { context: Value::Map(Rc::new(entries.collect())), budget: Budget::new(limits) }
    }

    /// Renders a template, whose name appears in errors.
    ///
    /// # Errors
    /// As of [`render`].
    pub fn render(
        &mut self,
        name: &str,
        source: &str,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<SecretBytes, TemplateError> {
        let mut budget = self.budget.share();
        let limits = budget.limits().clone();
        let trees = read(name, source, &mut budget, &limits)?;
        let machine = Machine::new(surroundings.now.into(), surroundings.rng, budget.share());
        exec::execute(name, source, &trees, self.context.clone(), machine)
    }
}

/// Reads a template without rendering it, so that one that never could be is told early.
///
/// # Errors
/// If it is none, or is larger than it may be.
pub fn check(name: &str, source: &str, limits: &Limits) -> Result<(), TemplateError> {
    read(name, source, &mut Budget::new(limits), limits).map(|_| ())
}

fn read<'s>(
    name: &str,
    source: &'s str,
    budget: &mut Budget,
    limits: &Limits,
) -> Result<Trees<'s>, TemplateError> {
    let refuse = |limit| TemplateError::limit(name.to_owned(), limit, limits);
    if source.len() > limits.source_bytes {
        return Err(refuse(Limit::SourceBytes));
    }
    parse::parse(name, source, budget).map_err(|fault| match fault {
        Fault::Limit(limit) => refuse(limit),
        Fault::Message(message) => TemplateError::Parse(message),
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn rendered(source: &str, limits: &Limits) -> Result<String, TemplateError> {
        let context = [("password", "hunter2"), ("user", "alice")];
        let context = context.map(|(key, value)| (key.to_owned(), SecretBytes::from(value))).into();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("it is a time");
        let mut surroundings = Surroundings { now, rng: &mut ChaCha20Rng::seed_from_u64(1) };
        let rendered = render("t", source, &context, &mut surroundings, limits)?;
        Ok(String::from_utf8_lossy(rendered.expose_secret()).into_owned())
    }

    fn error(source: &str) -> String {
        rendered(source, &Limits::default()).expect_err("it fails").to_string()
    }

    #[test]
    fn errors_show_no_value_of_the_context() {
        let sources = [
            "{{ fail .password }}",
            "{{ fail (printf \"%s!\" .password) }}",
            "{{ $x := .password }}{{ fail $x }}",
            "{{ fail (index . \"password\") }}",
            "{{ range .password }}{{ end }}",
            "{{ .password | call }}",
            "{{ eq (list .password) (list 1) }}",
            "{{ mustFromJson .password }}",
            "{{ mustRegexMatch (print \"(\" .password) \"x\" }}",
            "{{ regexFind (print \"(\" .password) \"x\" }}",
            "{{ semverCompare .password \"1.0.0\" }}",
            "{{ mustToDate \"2006\" .password }}",
            "{{ mustDateModify .password now }}",
            "{{ urlParse (print \":\" .password) }}",
            "{{ genSelfSignedCert \"x\" (list .password) nil 1 }}",
        ];
        for source in sources {
            let error = error(source);
            assert!(!error.contains("hunter2"), "{source}: {error}");
        }
    }

    #[test]
    fn errors_show_no_number_that_was_computed() {
        let index = error("{{ index (list 1) (len .password) }}");
        assert!(index.ends_with("error calling index: index out of range: (not shown)"), "{index}");
        let index = error("{{ index (list 1) 7 }}");
        assert!(index.ends_with("error calling index: index out of range: 7"), "{index}");
    }

    #[test]
    fn errors_show_what_stands_in_the_source() {
        let expected = "template: t:1:3: executing \"t\" at <fail (printf \"no %s: %d\" \"x\" 5)>: \
                        error calling fail: no x: 5";
        assert_eq!(error("{{ fail (printf \"no %s: %d\" \"x\" 5) }}"), expected);
        let generated = error("{{ fail (randAlpha 5) }}");
        assert!(generated.ends_with("error calling fail: (not shown)"), "{generated}");
    }

    #[test]
    fn limits_are_named() {
        let limits = Limits { steps: 1000, ..Limits::default() };
        let error = rendered("{{ range 9999 }}{{ end }}", &limits).expect_err("it takes too many steps");
        assert!(matches!(error, TemplateError::Limit { limit: Limit::Steps, allowed: 1000, .. }), "{error}");
        assert_eq!(error.to_string(), "template: t:1:9: more steps than 1000");
    }

    #[test]
    fn templates_of_a_renderer_share_their_steps() {
        let limits = Limits { steps: 1000, ..Limits::default() };
        let mut surroundings =
            Surroundings { now: OffsetDateTime::UNIX_EPOCH, rng: &mut ChaCha20Rng::seed_from_u64(1) };
        let mut renderer = Renderer::new([], &limits);
        let mut once = || renderer.render("t", "{{ range 600 }}{{ end }}", &mut surroundings);
        assert!(once().is_ok());
        assert!(matches!(once(), Err(TemplateError::Limit { limit: Limit::Steps, .. })));
    }

    #[test]
    fn variables_are_bounded_and_looking_for_one_takes_steps() {
        let declared = |count: usize, rest: &str| {
            let names: String = (0..count).map(|number| format!("{{{{$v{number} := 1}}}}")).collect();
            rendered(&format!("{names}{rest}"), &Limits::default())
        };
        let limit_of = |result: Result<String, TemplateError>| match result {
            Err(TemplateError::Limit { limit, .. }) => Some(limit),
            _ => None,
        };
        assert_eq!(declared(9_000, "{{ $v0 }}"), Ok("1".to_owned()));
        assert_eq!(limit_of(declared(10_000, "")), Some(Limit::Variables));
        assert_eq!(limit_of(declared(9_000, "{{ range 9000 }}{{ $v0 }}{{ end }}")), Some(Limit::Steps));
    }

    #[test]
    fn time_and_randomness_are_those_of_the_caller() {
        let source = "{{ now | date \"2006-01-02 MST\" }} {{ randAlpha 8 }}";
        let once = rendered(source, &Limits::default());
        assert_eq!(once, rendered(source, &Limits::default()));
        assert!(once.is_ok_and(|text| text.starts_with("2027-01-15 UTC ")));
    }

    #[test]
    fn keys_of_all_kinds_sign_certificates() {
        for kind in ["ecdsa", "ed25519"] {
            let source = format!(
                "{{{{ $key := genPrivateKey \"{kind}\" }}}}{{{{ $ca := genCAWithKey \"ca\" 10 $key }}}}\
                 {{{{ $leaf := genSignedCertWithKey \"leaf\" (list \"10.0.0.1\") (list \"a.b\") 5 $ca $key }}}}\
                 {{{{ $again := buildCustomCert (b64enc $leaf.Cert) (b64enc $leaf.Key) }}}}\
                 {{{{ eq $again.Cert $leaf.Cert }}}}{{{{ eq $leaf.Key $key }}}}"
            );
            assert_eq!(rendered(&source, &Limits::default()), Ok("truetrue".to_owned()), "{kind}");
        }
    }
}
