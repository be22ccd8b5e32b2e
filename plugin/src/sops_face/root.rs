//! `sops [flags] file`: the program without a command, as it was used before there were any.

use selkie::secret::SecretBytes;

use super::decrypt::decrypt;
use super::document::{Source, check_output};
use super::edit::edit;
use super::encrypt::encrypt;
use super::failure::Failure;
use super::grammar::Flag;
use super::rotate::{check_keys_of_missing, rotate};
use super::set::{parse_path, parse_value, set};
use super::{Context, flags};
use crate::exit::Exit;

/// Returns the flags of the program itself.
pub(super) fn flags() -> Vec<Flag> {
    let mut all = vec![
        Flag::switch("decrypt", "decrypt a file to stdout").alias("d"),
        Flag::switch("encrypt", "encrypt a file to stdout").alias("e"),
        Flag::switch("rotate", "give a file a new data key").alias("r"),
        Flag::text("set", "set a value: --set '[\"key\"][0] {\"json\": true}'"),
        Flag::text("extract", "print only the value at this path, such as '[\"key\"][0]'"),
        flags::show_master_keys(),
        flags::ignore_mac(),
        flags::encryption_context(),
        flags::threshold(),
        flags::filename_override(),
        flags::decryption_order(),
        Flag::text("config", "the configuration to use in place of the next .sops.yaml")
            .variable("SOPS_CONFIG"),
        Flag::switch("mac-only-encrypted", "let the MAC cover only what is encrypted"),
        Flag::number("indent", "how many spaces a level of YAML or JSON is indented by"),
        Flag::switch("verbose", "say more"),
        Flag::switch("disable-version-check", "has no effect: nothing is looked up")
            .variable("SOPS_DISABLE_VERSION_CHECK"),
        Flag::switch("check-for-updates", "has no effect: nothing is looked up"),
    ];
    all.extend(flags::output());
    all.extend(flags::types());
    all.extend(flags::keys());
    all.extend(flags::changed_keys());
    all.extend(flags::rules());
    all.extend(flags::comment_rules());
    all.extend(flags::key_services());
    all.push(Flag::help());
    all.push(Flag::switch("version", "print the version").alias("v"));
    all
}

/// Runs the program without a command.
pub(super) fn run(context: &Context<'_>) -> Result<(), Failure> {
    let file = Source::file(context)?;
    context.warn_of_more_arguments();
    check_output(context)?;
    check_keys_of_missing(context, &file, "`--kms` and `--pgp`")?;
    let source = Source::File(file);
    let modes = modes(context);
    if modes.len() > 1 {
        context.log.warn(
            "More than one command (--encrypt, --decrypt, --rotate, --set) has been specified. Only the \
             changes made by the last one will be visible. Note that this behavior is deprecated and will \
             cause an error eventually.",
        );
    }
    if modes.iter().any(|mode| *mode != "set") {
        source.must_exist()?;
    }
    // As in sops, a file that no rule is for stops every mode but the decryption.
    if modes != ["decrypt"] {
        let configuration = context.configuration()?;
        configuration.rule(&source.name(context))?;
    }
    match modes.last() {
        Some(&"decrypt") => decrypt(context, &source),
        Some(&"encrypt") => encrypt(context, &source),
        Some(&"rotate") => rotate(context, &source),
        Some(_) => set_argument(context, &source),
        None => edit(context, &source),
    }
}

/// Returns which modes are asked for; none stands for editing.
fn modes(context: &Context<'_>) -> Vec<&'static str> {
    let is_on = |mode: &&str| match *mode {
        "set" => context.given.text(mode).is_some(),
        _ => context.given.switch(mode),
    };
    ["encrypt", "decrypt", "rotate", "set"].into_iter().filter(is_on).collect()
}

/// Sets a value, as `--set '["path"] json'` says.
fn set_argument(context: &Context<'_>, source: &Source) -> Result<(), Failure> {
    let argument = context.given.text("set").unwrap_or_default();
    let malformed = || Failure::new(Exit::Set, "Invalid --set format");
    let end = argument.find("] ").ok_or_else(malformed)? + 1;
    let value = parse_value(&SecretBytes::from(&argument[end..]))?;
    let path = parse_path(&argument[..end], "Invalid --set format")?;
    set(context, source, &path, &value)
}
