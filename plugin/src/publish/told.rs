//! What is told of servers.

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
