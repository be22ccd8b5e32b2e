//! The audit log of sops: a table of a Postgres database, with a row for each event.
//!
//! TLS is as sops has it: without `sslmode` it is asked for, and the certificate is not looked at unless `sslrootcert`
//! or `sslmode` ask for that. Nothing is taken from the environment: a user must not choose the database.

mod tls;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{AuditError, Backend, Event};
use tls::Verification;

/// A connection to a database.
pub struct Postgres {
    name: String,
    runtime: Runtime,
    client: Client,
}

impl Postgres {
    /// Connects to the database of a connection string.
    ///
    /// # Errors
    /// If it is none, or the database cannot be had.
    pub fn open(connection: &str) -> Result<Self, AuditError> {
        let failed = |name: &str, why: String| AuditError::Backend { name: name.to_owned(), why };
        let settings = Settings::parse(connection).map_err(|why| failed("postgres", why))?;
        let name = settings.name();
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("audit").enable_all().build();
        let runtime = runtime.map_err(|error| failed(&name, error.to_string()))?;
        let tls = settings.verification.client().map_err(|why| failed(&name, why))?;
        let connected = runtime.block_on(in_time(settings.config.connect(MakeRustlsConnect::new(tls))));
        let (client, connection) = connected.map_err(|why| failed(&name, why))?;
        // What ends it is seen with the next event.
        runtime.spawn(async { connection.await.unwrap_or(()) });
        Ok(Self { name, runtime, client })
    }
}

impl Backend for Postgres {
    fn record(&self, event: &Event) -> Result<(), AuditError> {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&event.deed.name(), &event.user, &event.file];
        let inserted = self.runtime.block_on(in_time(self.client.execute(INSERT, &values)));
        inserted.map(drop).map_err(|why| AuditError::Backend { name: self.name.clone(), why })
    }
}

/// What a connection string says.
struct Settings {
    config: Config,
    verification: Verification,
}

impl Settings {
    /// Reads a connection string; what is wrong with it is told without the password.
    fn parse(connection: &str) -> Result<Self, String> {
        let (rest, [mode, root]) = take(connection, ["sslmode", "sslrootcert"]);
        let config = rest.parse::<Config>();
        let mut config =
            config.map_err(|error| format!("the connection string cannot be used: {}", describe(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        config.connect_timeout(LIMIT).application_name("kubectl-seal");
        let (mode, verification) = match (mode.as_deref(), root) {
            (Some("disable"), _) => (SslMode::Disable, Verification::None),
            (Some("allow" | "prefer"), _) => (SslMode::Prefer, Verification::None),
            (None | Some("require"), None) => (SslMode::Require, Verification::None),
            (Some("verify-ca"), root) => (SslMode::Require, Verification::Authority(root)),
            (None | Some("require"), root) => (SslMode::Require, Verification::Authority(root)),
            (Some("verify-full"), root) => (SslMode::Require, Verification::Full(root)),
            (Some(mode), _) => return Err(format!("there is no sslmode {mode}")),
        };
        config.ssl_mode(mode);
        Ok(Self { config, verification })
    }

    fn name(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self.config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
        };
        format!("postgres {host}/{}", self.config.get_dbname().unwrap_or_default())
    }
}

/// Takes settings out of a connection string, be it an address or a list of words.
fn take<const N: usize>(connection: &str, names: [&str; N]) -> (String, [Option<String>; N]) {
    let mut found = [const { None }; N];
    let mut keep = |word: &&str| {
        let Some((name, value)) = word.split_once('=') else { return true };
        let Some(at) = names.iter().position(|wanted| *wanted == name.trim()) else { return true };
        found[at] = Some(value.trim().trim_matches('\'').to_owned());
        false
    };
    let rest = match connection.split_once('?') {
        Some((address, settings)) if connection.contains("://") => {
            let settings: Vec<_> = settings.split('&').filter(&mut keep).collect();
            if settings.is_empty() { address.to_owned() } else { format!("{address}?{}", settings.join("&")) }
        }
        None if connection.contains("://") => connection.to_owned(),
        _ => words(connection).into_iter().filter(&mut keep).collect::<Vec<_>>().join(" "),
    };
    (rest, found)
}

/// Splits at blanks that are not in quotes.
fn words(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |character: char| {
        let is_quote = character == '\'' && !escaped;
        escaped = character == '\\' && !escaped;
        quoted ^= is_quote;
        character.is_whitespace() && !quoted
    });
    parts.filter(|part| !part.is_empty()).collect()
}

async fn in_time<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, String> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(result) => result.map_err(|error| describe(&error)),
        Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
    }
}

/// Returns an error with its causes. None holds the connection string.
fn describe(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", describe(cause)),
        None => error.to_string(),
    }
}

/// How long the database may take.
const LIMIT: Duration = Duration::from_secs(10);
const INSERT: &str = "INSERT INTO audit_event (action, username, file) VALUES ($1, $2, $3)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_tls_are_taken_out() {
        let address = "postgres://sops:s@db/sops?sslmode=verify-full&connect_timeout=3&sslrootcert=/ca";
        let (rest, found) = take(address, ["sslmode", "sslrootcert"]);
        assert_eq!(rest, "postgres://sops:s@db/sops?connect_timeout=3");
        assert_eq!(found, [Some("verify-full".to_owned()), Some("/ca".to_owned())]);
        let (rest, found) = take("host=db password='a b\\' sslmode=x' sslmode=disable", ["sslmode"]);
        assert_eq!(rest, "host=db password='a b\\' sslmode=x'");
        assert_eq!(found, [Some("disable".to_owned())]);
    }

    #[test]
    fn modes_are_those_of_sops() {
        let mode = |text: &str| {
            Settings::parse(text)
                .map(|it| (it.config.get_ssl_mode(), it.verification, it.config.get_hosts().len()))
        };
        assert_eq!(mode("dbname=x"), Ok((SslMode::Require, Verification::None, 1)));
        assert_eq!(mode("sslmode=disable"), Ok((SslMode::Disable, Verification::None, 1)));
        let root = Some("/ca".to_owned());
        assert_eq!(mode("sslrootcert=/ca"), Ok((SslMode::Require, Verification::Authority(root), 1)));
        assert_eq!(mode("sslmode=verify-full"), Ok((SslMode::Require, Verification::Full(None), 1)));
        assert!(mode("sslmode=no").is_err());
    }

    #[test]
    fn no_password_is_told() {
        for text in ["password=hush sslmode=x", "postgres://u:hush@[::/x", "password=hush port=x", "hush"] {
            let why = Settings::parse(text).map(|_| ()).expect_err("it cannot be used");
            assert!(!why.contains("hush"), "{why}");
        }
        let error = Postgres::open("host=127.0.0.1 port=1 user=u password=hush sslmode=disable").map(|_| ());
        assert!(!error.expect_err("nobody is there").to_string().contains("hush"));
    }
}
