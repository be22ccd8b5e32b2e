//! The certificate to seal for: a file, an address of the web, or that of the cluster, which is kept for a day.

mod cache;

use selkie::sealed::{KeyRegistry, SealingCert};
use time::{Duration, OffsetDateTime};

use crate::certificate::cache::{Copy, Place};
use crate::cluster::ClusterError;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::document;
use crate::failure::Failure;
use crate::fetch;
use crate::report::{count, escape};

/// Which certificate to seal for.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CertificateFlags {
    /// Seal for this certificate, a file or an address of the web, instead of that of the cluster
    #[arg(long, value_name = "FILE|URL", help_heading = HEADING)]
    cert: Option<String>,

    /// Neither use nor keep a copy of the cluster's certificate
    #[arg(long, help_heading = HEADING)]
    no_cache: bool,
}

/// A certificate, and where it is from.
pub struct Certificate {
    /// The certificate.
    pub cert: SealingCert,
    /// Where it is from, for people.
    pub source: String,
    /// When it was fetched, if it is a copy.
    pub fetched: Option<OffsetDateTime>,
}

/// Whether a copy of the cluster's certificate will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// One that is younger than a day will.
    Any,
    /// None will.
    New,
}

impl CertificateFlags {
    /// Returns flags that name a certificate.
    #[must_use]
    pub fn named(cert: Option<String>) -> Self {
        Self { cert, no_cache: false }
    }

    /// Returns the certificate, and tells of its end if that is near.
    ///
    /// # Errors
    /// If it cannot be had, or has expired.
    pub fn load(&self, context: &Context<'_>, controller: &ControllerFlags) -> Result<SealingCert, Failure> {
        let found = self.find(context, controller, Freshness::Any)?;
        found.check(context)?;
        Ok(found.cert)
    }

    /// Returns the certificate that is named by flag or variable, if any is, expired or not; no cluster is asked.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn load_if_named(&self, context: &Context<'_>) -> Result<Option<Certificate>, Failure> {
        self.name(context).map(|name| named(context, name)).transpose()
    }

    /// Returns what to seal for where private keys are at hand: the certificate that is named, or that of the
    /// newest key, which is what the controller would seal for.
    ///
    /// # Errors
    /// If the certificate cannot be had, has expired, or there is none and any of several keys could be the newest.
    pub fn load_for_keys(&self, context: &Context<'_>, keys: &KeyRegistry) -> Result<Certificate, Failure> {
        let found = match self.load_if_named(context)? {
            Some(named) => named,
            None => {
                let key = keys.newest().ok_or(Failure::NoSealingKeys)?;
                let in_use = keys.keys().iter().filter(|other| other.is_retired == key.is_retired);
                if key.not_before.is_none() && in_use.count() > 1 {
                    return Err(Failure::Check(NO_DATES.to_owned()));
                }
                if keys.is_incomplete() {
                    return Err(Failure::Check(INCOMPLETE.to_owned()));
                }
                let what = format!("the key {} ({})", escape(&key.name), key.fingerprint());
                let source = format!("of {what}");
                let cert = SealingCert::of_key(key);
                let expired = |error| Failure::Certificate { what, error };
                cert.check_expiry((context.session.clock)()).map_err(expired)?;
                Certificate { cert, source, fetched: None }
            }
        };
        found.check(context)?;
        Ok(found)
    }

    /// Returns the certificate as it is, expired or not.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn find(
        &self,
        context: &Context<'_>,
        controller: &ControllerFlags,
        freshness: Freshness,
    ) -> Result<Certificate, Failure> {
        match self.name(context) {
            Some(name) => named(context, name),
            None => self.of_cluster(context, controller, freshness),
        }
    }

    fn name<'a>(&'a self, context: &Context<'a>) -> Option<&'a str> {
        self.cert.as_deref().or_else(|| context.session.environment.get(VARIABLE))
    }

    /// Returns the certificate of the cluster as it is, whatever else is named.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn of_cluster(
        &self,
        context: &Context<'_>,
        controller: &ControllerFlags,
        freshness: Freshness,
    ) -> Result<Certificate, Failure> {
        let (namespace, name) = (controller.namespace(context), controller.name(context));
        let cluster = controller.connect(context)?;
        let place = Place::of(context.session, cluster.server(), namespace, name).filter(|_| !self.no_cache);
        let source = format!("of {namespace}/{name} at {}", fetch::shown(cluster.server()));
        let now = (context.session.clock)();
        let copy = place.as_ref().and_then(Place::read).filter(|_| freshness == Freshness::Any);
        let copy = copy.filter(|copy| copy.cert.check_expiry(now).is_ok());
        let copied =
            |copy: Copy| Certificate { cert: copy.cert, source: source.clone(), fetched: Some(copy.fetched) };
        let copy = match copy {
            Some(copy) if copy.is_young(now) => {
                let found = copied(copy);
                context.report.note(found.tell_copy(now));
                return Ok(found);
            }
            copy => copy,
        };
        match (cluster.controller(namespace, name).and_then(|controller| controller.fetch_cert()), copy) {
            (Ok(text), _) => {
                let cert = SealingCert::parse(&text).map_err(|error| Failure::Certificate {
                    what: format!("the certificate {source}"),
                    error,
                })?;
                keep(context, place.as_ref(), &cert);
                Ok(Certificate { cert, source, fetched: None })
            }
            (Err(error), Some(copy)) if is_out_of_reach(&error) => {
                let found = copied(copy);
                context.report.warn(format!("{error}; {}", found.tell_copy(now)));
                Ok(found)
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// Keeps a copy; without one, the cluster is asked the next time.
fn keep(context: &Context<'_>, place: Option<&Place>, cert: &SealingCert) {
    if let Some(Err(error)) = place.map(|place| place.write(cert)) {
        context.report.detail(format!("no copy of the certificate is kept: {error}"));
    }
}

/// Returns whether the cluster may have the same certificate still: it did not say otherwise.
const fn is_out_of_reach(error: &ClusterError) -> bool {
    matches!(
        error,
        ClusterError::Broken { .. }
            | ClusterError::Controller { .. }
            | ClusterError::TimedOut { .. }
            | ClusterError::Unreachable { .. }
    )
}

impl Certificate {
    /// Says that the certificate is a copy, how old, and until when it can be used.
    fn tell_copy(&self, now: OffsetDateTime) -> String {
        let age = self.fetched.map(|fetched| now - fetched).unwrap_or_default();
        let age = match age.whole_hours() {
            0 => count(usize::try_from(age.whole_minutes()).unwrap_or_default(), "minute"),
            hours @ 1..48 => count(usize::try_from(hours).unwrap_or_default(), "hour"),
            _ => count(usize::try_from(age.whole_days()).unwrap_or_default(), "day"),
        };
        let until = self.cert.validity().map(|validity| format!(", expires on {}", date(validity.not_after)));
        format!(
            "using the copy of the certificate {} (fetched {age} ago{}; `kubectl seal cert --refresh` fetches it \
             anew)",
            self.source,
            until.unwrap_or_default()
        )
    }

    /// Makes sure that the certificate can still be used, and tells of its end if that is near.
    ///
    /// # Errors
    /// If it has expired.
    pub fn check(&self, context: &Context<'_>) -> Result<(), Failure> {
        let now = (context.session.clock)();
        let failed = |error| Failure::Certificate { what: self.source.clone(), error };
        self.cert.check_expiry(now).map_err(failed)?;
        let Some(validity) = self.cert.validity() else { return Ok(()) };
        let left = validity.not_after - now;
        let text = || {
            let days = count(usize::try_from(left.whole_days()).unwrap_or_default(), "day");
            format!("the certificate {} expires on {}, in {days}", self.source, date(validity.not_after))
        };
        if left < SOON {
            context.report.note(text());
        } else {
            context.report.detail(text());
        }
        Ok(())
    }
}

/// Reads a certificate from a file or an address of the web.
fn named(context: &Context<'_>, name: &str) -> Result<Certificate, Failure> {
    let (source, text) = match name.split_once(':') {
        Some(("http" | "https", _)) => {
            let shown = fetch::shown(name);
            let text = fetch::fetch(context.session, name);
            (shown.clone(), text.map_err(|error| Failure::Fetch { address: shown, error })?)
        }
        Some(("file", _)) => {
            let path = fetch::file_path(name);
            let path =
                path.ok_or_else(|| Failure::Usage("the address of the certificate is malformed".to_owned()))?;
            read(context, &path.display().to_string())?
        }
        // A single letter is a drive.
        Some((scheme, rest)) if scheme.len() > 1 && rest.starts_with("//") => {
            return Err(Failure::Usage(format!("certificates are not fetched by {scheme:?}")));
        }
        _ => read(context, name)?,
    };
    let cert =
        SealingCert::parse(&text).map_err(|error| Failure::Certificate { what: source.clone(), error })?;
    Ok(Certificate { cert, source, fetched: None })
}

fn read(context: &Context<'_>, path: &str) -> Result<(String, Vec<u8>), Failure> {
    if path == "-" {
        let text = context.session.stdin.read_all().map_err(Failure::io("read", "stdin"))?;
        return Ok(("<stdin>".to_owned(), text.expose_secret().to_vec()));
    }
    Ok((path.to_owned(), document::read(context, path.as_ref())?.expose_secret().to_vec()))
}

/// Returns a date in UTC, such as `2006-01-02`.
#[must_use]
pub fn date(moment: OffsetDateTime) -> String {
    moment.to_offset(time::UtcOffset::UTC).date().to_string()
}

/// Names a certificate, as for kubeseal.
const VARIABLE: &str = "SEALED_SECRETS_CERT";
const HEADING: &str = "Certificate of Sealed Secrets";
const INCOMPLETE: &str =
    "a key that cannot be read may be the newest one: name the certificate to seal for with --cert";
const NO_DATES: &str =
    "nothing tells which of the private keys is the newest: name the certificate to seal for with --cert";
/// How long before its end a certificate is told of.
const SOON: Duration = Duration::days(30);
