//! `kubectl seal cert`.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::certificate::{Certificate, CertificateFlags, Freshness, date};
use crate::commands;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files::Audience;
use crate::report::{BAD, GOOD, count, escape};
use crate::{document, files};

/// Show, save or check the certificate that values are sealed for
///
/// Without a file or an address, it is the certificate of the cluster. A copy of that is kept for a day, so that
/// sealing does not ask the cluster each time. Nothing in a certificate is secret.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Look at this certificate, a file or an address of the web
    #[arg(value_name = "FILE|URL", conflicts_with = "cert")]
    name: Option<String>,

    /// Write the certificate to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Show what is in the certificate
    #[arg(long, conflicts_with_all = ["output", "json"])]
    show: bool,

    /// Show what is in the certificate, for programs
    #[arg(long, conflicts_with = "output")]
    json: bool,

    /// Fetch the certificate of the cluster anew, and keep that
    #[arg(long, conflicts_with_all = ["name", "cert"])]
    refresh: bool,

    /// Fail if the certificate expires within this time, such as 30d
    #[arg(long, value_name = "DAYS", value_parser = days)]
    check: Option<u32>,

    #[command(flatten)]
    certificate: CertificateFlags,

    #[command(flatten)]
    controller: ControllerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal cert > cert.pem             the certificate of the cluster, for `--cert`
  kubectl seal cert --show                 its fingerprint, size and validity
  kubectl seal cert --refresh              fetch it anew, after the controller made a key
  kubectl seal cert --check 30d cert.pem   fail if it expires within 30 days";

/// Shows the certificate.
///
/// # Errors
/// If it cannot be had, or expires sooner than it may.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let found = find(args, context)?;
    let now = (context.session.clock)();
    if args.json {
        commands::print_json(context, &to_json(&found, now))?;
    } else if args.show {
        let text = to_text(context, &found, now);
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    } else if let Some(path) = &args.output {
        document::make_folder(context, path, Audience::Everyone)?;
        let absolute = context.session.absolute(path);
        files::write(&absolute, found.cert.to_pem().as_bytes(), Audience::Everyone)
            .map_err(Failure::io("write", path.display().to_string()))?;
        context.report.done("written", path.display(), &found.cert.fingerprint());
    } else if args.check.is_none() {
        let text = found.cert.to_pem();
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    }
    match args.check {
        Some(days) => check(&found, days, now)?,
        None => {
            if let Err(error) = found.cert.check_expiry(now) {
                context.report.warn(format!("{}: {error}", found.source));
            }
        }
    }
    Ok(Exit::Success)
}

fn find(args: &Args, context: &Context<'_>) -> Result<Certificate, Failure> {
    let freshness = if args.refresh { Freshness::New } else { Freshness::Any };
    match &args.name {
        Some(name) => {
            CertificateFlags::named(Some(name.clone())).find(context, &args.controller, Freshness::Any)
        }
        None if args.refresh => args.certificate.of_cluster(context, &args.controller, freshness),
        None => args.certificate.find(context, &args.controller, freshness),
    }
}

/// Makes sure that a certificate can be used for some days.
fn check(found: &Certificate, days: u32, now: OffsetDateTime) -> Result<(), Failure> {
    let failed = |error| Failure::Certificate { what: found.source.clone(), error };
    found.cert.check_expiry(now).map_err(failed)?;
    let Some(validity) = found.cert.validity() else { return Ok(()) };
    let left = validity.not_after - now;
    if left >= time::Duration::days(days.into()) {
        return Ok(());
    }
    let left = count(usize::try_from(left.whole_days()).unwrap_or_default(), "day");
    let date = date(validity.not_after);
    Err(Failure::Check(format!("{}: the certificate expires on {date}, in {left}", found.source)))
}

fn to_text(context: &Context<'_>, found: &Certificate, now: OffsetDateTime) -> String {
    let mut text = format!(
        "source       {}\nfingerprint  {}\nbits         {}\n",
        escape(&found.source),
        found.cert.fingerprint(),
        found.cert.bits()
    );
    if let Some(validity) = found.cert.validity() {
        let left = (validity.not_after - now).whole_days();
        let left = if found.cert.check_expiry(now).is_err() {
            context.report.paint_data(BAD, "expired")
        } else {
            context.report.paint_data(GOOD, format!("{left} days left"))
        };
        text.push_str(&format!(
            "valid from   {}\nvalid until  {} ({left})\n",
            date(validity.not_before),
            date(validity.not_after)
        ));
    }
    if let Some(fetched) = found.fetched {
        text.push_str(&format!("fetched      {}\n", rfc3339(fetched)));
    }
    text
}

fn to_json(found: &Certificate, now: OffsetDateTime) -> Json {
    let validity = found.cert.validity();
    json!({
        "source": found.source,
        "fingerprint": found.cert.fingerprint(),
        "bits": found.cert.bits(),
        "notBefore": validity.map(|validity| rfc3339(validity.not_before)),
        "notAfter": validity.map(|validity| rfc3339(validity.not_after)),
        "daysLeft": validity.map(|validity| (validity.not_after - now).whole_days()),
        "expired": found.cert.check_expiry(now).is_err(),
        "fetched": found.fetched.map(rfc3339),
    })
}

/// Returns a time for programs.
pub(super) fn rfc3339(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(moment);
    // A time of a certificate or a clock that has no such form is beyond all dates.
    moment.format(&Rfc3339).unwrap_or_default()
}

/// Reads a number of days.
fn days(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('d').unwrap_or(text);
    number.parse().map_err(|_| "a number of days, such as 30d, is needed".to_owned())
}
