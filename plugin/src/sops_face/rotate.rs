//! `sops rotate`: gives a document a new data key, and adds and removes master keys.

use selkie::keys::{KEY_KINDS, KeyGroup, MasterKey};
use selkie::sops::Stash;

use super::document::{
    Formats, Source, check_output, is_missing, plaintext, read_plain, seal, write_in_place, write_output,
};
use super::failure::Failure;
use super::services::Services;
use super::{Action, Command, Context, creation, flags};
use crate::audit::Deed;
use crate::exit::Exit;
use crate::files::{Audience, Expected};

pub(super) static COMMAND: Command = Command {
    name: "rotate",
    about: "give a file a new data key, and encrypt all values with it",
    arguments: "file",
    flags: || {
        let mut all = flags::changed_keys();
        all.extend(flags::output());
        all.extend(flags::types());
        all.extend([flags::encryption_context(), flags::filename_override(), flags::decryption_order()]);
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let file = Source::file(context)?;
    context.warn_of_more_arguments();
    check_output(context)?;
    check_keys_of_missing(context, &file, "the `edit` subcommand")?;
    rotate(context, &Source::File(file))
}

/// Gives a document a new data key and writes it where it is to go.
pub(super) fn rotate(context: &Context<'_>, source: &Source) -> Result<(), Failure> {
    let configuration = context.configuration()?;
    let formats = Formats::of(context, configuration, &source.name(context));
    let services = Services::of(context)?;
    let added = creation::given_keys(context, "add-")?;
    let removed = creation::given_keys(context, "rm-")?;
    let _turn = source.turn(context, context.given.switch(flags::IN_PLACE));
    let encrypted = source.read_encrypted(context, formats.input)?;
    context.record(Deed::Rotate, source.path())?;
    let (envelope, opened) = encrypted.open(context, &services)?;
    let mut metadata = envelope.metadata().clone();
    change_keys(&mut metadata.groups, added, &removed);
    let envelope =
        creation::create(context, metadata, &services).map_err(|list| creation::data_key_failure(&list))?;
    let tree = read_plain(formats.input, plaintext(&opened)?)?;
    let sealed = seal(context, source, &envelope, (formats.input, tree), Stash::new())?;
    match source {
        Source::File(path) if context.given.switch(flags::IN_PLACE) => {
            let content = formats.write_into_file(context, &sealed)?;
            let expected = Expected::Content(opened.tree().source());
            write_in_place(context, path, &content, Audience::Everyone, expected)
        }
        _ => write_output(context, &formats.write_anew(&sealed)?, Audience::Everyone),
    }
}

/// Fails if keys are to be changed in a file that does not exist.
pub(super) fn check_keys_of_missing(
    context: &Context<'_>,
    file: &std::path::Path,
    instead: &str,
) -> Result<(), Failure> {
    let is_given = |front: &str| {
        KEY_KINDS.iter().any(|kind| context.given.path(&format!("{front}{}", kind.flag)).is_some())
    };
    if is_missing(file) && (is_given("add-") || is_given("rm-")) {
        let file = file.display().to_string();
        return Err(Failure::new(
            Exit::MissingFileKeys,
            format!("Error: cannot add or remove keys on non-existent file {file:?}, use {instead} instead."),
        ));
    }
    Ok(())
}

/// Adds keys to the first group, and takes others out of all groups.
fn change_keys(groups: &mut [KeyGroup], added: Vec<MasterKey>, removed: &[MasterKey]) {
    if let Some(first) = groups.first_mut() {
        for key in added {
            if !first.0.contains(&key) {
                first.0.push(key);
            }
        }
    }
    groups.iter_mut().for_each(|group| group.0.retain(|key| !removed.contains(key)));
}

#[cfg(test)]
mod tests {
    use selkie::keys::KeyKind;

    use super::*;

    fn keys(text: &str) -> Vec<MasterKey> {
        MasterKey::parse_list(KeyKind::from_name("pgp").expect("a kind"), text).expect("fingerprints")
    }

    #[test]
    fn keys_come_into_the_first_group_once_and_go_from_all() {
        let mut groups = [KeyGroup(keys("A,B")), KeyGroup(keys("B,C"))];
        change_keys(&mut groups, keys("A,D"), &keys("B"));
        assert_eq!(groups, [KeyGroup(keys("A,D")), KeyGroup(keys("C"))]);
    }
}
