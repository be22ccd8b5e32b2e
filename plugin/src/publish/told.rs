//! What is told of servers.

use crate::report::escape;

/// Returns the host of an address with its port, without what may be a password in front of it.
pub(super) fn host_of(address: &str) -> String {
    let url = reqwest::Url::parse(address).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
    match host {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => "the endpoint".to_owned(),
    }
}

/// Returns the beginning of a text that a server said: one line, and not too long.
pub(super) fn said(text: &str) -> String {
    let line = escape(text.trim().lines().next().unwrap_or_default());
    match line.char_indices().nth(MAX_SAID) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How many characters of what a server said are told.
const MAX_SAID: usize = 300;
