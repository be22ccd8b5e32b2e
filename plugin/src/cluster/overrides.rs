//! The flags of kubectl that choose the cluster and who asks it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::ClusterError;

/// What is chosen by flags, in place of what files say.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster, as for kubectl")]
pub struct Overrides {
    /// Read this configuration instead of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Use this context of the configuration
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Use this cluster of the configuration
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,

    /// Use this user of the configuration
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Work in this namespace
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Ask the API server at this address
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,

    /// Authenticate with this bearer token
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<Hidden>,

    /// Authenticate with this name, and --password
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,

    /// Authenticate with this password, and --username
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<Hidden>,

    /// Act as this user
    #[arg(long = "as", value_name = "NAME")]
    pub impersonate: Option<String>,

    /// Act as a member of this group; may be repeated
    #[arg(long = "as-group", value_name = "NAME")]
    pub impersonate_groups: Vec<String>,

    /// Act as the user with this UID
    #[arg(long = "as-uid", value_name = "UID")]
    pub impersonate_uid: Option<String>,

    /// Authenticate with this certificate, and --client-key
    #[arg(long, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,

    /// Authenticate with this key, and --client-certificate
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,

    /// Trust an API server with a certificate of these authorities
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,

    /// Trust whatever answers, which gives away what is sent
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_skip_tls_verify: Option<bool>,

    /// Expect a certificate for this name
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,

    /// Reach the API server through this proxy: http, https or socks5
    #[arg(long, value_name = "URL")]
    pub proxy_url: Option<Hidden>,

    /// Ask for answers that are not compressed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub disable_compression: Option<bool>,

    /// Give a request up after this time, such as 5s or 1m; 0 waits for ever
    #[arg(long, value_name = "DURATION")]
    pub request_timeout: Option<String>,
}

/// Text that is not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(Zeroizing<String>);

impl Overrides {
    /// Returns after how long a request is given up, if ever.
    ///
    /// # Errors
    /// If what is given is no time.
    pub fn time_limit(&self) -> Result<Option<Duration>, ClusterError> {
        let Some(text) = self.request_timeout.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(Some(USUAL_LIMIT));
        };
        let malformed = || ClusterError::Flag {
            flag: "--request-timeout",
            why: format!("{text:?} is no time, such as 5s, 1m or 0"),
        };
        let limit = duration(text).ok_or_else(malformed)?;
        Ok((!limit.is_zero()).then_some(limit))
    }
}

impl Hidden {
    /// Returns the text. Call it as late as possible.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.to_owned().into())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(hidden)")
    }
}

/// Reads a time as kubectl does: whole seconds, or numbers with their units, as Go writes them.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut all = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (value, after) = rest.split_at(number);
        let end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        all = all.checked_add(Duration::try_from_secs_f64(value.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = after;
    }
    Some(all)
}

/// How long a request may take unless one says otherwise.
const USUAL_LIMIT: Duration = Duration::from_secs(30);

const UNITS: [(&str, f64); 7] =
    [("h", 3600.0), ("m", 60.0), ("ms", 1e-3), ("ns", 1e-9), ("s", 1.0), ("us", 1e-6), ("µs", 1e-6)];

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        overrides: Overrides,
    }

    #[test]
    fn times_are_those_of_kubectl() {
        let limit = |text: &str| {
            Overrides { request_timeout: Some(text.to_owned()), ..Overrides::default() }.time_limit().ok()
        };
        assert_eq!(limit("7"), Some(Some(Duration::from_secs(7))));
        assert_eq!(limit("1m30s"), Some(Some(Duration::from_secs(90))));
        assert_eq!(limit("1.5h"), Some(Some(Duration::from_secs(5400))));
        assert_eq!(limit("250ms"), Some(Some(Duration::from_millis(250))));
        assert_eq!(limit("0"), Some(None));
        assert_eq!(limit("0s"), Some(None));
        assert_eq!(limit(""), Some(Some(USUAL_LIMIT)));
        for text in ["s", "1x", "-1s", "1", "1e3s", "five"].into_iter().filter(|text| *text != "1") {
            assert_eq!(limit(text), None, "{text}");
        }
    }

    #[test]
    fn flags_are_those_of_kubectl() {
        let arguments =
            ["", "--insecure-skip-tls-verify", "--as-group=a", "--as-group=b", "-n", "x", "--as=c"];
        let overrides = Program::try_parse_from(arguments).expect("they are flags").overrides;
        assert_eq!(overrides.insecure_skip_tls_verify, Some(true));
        assert_eq!(overrides.impersonate_groups, ["a", "b"]);
        assert_eq!(overrides.namespace.as_deref(), Some("x"));
        let arguments = ["", "--insecure-skip-tls-verify=false", "--token=hush"];
        let overrides = Program::try_parse_from(arguments).expect("they are flags").overrides;
        assert_eq!(overrides.insecure_skip_tls_verify, Some(false));
        assert!(!format!("{overrides:?}").contains("hush"));
    }
}
