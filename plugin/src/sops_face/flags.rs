//! Flags that several commands take. Those of keys come from the table of key kinds.

use selkie::format::STORES;
use selkie::keys::{KEY_KINDS, KeyKind};

use super::grammar::{Flag, FlagKind};

/// Which key services are asked.
pub(super) fn key_services() -> Vec<Flag> {
    let local =
        Flag { kind: FlagKind::SwitchOn, ..Flag::switch("enable-local-keyservice", "use local keys") };
    vec![
        local.variable("SOPS_ENABLE_LOCAL_KEYSERVICE"),
        Flag::texts(
            "keyservice",
            "ask the key service at this address too, such as tcp://host:5000; may be given more than once",
        )
        .variable("SOPS_KEYSERVICE"),
    ]
}

/// The keys of a new document.
pub(super) fn keys() -> Vec<Flag> {
    let of_kind = |kind: &&'static KeyKind| {
        let flag =
            Flag::text(kind.flag, &format!("encrypt for these {} keys, separated by commas", kind.flag));
        let flag = Flag { alias: kind.short.map(String::from), ..flag };
        let options = kind.options.iter().filter(|option| option.flag != ENCRYPTION_CONTEXT);
        let options = options.map(|option| Flag::text(option.flag, &about_option(option.flag)));
        std::iter::once(flag.variable(kind.variable)).chain(options).collect::<Vec<_>>()
    };
    KEY_KINDS.iter().flat_map(of_kind).collect()
}

/// The keys to add to a document and those to take out.
pub(super) fn changed_keys() -> Vec<Flag> {
    let of_kind = |kind: &&'static KeyKind| {
        let flag = |verb: &str, what: &str| {
            let about = format!("{what} these {} keys, separated by commas", kind.flag);
            Flag::text(&format!("{verb}-{}", kind.flag), &about)
        };
        [flag("add", "add"), flag("rm", "remove")]
    };
    KEY_KINDS.iter().flat_map(of_kind).collect()
}

/// The keys of a new group.
pub(super) fn group_keys() -> Vec<Flag> {
    let of_kind = |kind: &&'static KeyKind| {
        let about = format!("put these {} keys into the group; may be given more than once", kind.flag);
        let options = kind.options.iter().filter(|option| option.flag != ENCRYPTION_CONTEXT);
        let options = options.map(|option| Flag::text(option.flag, &about_option(option.flag)));
        std::iter::once(Flag::texts(kind.flag, &about)).chain(options).collect::<Vec<_>>()
    };
    KEY_KINDS.iter().flat_map(of_kind).collect()
}

/// The context that keys of AWS KMS are used in.
pub(super) fn encryption_context() -> Flag {
    Flag::text(ENCRYPTION_CONTEXT, "the encryption context of AWS KMS: key:value pairs, separated by commas")
}

/// How many groups are needed.
pub(super) fn threshold() -> Flag {
    Flag::number(THRESHOLD, "how many key groups are needed to recover the data key")
}

/// The rules by which values are chosen, as `encrypt` and `edit` take them.
pub(super) fn rules() -> Vec<Flag> {
    vec![
        Flag::text("unencrypted-suffix", "leave values in clear whose key ends so"),
        Flag::text("encrypted-suffix", "encrypt only values whose key ends so"),
        Flag::text("unencrypted-regex", "leave values in clear whose key matches this pattern"),
        Flag::text("encrypted-regex", "encrypt only values whose key matches this pattern"),
    ]
}

/// The rules that only the program itself takes.
pub(super) fn comment_rules() -> Vec<Flag> {
    vec![
        Flag::text("unencrypted-comment-regex", "leave values in clear whose comment matches this pattern"),
        Flag::text("encrypted-comment-regex", "encrypt only values whose comment matches this pattern"),
    ]
}

/// The format of the input.
pub(super) fn input_type() -> Flag {
    let about = format!("the format of the input ({}) where its name does not tell", formats());
    Flag::text(INPUT_TYPE, &about)
}

/// The formats of the input and the output.
pub(super) fn types() -> [Flag; 2] {
    let about = format!("the format of the output ({}) if it is not that of the input", formats());
    [input_type(), Flag::text(OUTPUT_TYPE, &about)]
}

/// Where the output goes.
pub(super) fn output() -> [Flag; 2] {
    [
        Flag::switch(IN_PLACE, "write the output into the file itself").alias("i"),
        Flag::text(OUTPUT, "write the output to this file"),
    ]
}

/// The name that stands for the file's.
pub(super) fn filename_override() -> Flag {
    Flag::text(
        FILENAME_OVERRIDE,
        "look up rules and formats as if the file were called so; needed to encrypt what comes from stdin",
    )
}

/// Whether the MAC is checked.
pub(super) fn ignore_mac() -> Flag {
    Flag::switch(IGNORE_MAC, "do not check whether the file was changed without its key")
}

/// Which kinds of keys are tried first.
pub(super) fn decryption_order() -> Flag {
    Flag::text(DECRYPTION_ORDER, "the kinds of keys to try first, separated by commas")
        .variable("SOPS_DECRYPTION_ORDER")
}

/// Whether the keys are edited too.
pub(super) fn show_master_keys() -> Flag {
    Flag::switch("show-master-keys", "let the editor change the keys of the file, too").alias("s")
}

fn about_option(flag: &str) -> String {
    match flag {
        "aws-profile" => "the AWS profile to use".to_owned(),
        other => format!("the {} of these keys", other.replace('-', " ")),
    }
}

fn formats() -> String {
    STORES.iter().map(|store| store.name()).collect::<Vec<_>>().join(", ")
}

pub(super) const DECRYPTION_ORDER: &str = "decryption-order";
pub(super) const ENCRYPTION_CONTEXT: &str = "encryption-context";
pub(super) const FILENAME_OVERRIDE: &str = "filename-override";
pub(super) const IGNORE_MAC: &str = "ignore-mac";
pub(super) const INPUT_TYPE: &str = "input-type";
pub(super) const IN_PLACE: &str = "in-place";
pub(super) const OUTPUT: &str = "output";
pub(super) const OUTPUT_TYPE: &str = "output-type";
pub(super) const THRESHOLD: &str = "shamir-secret-sharing-threshold";
