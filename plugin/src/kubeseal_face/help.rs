//! The texts of help and version.

use super::flags::FLAGS;
use super::grammar::Flag;
use super::values::Kind;

/// The release whose command line this is.
pub(super) const VERSION: &str = "v0.40.0";

/// Returns the line that stands above the flags.
pub(super) fn heading(program: &str) -> String {
    format!("Usage of {program}:\n")
}

/// Returns the list of flags.
pub(super) fn flags() -> String {
    let shown: Vec<_> = FLAGS.iter().filter(|flag| flag.deprecated.is_none()).collect();
    let width = shown.iter().map(|flag| usage(flag).len()).max().unwrap_or_default();
    shown.iter().map(|flag| format!("{:width$}   {}{}\n", usage(flag), flag.about, default(flag))).collect()
}

fn usage(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "      ".to_owned(), |short| format!("  -{short}, "));
    let space = if flag.kind.name().is_empty() { "" } else { " " };
    format!("{short}--{}{space}{}", flag.name, flag.kind.name())
}

fn default(flag: &Flag) -> String {
    match flag.kind {
        _ if flag.default.is_empty() => String::new(),
        Kind::Scope | Kind::Text => format!(" (default {:?})", flag.default),
        _ => format!(" (default {})", flag.default),
    }
}
