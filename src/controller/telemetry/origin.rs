//! Whose events and spans count.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};

/// Lets pass what is logged: of this program what is of the level or above, of other crates warnings and errors.
pub fn logged(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool + Clone> {
    let filter = move |metadata: &Metadata<'_>| {
        let (target, of) = (metadata.target(), *metadata.level());
        of <= level && (is_ours(target) || (of <= Level::WARN && !QUOTING.contains(&target)))
    };
    filter_fn(filter).with_max_level_hint(LevelFilter::from_level(level))
}

/// Lets pass what becomes part of traces: spans of this program.
pub fn traced() -> FilterFn<impl Fn(&Metadata<'_>) -> bool + Clone> {
    let filter = |metadata: &Metadata<'_>| {
        metadata.is_span() && *metadata.level() <= Level::INFO && is_ours(metadata.target())
    };
    filter_fn(filter).with_max_level_hint(LevelFilter::INFO)
}

fn is_ours(target: &str) -> bool {
    matches!(target.split("::").next(), Some("selkie" | "selkie_decryptor"))
}

/// Modules of others whose warnings show the answers of a server.
const QUOTING: [&str; 1] = ["kube_client::client"];
