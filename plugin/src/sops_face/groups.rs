//! `sops groups`: adds and deletes key groups.

use std::path::{Path, PathBuf};

use selkie::keys::KeyGroup;

use super::document::{Encrypted, Formats, Source, recover, rewrap, write_in_place};
use super::failure::Failure;
use super::grammar::Flag;
use super::services::Services;
use super::{Action, Command, Context, creation, flags};
use crate::audit::Deed;
use crate::files::{Audience, Expected};

pub(super) static COMMAND: Command = Command {
    name: "groups",
    about: "add a key group to a file, or delete one",
    arguments: "add|delete",
    flags: Vec::new,
    action: Action::Group(&[&ADD, &DELETE]),
};

static ADD: Command = Command {
    name: "add",
    about: "add a key group to a file",
    arguments: "",
    flags: || {
        let mut all = file_flags();
        all.extend(flags::group_keys());
        all.extend([flags::encryption_context(), flags::threshold()]);
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(add),
};

static DELETE: Command = Command {
    name: "delete",
    about: "delete a key group of a file; the first has the index 0",
    arguments: "index",
    flags: || {
        let mut all = file_flags();
        all.push(flags::threshold());
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(delete),
};

fn file_flags() -> Vec<Flag> {
    vec![
        Flag::text("file", "the file to change").alias("f"),
        Flag::switch(flags::IN_PLACE, "write the output into the file itself").alias("i"),
    ]
}

fn add(context: &Context<'_>) -> Result<(), Failure> {
    if !context.given.arguments().is_empty() {
        return Err(Failure::generic("error: no positional arguments allowed"));
    }
    let group = KeyGroup(creation::given_keys(context, "")?);
    change(context, "adding", |groups| {
        groups.push(group);
        Ok(())
    })
}

fn delete(context: &Context<'_>) -> Result<(), Failure> {
    let [index] = context.given.arguments() else {
        return Err(Failure::generic("error: exactly one positional argument (index) required"));
    };
    let index = index.to_string_lossy();
    let index: usize = index.parse().map_err(|_| {
        Failure::generic(format!("failed to parse [index] argument: {index:?} is not a number")).logged()
    })?;
    change(context, "removing", |groups| {
        if index >= groups.len() {
            let message = format!("there is no key group {index}: the file has {}", groups.len());
            return Err(Failure::generic(message).logged());
        }
        groups.remove(index);
        Ok(())
    })
}

/// Recovers a file's data key, changes its groups, and wraps the key for them.
fn change(
    context: &Context<'_>,
    doing: &str,
    edit: impl FnOnce(&mut Vec<KeyGroup>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = file(context)?;
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &path);
    let services = Services::of(context)?;
    let source = Source::File(path.clone());
    let _turn = source.turn(context, context.given.switch(flags::IN_PLACE));
    let encrypted = source.read_encrypted(context, formats.input);
    let encrypted = encrypted.map_err(log_generic)?;
    let recovered = recover(encrypted.metadata.clone(), &services, &[]);
    let mut envelope = recovered.map_err(|(error, threshold)| {
        let recovered = error.recovered;
        let message =
            format!("Error getting data key: {threshold} successful groups required, got {recovered}");
        Failure::generic(message).logged()
    })?;
    let mut groups = encrypted.metadata.groups.clone();
    edit(&mut groups)?;
    let threshold = match creation::given_threshold(context)? {
        0 => encrypted.metadata.shamir_threshold,
        threshold => threshold,
    };
    check_threshold(doing, threshold, groups.len())?;
    context.record(Deed::Rewrap, source.path())?;
    rewrap(context, &mut envelope, groups, threshold, &services)
        .map_err(|error| creation::wrap_failure(&error).logged())?;
    write(context, &path, &encrypted, &envelope, &formats)
}

fn write(
    context: &Context<'_>,
    path: &Path,
    encrypted: &Encrypted,
    envelope: &selkie::sops::Envelope,
    formats: &Formats,
) -> Result<(), Failure> {
    if context.given.switch(flags::IN_PLACE) {
        let content = encrypted.with_metadata(envelope)?;
        let expected = Expected::Content(encrypted.tree.source());
        return write_in_place(context, path, &content, Audience::Everyone, expected);
    }
    let written = encrypted.with_metadata_anew(envelope, formats)?;
    context.session.stdout.write(written.expose_secret()).map_err(|error| Failure::of_stdout(&error))
}

fn file(context: &Context<'_>) -> Result<PathBuf, Failure> {
    let file = context.given.path("file").unwrap_or_default();
    Ok(context.session.absolute(Path::new(file)))
}

fn check_threshold(doing: &str, threshold: usize, groups: usize) -> Result<(), Failure> {
    if groups < threshold {
        let message = format!(
            "{doing} this key group will make the Shamir threshold impossible to satisfy: Shamir threshold \
             is {threshold}, but we only have {groups} key groups"
        );
        return Err(Failure::generic(message).logged());
    }
    Ok(())
}

/// These commands write what has no code of its own as a line of the log.
fn log_generic(failure: Failure) -> Failure {
    if failure.exit == crate::exit::Exit::Failure { failure.logged() } else { failure }
}
