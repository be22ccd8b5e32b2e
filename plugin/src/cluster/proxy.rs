//! Through which proxy the API server is reached: that of the configuration, or that of the environment.

use std::net::IpAddr;

use http::Uri;

use super::ClusterError;
use crate::session::Environment;

/// Returns the proxy that leads to a server, if there is one in between.
pub(crate) fn of(
    configured: Option<&str>,
    server: &Uri,
    environment: &Environment,
) -> Result<Option<Uri>, ClusterError> {
    let of_environment = || of_environment(server, environment);
    let Some(url) = configured.filter(|url| !url.is_empty()).or_else(of_environment) else { return Ok(None) };
    // Without the URL itself, which may hold a password.
    let unusable = |why: &str| ClusterError::Unusable { what: "the proxy", why: why.to_owned() };
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let url: Uri = url.parse().map_err(|_| unusable("its address is no URL"))?;
    match url.scheme_str() {
        Some("http" | "https" | "socks5") => Ok(Some(url)),
        _ => Err(unusable("it is reached by neither http, https nor socks5")),
    }
}

fn of_environment<'a>(server: &Uri, environment: &'a Environment) -> Option<&'a str> {
    let variables = match server.scheme_str() {
        Some("http") => ["HTTP_PROXY", "http_proxy"],
        _ => ["HTTPS_PROXY", "https_proxy"],
    };
    let get = |names: [&str; 2]| names.into_iter().find_map(|name| environment.get(name));
    let host = server.host()?.trim_matches(['[', ']']);
    let is_direct = is_this_machine(host)
        || get(["NO_PROXY", "no_proxy"])
            .is_some_and(|rules| rules.split(',').any(|rule| covers(rule.trim(), host)));
    get(variables).filter(|_| !is_direct)
}

/// No proxy leads back to where one is, whatever the environment says: as for the programs in Go.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns whether a rule of NO_PROXY is for a host: a name with those below it, an address, or a network.
fn covers(rule: &str, host: &str) -> bool {
    let rule = rule
        .rsplit_once(':')
        .filter(|(name, port)| is_port(port) && !name.contains(':'))
        .map_or(rule, |(name, _)| name);
    if rule == "*" {
        return true;
    }
    if let Ok(host) = host.parse::<IpAddr>() {
        return match rule.split_once('/') {
            Some((network, length)) => is_in(host, network, length),
            None => rule.parse() == Ok(host),
        };
    }
    let (rule, host) = (rule.to_ascii_lowercase(), host.to_ascii_lowercase());
    let rule = rule.strip_prefix('*').unwrap_or(&rule);
    let domain = rule.strip_prefix('.').unwrap_or(rule);
    let is_below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    !domain.is_empty() && (is_below || (host == domain && !rule.starts_with('.')))
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_in(host: IpAddr, network: &str, length: &str) -> bool {
    let (bits, of_host, of_network) = match (host, network.parse()) {
        (IpAddr::V4(host), Ok(IpAddr::V4(network))) => {
            (32, u128::from(u32::from(host)), u128::from(u32::from(network)))
        }
        (IpAddr::V6(host), Ok(IpAddr::V6(network))) => (128, u128::from(host), u128::from(network)),
        _ => return false,
    };
    let Some(rest) = length.parse::<u32>().ok().and_then(|length| u32::checked_sub(bits, length)) else {
        return false;
    };
    // A network of length 0 holds all addresses.
    rest == 128 || of_host >> rest == of_network >> rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(configured: Option<&str>, server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let environment: Environment = variables.iter().copied().collect();
        let proxy = of(configured, &server.parse().expect("it is a URL"), &environment);
        proxy.expect("it can be used").map(|url| url.to_string())
    }

    #[test]
    fn what_is_configured_wins() {
        let variables = [("HTTPS_PROXY", "http://b:1"), ("NO_PROXY", "*")];
        assert_eq!(proxy(Some("socks5://a:1"), "https://c", &variables).as_deref(), Some("socks5://a:1/"));
        assert!(
            of(Some("ftp://user:hush@a"), &Uri::from_static("https://c"), &Environment::default())
                .is_err_and(|error| !error.to_string().contains("hush"))
        );
    }

    #[test]
    fn the_environment_is_that_of_other_programs() {
        let variables = [("https_proxy", "b:1"), ("HTTP_PROXY", "http://c:1")];
        assert_eq!(proxy(None, "https://a", &variables).as_deref(), Some("http://b:1/"));
        assert_eq!(proxy(None, "http://a", &variables).as_deref(), Some("http://c:1/"));
        assert_eq!(proxy(None, "https://127.0.0.1:6443", &variables), None);
        assert_eq!(proxy(None, "https://[::1]:6443", &variables), None);
        assert_eq!(proxy(None, "https://localhost:6443", &variables), None);
    }

    #[test]
    fn some_hosts_are_reached_directly() {
        for (rule, host) in [
            ("a.example", "a.example"),
            ("example", "a.example"),
            (".example", "a.example"),
            ("*.example", "a.example"),
            ("*", "x"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("A.example:6443", "a.Example"),
            ("fd00::/8", "fd12::1"),
            ("0.0.0.0/0", "1.2.3.4"),
            ("::/0", "::2"),
        ] {
            assert!(covers(rule, host), "{rule} {host}");
        }
        for (rule, host) in [
            ("", "a"),
            (".example", "example"),
            ("ample", "example"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/33", "10.0.0.1"),
            ("10.0.0.0/8", "fd00::1"),
            ("x/8", "10.0.0.1"),
        ] {
            assert!(!covers(rule, host), "{rule} {host}");
        }
    }
}
