//! `sops publish`: brings documents to the destinations of the configuration.
//!
//! Other than with sops, everything is opened and made ready before anything is asked or sent.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use selkie::sops::Metadata;

use super::config::Configuration;
use super::document::{Formats, Source};
use super::failure::{Failure, of_file};
use super::grammar::Flag;
use super::log::Level;
use super::services::{self, Services};
use super::updatekeys::Change;
use super::{Action, Command, Context, flags};
use crate::audit::Deed;
use crate::batch::exit_of;
use crate::exit::Exit;
use crate::key_services;
use crate::parallel::map_waiting;
use crate::publish::{
    Arrival, Content, Destination, Destinations, Form, Publication, PublishError, Style, Takes, collisions,
    destination_name, recreated,
};
use crate::report::{Colour, escape};

pub(super) static COMMAND: Command = Command {
    name: "publish",
    about: "bring a file, or all of a folder, to the destinations of the configuration",
    arguments: "file",
    flags: || {
        let mut flags = vec![
            Flag::switch("yes", "do not ask").alias("y"),
            Flag::switch("omit-extensions", "leave out the ends of names at the destination"),
            Flag::switch("recursive", "publish all that is in the folder"),
            Flag::switch("verbose", "say more"),
            flags::decryption_order(),
        ];
        flags.extend(flags::key_services());
        flags
    },
    action: Action::Run(run),
};

/// A file to publish.
struct Named {
    /// Its path, as the user gave it: rules are matched with it.
    path: PathBuf,
    /// Its path below the folder that is published.
    below: PathBuf,
}

/// A file that can be published.
struct Ready {
    file: Named,
    publication: Publication,
    /// What becomes of its keys, if anything does.
    change: Option<Change>,
}

fn run(context: &Context<'_>) -> Result<(), Failure> {
    Source::file(context)?;
    context.warn_of_more_arguments();
    let path = context.path(0).unwrap_or_default();
    let absolute = context.session.absolute(&path);
    let metadata = fs::metadata(&absolute);
    let is_folder = metadata.map_err(|error| Failure::generic(of_file("stat", &path, &error)))?.is_dir();
    let configuration = context.configuration()?;
    let files = if is_folder {
        if !context.given.switch("recursive") {
            return Err(Failure::generic("can't operate on a directory without --recursive flag.").logged());
        }
        walk(context, &path)?
    } else {
        let below = path.file_name().unwrap_or_default().into();
        vec![Named { path, below }]
    };
    let services = Services::of(context)?;
    let setup = key_services::setup(context.session, &services::options(context));
    let destinations = Destinations::new(setup);
    let (mut ready, mut failures) = (Vec::new(), Vec::new());
    for file in files {
        let path = file.path.clone();
        match make_ready(context, configuration, &services, &destinations, file) {
            Ok(file) => ready.push(file),
            Err(failure) => failures.push((path, failure)),
        }
    }
    let publications = ready.iter().map(|file| (file.file.path.clone(), &file.publication));
    failures.extend(collisions(publications).into_iter().map(|(path, error)| (path, error.into())));
    all_of(is_folder, failures)?;
    let approved = approve(context, is_folder, ready)?;
    let results = map_waiting(approved, |file| (file.publication.put(), file));
    let mut failures = Vec::new();
    for (result, file) in results {
        match result {
            Ok(arrival) => note(context, &file, arrival),
            Err(error) => failures.push((file.file.path, error.into())),
        }
    }
    all_of(is_folder, failures)
}

fn make_ready(
    context: &Context<'_>,
    configuration: &Configuration,
    services: &Services,
    destinations: &Destinations,
    file: Named,
) -> Result<Ready, Failure> {
    let absolute = context.session.absolute(&file.path);
    let config = configuration.file().ok_or(PublishError::NoConfig)?;
    let shown = file.path.to_string_lossy();
    let no_rule = || PublishError::NoRule { config: config.path.clone(), file: shown.to_string() };
    let rule = config.destination_for(&shown)?.ok_or_else(no_rule)?;
    let nowhere = || PublishError::Nowhere { config: config.path.clone(), position: rule.position };
    let destination = destinations.get(&rule.target)?.ok_or_else(nowhere)?;
    let omit = context.given.switch("omit-extensions") || rule.omit_extensions;
    let name = destination_name(&file.below, omit)?;
    let formats = Formats::of(context, configuration, &absolute);
    let metadata = recreated(rule.recreation_rule.as_ref());
    let source = Source::File(absolute);
    let encrypted = source.read_encrypted(context, formats.input)?;
    let bytes = encrypted.tree.source().into();
    let opened = match encrypted.open(context, services) {
        // As in sops, who only brings a file somewhere needs no key to it.
        Err(failure)
            if failure.exit == Exit::DataKey && takes_it_as_it_is(&*destination, metadata.as_ref()) =>
        {
            context.log.warn(&format!(
                "No key to {} is at hand: whether it was changed without its key is not checked",
                source.name(context).display()
            ));
            let content = Content { bytes, form: Form::AsItIs };
            return Ok(Ready { file, publication: Publication { destination, name, content }, change: None });
        }
        opened => opened?.1,
    };
    let change = metadata.as_ref().map(|metadata| Change::new(opened.metadata(), &metadata.groups));
    if metadata.is_some() && destination.takes() == Takes::Document {
        context.record(Deed::Encrypt, Some(&file.path))?;
    }
    let (style, now) = (Style::Sops(formats.options), context.session.now());
    let content = Content::of(&opened, destination.takes(), metadata, style, &services.all(), &now)?;
    let change = change.filter(|change| content.form == Form::Recreated && !change.keeps_keys());
    Ok(Ready { file, publication: Publication { destination, name, content }, change })
}

fn takes_it_as_it_is(destination: &dyn Destination, metadata: Option<&Metadata>) -> bool {
    destination.takes() == Takes::Document && metadata.is_none()
}

/// Shows what becomes of keys, and asks for each file whether it is to be published.
fn approve(context: &Context<'_>, is_folder: bool, ready: Vec<Ready>) -> Result<Vec<Ready>, Failure> {
    let is_coloured = Colour::Auto.applies(&context.session.stdout, &context.session.environment);
    let mut approved = Vec::new();
    for file in ready {
        if let Some(change) = &file.change {
            let groups = change.describe_groups(is_coloured);
            let text = format!("The following changes will be made to the file's key groups:\n{groups}");
            super::print(context.session, &text)?;
        }
        let shown = escape(&context.session.absolute(&file.file.path).display().to_string());
        if context.given.switch("yes") || is_agreed(context, &shown, &file.publication)? {
            approved.push(file);
        } else if is_folder {
            super::print(context.session, &format!("Publication of {shown} canceled\n"))?;
        } else {
            return Err(Failure::generic(format!("Publication of {shown} canceled")));
        }
    }
    Ok(approved)
}

/// Asks until the answer is one.
fn is_agreed(context: &Context<'_>, shown: &str, publication: &Publication) -> Result<bool, Failure> {
    let question = format!("uploading {shown} to {} ? (y/n): ", escape(&publication.address()));
    loop {
        super::print(context.session, &question)?;
        match context.session.stdin.read_line() {
            Ok(Some(answer)) if answer == "y" => return Ok(true),
            Ok(Some(answer)) if answer == "n" => return Ok(false),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Failure::generic("EOF")),
            Err(error) => return Err(Failure::generic(error.to_string())),
        }
    }
}

fn note(context: &Context<'_>, file: &Ready, arrival: Arrival) {
    let address = file.publication.address();
    match arrival {
        Arrival::Put => context.log.info(&format!("published to {address}")),
        Arrival::PutUnseen(_) => {
            let path = address.split_once("/v1/").map_or(address.as_str(), |(_, path)| path);
            let message = format!(
                "Cannot check if destination secret already exists in {path}. New version will be created even \
                 if the data has not been changed."
            );
            context.log.say("PUBLISH", Level::Warning, &message, &[]);
        }
        Arrival::Unchanged => context.log.info(&format!("{address} is up to date")),
    }
}

/// Fails if anything failed: of files in a folder, each is told with its path.
fn all_of(is_folder: bool, mut failures: Vec<(PathBuf, Failure)>) -> Result<(), Failure> {
    if !is_folder && let Some((_, failure)) = failures.pop() {
        return Err(failure);
    }
    if failures.is_empty() {
        return Ok(());
    }
    let exits: Vec<_> = failures.iter().map(|(_, failure)| failure.exit).collect();
    let lines = failures.iter().map(|(path, failure)| format!("{}: {}", path.display(), failure.message));
    Err(Failure::new(exit_of(&exits), lines.collect::<Vec<_>>().join("\n")))
}

/// Returns all files below a folder, in the order of their names: as with sops, those that Git does not see as well.
/// A symbolic link counts as a file.
fn walk(context: &Context<'_>, folder: &Path) -> Result<Vec<Named>, Failure> {
    let mut files = Vec::new();
    let parts = folder.components().filter(|part| *part != Component::CurDir);
    let shown: PathBuf = parts.collect();
    descend(&context.session.absolute(folder), &shown, Path::new(""), &mut files)
        .map_err(|error| Failure::generic(of_file("open", folder, &error)))?;
    Ok(files)
}

fn descend(absolute: &Path, shown: &Path, below: &Path, files: &mut Vec<Named>) -> io::Result<()> {
    let mut entries = fs::read_dir(absolute.join(below))?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let below = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            descend(absolute, shown, &below, files)?;
        } else {
            files.push(Named { path: shown.join(&below), below });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder_are_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in ["b/c.yaml", ".git/x", "a.yaml", "b.yaml", "b/.hidden"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let mut files = Vec::new();
        descend(folder.path(), Path::new("d"), Path::new(""), &mut files).expect("it can be read");
        let found: Vec<_> = files.iter().map(|file| file.path.to_str().expect("a text")).collect();
        assert_eq!(found, ["d/.git/x", "d/a.yaml", "d/b/.hidden", "d/b/c.yaml", "d/b.yaml"]);
        assert_eq!(files[3].below, Path::new("b/c.yaml"));
    }
}
