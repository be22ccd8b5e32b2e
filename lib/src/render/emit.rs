//! What comes out for marks: values, ciphertext for a cluster, or dummies.
//!
//! To add a mode, write one file and one arm of `EmitMode::secret`.

mod defer;
mod dummy;
mod plain;
mod reseal;
mod stand_in;
mod taint;

use serde_json::Value as Json;

use super::Document;
use super::limits::Limits;
use super::marks::Marks;
use super::open::{Sources, is_kind_for_the_cluster};
use super::policy::Rule;
use super::verdict::{RenderError, Warning};
use crate::manifest::print_yaml;
use crate::sealed::SealedSecret;
use crate::secret::SecretBytes;

pub use defer::Defer;
pub use reseal::Reseal;
pub use taint::Taint;

/// What comes out for a decrypted value.
pub enum EmitMode {
    /// A `SopsSecret` that carries the encrypted file, which the controller in the cluster opens. No key is asked for.
    Defer(Defer),
    /// A dummy of the same type and length. No key is asked for.
    Fake,
    /// The value.
    Plain,
    /// A word that says that something was left out. No key is asked for.
    Redact,
    /// A `SealedSecret` for a cluster; the same values give the same ciphertext.
    Reseal(Box<Reseal>),
}

/// What came out.
pub struct Emission {
    /// The objects, in the order in which they were rendered.
    pub objects: Vec<Json>,
    /// Where decrypted values came out.
    pub taint: Vec<Taint>,
    /// What to tell.
    pub warnings: Vec<Warning>,
    /// How many encrypted files were opened.
    pub opened: usize,
}

/// What a mode works with.
pub(super) struct Context<'a> {
    pub(super) sources: &'a Sources,
    pub(super) marks: &'a Marks,
    pub(super) rule: &'a Rule,
}

impl EmitMode {
    /// Returns whether keys are asked for.
    #[must_use]
    pub const fn needs_keys(&self) -> bool {
        matches!(self, Self::Plain | Self::Reseal(_))
    }

    /// Returns the name that command lines and policies use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Defer(_) => "defer",
            Self::Fake => "fake",
            Self::Plain => "plain",
            Self::Redact => "redact",
            Self::Reseal(_) => "reseal",
        }
    }

    /// Returns what comes out for a Secret that holds marks.
    fn secret(&self, context: &Context<'_>, document: &Document) -> Result<Json, RenderError> {
        match self {
            Self::Defer(defer) => defer.secret(context, document),
            Self::Fake => dummy::object(context, document, dummy::Dummy::Fake),
            Self::Plain => plain::secret(context, document),
            Self::Redact => dummy::object(context, document, dummy::Dummy::Redact),
            Self::Reseal(reseal) => reseal.secret(context, document),
        }
    }

    /// Returns what comes out for another object that holds marks, where the rule allows that.
    fn other(&self, context: &Context<'_>, document: &Document) -> Result<Json, RenderError> {
        match self {
            Self::Plain => plain::other(context, document),
            Self::Fake => dummy::object(context, document, dummy::Dummy::Fake),
            Self::Redact => dummy::object(context, document, dummy::Dummy::Redact),
            Self::Defer(_) | Self::Reseal(_) => Err(RenderError::Mode {
                place: document.name(),
                reason: format!(
                    "holds decrypted values, and only a Secret can be brought out by the mode {}; use the mode plain for it, or move them to a Secret",
                    self.name()
                ),
            }),
        }
    }
}

/// Puts something in the place of all marks.
///
/// # Errors
/// If a decrypted value would come out where it may not, an object cannot be brought out in this mode, a mark was
/// changed by what built the objects, or too little comes out.
pub fn emit(
    rule: &Rule,
    limits: &Limits,
    sources: &Sources,
    documents: &[Document],
    mode: &EmitMode,
) -> Result<Emission, RenderError> {
    let context = Context { sources, marks: sources.marks(), rule };
    let mut emission = Emission {
        objects: Vec::with_capacity(documents.len()),
        taint: Vec::new(),
        warnings: sources.warnings().to_vec(),
        opened: sources.iter().len(),
    };
    for document in documents {
        let taint = taint::of(&context, document)?;
        taint::check_identity(&context, document)?;
        let is_secret = taint::is_secret(&document.object);
        let object = match (taint.is_empty(), is_secret) {
            (true, _) => document.object.clone(),
            (false, _) => {
                taint::check(&context, document, &taint)?;
                if is_secret { mode.secret(&context, document)? } else { mode.other(&context, document)? }
            }
        };
        emission.objects.push(object);
        emission.taint.extend(taint);
    }
    if emission.objects.is_empty() && !rule.allow_empty {
        return Err(RenderError::Empty);
    }
    let found = emission.objects.iter().filter(|object| holds_secrets(object)).count();
    if found < rule.least_secrets {
        return Err(RenderError::TooFewSecrets { found, least: rule.least_secrets });
    }
    limits.check_documents(emission.objects.len())?;
    Ok(emission)
}

impl Emission {
    /// Returns the objects as a stream of YAML, in the style of Kubernetes' tools.
    ///
    /// # Errors
    /// If more comes out than the limits allow.
    pub fn to_yaml(&self, limits: &Limits) -> Result<SecretBytes, RenderError> {
        let mut stream = SecretBytes::new();
        for object in &self.objects {
            if !stream.is_empty() {
                stream.push_str("---\n");
            }
            stream.extend_from_slice(print_yaml(object).expose_secret());
            limits.check_output(stream.len() as u64)?;
        }
        Ok(stream)
    }
}

/// Returns whether an object is a Secret, or becomes one in the cluster.
fn holds_secrets(object: &Json) -> bool {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    taint::is_secret(object)
        || SealedSecret::is_one(object)
        || is_kind_for_the_cluster(text("apiVersion"), text("kind"))
}
