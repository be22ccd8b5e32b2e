//! The metadata of a new document: flags first, then the rule of the configuration.

use std::path::Path;

use selkie::format::Format;
use selkie::keys::{KEY_KINDS, KeyGroup, KeyKind, KeyOption, MasterKey};
use selkie::sops::config::CreationRule;
use selkie::sops::{Envelope, Metadata, Selector, SelectorError, WrapError};
use serde_json::Value as Json;

use super::config::Configuration;
use super::failure::Failure;
use super::services::Services;
use super::{Context, flags, report};
use crate::exit::Exit;

/// Returns the metadata of a new document of this name.
pub(super) fn metadata(
    context: &Context<'_>,
    configuration: &Configuration,
    name: &Path,
    format: Format,
) -> Result<Metadata, Failure> {
    let rule = configuration.rule(name)?;
    let selector = selector(context, rule, format)?;
    let mut metadata = Metadata::new(groups(context, rule)?);
    metadata.selector = selector.unwrap_or_default();
    metadata.mac_only_encrypted = !format.store().is_single_value()
        && (context.global().switch("mac-only-encrypted")
            || rule.is_some_and(|rule| rule.mac_only_encrypted));
    metadata.shamir_threshold = match given_threshold(context)? {
        0 => rule.and_then(|rule| rule.shamir_threshold).unwrap_or_default().into(),
        threshold => threshold,
    };
    Ok(metadata)
}

/// Draws a data key for a new document; a failure is told as a list.
pub(super) fn create(
    context: &Context<'_>,
    metadata: Metadata,
    services: &Services,
) -> Result<Envelope, String> {
    context.audit_is_there().map_err(|error| format!("[{}]", error.message))?;
    services.must_exist()?;
    let (now, services, mut rng) = (context.session.now(), services.all(), rand::rngs::OsRng);
    let created = pollster::block_on(Envelope::create(metadata, &services, &now, &mut rng));
    created.map_err(|error| report::of_wrapping(&error))
}

/// Returns the failure to draw a data key.
pub(super) fn data_key_failure(list: &str) -> Failure {
    Failure::generic(format!("Could not generate data key: {list}"))
}

/// Returns the failure to wrap a data key.
pub(super) fn wrap_failure(error: &WrapError) -> Failure {
    data_key_failure(&report::of_wrapping(error))
}

/// Returns the threshold that the command line names, or 0.
pub(super) fn given_threshold(context: &Context<'_>) -> Result<usize, Failure> {
    let threshold = context.given.number(flags::THRESHOLD);
    usize::try_from(threshold)
        .map_err(|_| Failure::generic(format!("a Shamir threshold of {threshold} is not possible")))
}

/// Returns the keys that flags with this in front of their names list.
pub(super) fn given_keys(context: &Context<'_>, front: &str) -> Result<Vec<MasterKey>, Failure> {
    let mut keys = Vec::new();
    for kind in KEY_KINDS {
        for text in context.given.texts(&format!("{front}{}", kind.flag)) {
            keys.extend(parse_keys(context, kind, &text)?);
        }
    }
    Ok(keys)
}

fn parse_keys(context: &Context<'_>, kind: &'static KeyKind, text: &str) -> Result<Vec<MasterKey>, Failure> {
    let mut keys = MasterKey::parse_list(kind, text).map_err(|error| Failure::generic(error.to_string()))?;
    for option in kind.options {
        if let Some(value) = given_option(context, option)? {
            keys.iter_mut().for_each(|key| key.set_field(option.field, value.clone()));
        }
    }
    Ok(keys)
}

/// Returns what the command line says of all keys of a kind.
fn given_option(context: &Context<'_>, option: &KeyOption) -> Result<Option<Json>, Failure> {
    let Some(text) = context.given.text(option.flag) else { return Ok(None) };
    (option.parse)(&text).map(Some).map_err(|error| match option.flag {
        flags::ENCRYPTION_CONTEXT => {
            Failure::new(Exit::EncryptionContext, format!("Invalid KMS encryption context format: {error}"))
        }
        _ => Failure::generic(error.to_string()),
    })
}

fn groups(context: &Context<'_>, rule: Option<&CreationRule>) -> Result<Vec<KeyGroup>, Failure> {
    // What is malformed is an error whether a key uses it or not.
    for option in KEY_KINDS.iter().flat_map(|kind| kind.options) {
        given_option(context, option)?;
    }
    let keys = given_keys(context, "")?;
    match (keys.is_empty(), rule) {
        (false, _) => Ok(vec![KeyGroup(keys)]),
        (true, Some(rule)) => Ok(rule.groups.clone()),
        (true, None) => Err(Failure::generic(
            "config file not found, or has no creation rules, and no keys provided through command line \
             options",
        )),
    }
}

/// Returns the rule by which values are chosen: each flag takes the place of the same field of the rule.
fn selector(
    context: &Context<'_>,
    rule: Option<&CreationRule>,
    format: Format,
) -> Result<Option<Selector>, Failure> {
    let of_rule = rule.and_then(|rule| rule.selector.as_ref());
    let text_of = |field: &'static str| {
        let given = context.given.text(&field.replace('_', "-"));
        given.or_else(|| of_rule.filter(|rule| rule.field() == field).map(|rule| rule.text().to_owned()))
    };
    let texts: Vec<_> = Selector::FIELDS.iter().map(|&field| (field, text_of(field))).collect();
    if format.store().is_single_value() {
        for (field, _) in texts.iter().filter(|(_, text)| text.is_some()) {
            context.log.warn(&format!(
                "Using {field} does not make sense with the input store (the {} store produces one key that \
                 should always be encrypted) and will be ignored.",
                format.store().name()
            ));
        }
        return Ok(None);
    }
    let text_of = |name| texts.iter().find(|(field, _)| *field == name).and_then(|(_, text)| text.as_deref());
    Selector::from_fields(text_of).map_err(|error| match error {
        SelectorError::Conflict(..) => Failure::new(
            Exit::Conflict,
            format!(
                "Error: cannot use more than one of encrypted_suffix, unencrypted_suffix, encrypted_regex, \
                 unencrypted_regex, encrypted_comment_regex, or unencrypted_comment_regex in the same \
                 file: {error}"
            ),
        ),
        error => Failure::generic(format!("Error: {error}")),
    })
}
