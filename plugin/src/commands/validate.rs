//! `kubectl seal validate`.

use rand::rngs::OsRng;
use selkie::sealed::{
    Candidates, Flaw, KeyRegistry, SealedFile, SealedFileError, SealingCert, SealingScope, flaws,
    render_flaws,
};
use selkie::template::Surroundings;
use serde_json::{Value as Json, json};

use crate::batch;
use crate::certificate::CertificateFlags;
use crate::cluster::{Controller, Verdict};
use crate::commands;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::document::InputFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{STRONG, count, escape};
use crate::sealed_files;
use crate::sealed_report::{ItemReport, Outcome, SealedReport, add_candidates, look_at};
use crate::sealing_keys::SealingKeyFlags;
use crate::targets::{self, Target};

/// Check SealedSecrets, without a cluster unless asked to
///
/// What they are made of is checked in any case: names and scopes, keys and values, templates, and values that
/// stand in clear, also in a Secret beside them. With a certificate, whether they fit it; with keys, whether they
/// open, and if not, for which name, namespace and scope they were sealed, and whether templates can be filled in.
/// Whatever is found ends in exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, globs or folders; - or nothing for stdin
    #[arg(value_name = "FILE")]
    files: Vec<String>,

    /// Tell what is found for programs
    #[arg(long)]
    json: bool,

    /// Ask the controller, too, whether it opens them
    #[arg(long)]
    ask_controller: bool,

    #[command(flatten)]
    input: InputFlags,

    #[command(flatten)]
    cert: CertificateFlags,

    #[command(flatten)]
    keys: SealingKeyFlags,

    #[command(flatten)]
    controller: ControllerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal validate apps/                            every SealedSecret of a folder, such as in CI
  kubectl seal validate --cert cert.pem db.yaml          whether it fits the certificate
  kubectl seal validate --sealing-key keys.yaml db.yaml  whether it opens
  kubectl seal validate --ask-controller db.yaml         whether the controller opens it";

/// What was found in a file.
struct Checked {
    sealed: Vec<Sealed>,
    count: usize,
    findings: Vec<Finding>,
}

/// A SealedSecret for the controller.
struct Sealed {
    line: usize,
    name: String,
    object: Json,
}

struct Finding {
    line: usize,
    name: String,
    kind: &'static str,
    message: String,
}

/// With what to check.
struct Means {
    cert: Option<SealingCert>,
    keys: Option<KeyRegistry>,
    /// What values may have been sealed for, if not for their objects: those of all files, as files are copied.
    candidates: Candidates,
}

/// Checks every file.
///
/// # Errors
/// If the arguments name nothing, no file has a SealedSecret, or the controller cannot be asked.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let targets = targets::expand(&args.files, context.session)?;
    let mut means = Means {
        cert: args.cert.load_if_named(context)?,
        keys: args.keys.load_if_any(context, &args.controller)?,
        candidates: Candidates::default(),
    };
    if means.keys.is_some() {
        means.candidates = candidates(args, context, &targets);
    }
    let mut results = batch::map(context, &targets, |target| check(args, context, &means, target));
    if args.ask_controller {
        let cluster = args.controller.connect(context)?;
        let controller =
            cluster.controller(args.controller.namespace(context), args.controller.name(context))?;
        for result in &mut results {
            if let Ok(Some(checked)) = result
                && let Err(failure) = ask(&controller, checked)
            {
                *result = Err(failure);
            }
        }
    }
    report(args, context, &targets, results)
}

/// Returns the names and namespaces of all files. What cannot be read is told later.
fn candidates(args: &Args, context: &Context<'_>, targets: &[Target]) -> Candidates {
    let mut all = Candidates::default();
    all.namespaces.extend(args.controller.overrides.namespace.clone());
    for target in targets.iter().filter(|target| **target != Target::Stdin) {
        if let Ok(Some((_, file))) = sealed_files::load(context, &args.input, target) {
            add_candidates(&file, &mut all);
        }
    }
    all
}

fn check(
    args: &Args,
    context: &Context<'_>,
    means: &Means,
    target: &Target,
) -> Result<Option<Checked>, Failure> {
    let Some((document, tree)) = sealed_files::read(context, &args.input, target)? else { return Ok(None) };
    let namespace = args.controller.overrides.namespace.as_deref();
    let (count, flaws) = flaws(&tree, means.cert.as_ref(), namespace);
    if count == 0 {
        return if target.is_named() { Err(SealedFileError::Missing.into()) } else { Ok(None) };
    }
    let mut findings: Vec<_> = flaws.into_iter().map(told).collect();
    let mut sealed = Vec::new();
    // What cannot be read as a SealedSecret was found already.
    if let Ok(file) = SealedFile::new(document.format, document.tree()?) {
        let json = |object: &selkie::sealed::SealedObject| Sealed {
            line: object.line,
            name: object.sealed.metadata.name().to_owned(),
            object: object.sealed.to_json(),
        };
        sealed.extend(file.objects().iter().map(json));
        if let Some(keys) = &means.keys {
            let reports = look_at(document.format, document.tree()?, keys, &means.candidates)?;
            findings.extend(reports.iter().flat_map(|report| unopened(report, namespace)));
            let mut surroundings = Surroundings { now: (context.session.clock)(), rng: &mut OsRng };
            findings.extend(render_flaws(&tree, keys, namespace, &mut surroundings).into_iter().map(told));
        }
    }
    findings.sort_by_key(|finding| finding.line);
    Ok(Some(Checked { sealed, count, findings }))
}

fn told(flaw: Flaw) -> Finding {
    let (kind, message) = (flaw.kind.name(), flaw.kind.to_string());
    Finding { line: flaw.line, name: flaw.name, kind, message }
}

/// Returns what the keys found out about a SealedSecret.
fn unopened(report: &SealedReport, namespace: Option<&str>) -> Vec<Finding> {
    let is_news = |item: &&ItemReport| item.bits.is_some() && !opens_in(report, item, namespace);
    let finding = |item: &ItemReport| {
        let (kind, message) = item.problem()?;
        let message = format!("{}: {message}", item.key);
        Some(Finding { line: item.line, name: report.name.clone(), kind, message })
    };
    report.items.iter().filter(is_news).filter_map(finding).collect()
}

/// Returns whether a value opens once the object is in the namespace that it does not name.
fn opens_in(report: &SealedReport, item: &ItemReport, namespace: Option<&str>) -> bool {
    let Some(Outcome::OpensAs { key, scope, namespace: sealed_for, name }) = &item.outcome else {
        return false;
    };
    let is_there = report.namespace.is_empty() && namespace == Some(sealed_for.as_str());
    let is_named = *scope == SealingScope::NamespaceWide || *name == report.name;
    is_there && is_named && *scope == report.scope && !key.is_retired
}

/// Asks the controller about every SealedSecret of a file.
fn ask(controller: &Controller<'_>, checked: &mut Checked) -> Result<(), Failure> {
    for sealed in &checked.sealed {
        if controller.verify(sealed.object.to_string().as_bytes())? == Verdict::NotUnsealable {
            checked.findings.push(Finding {
                line: sealed.line,
                name: sealed.name.clone(),
                kind: "controller",
                message: "the controller cannot open all of it".to_owned(),
            });
        }
    }
    checked.findings.sort_by_key(|finding| finding.line);
    Ok(())
}

fn report(
    args: &Args,
    context: &Context<'_>,
    targets: &[Target],
    results: Vec<Result<Option<Checked>, Failure>>,
) -> Result<Exit, Failure> {
    let (mut exits, mut all) = (Vec::new(), Vec::new());
    let (mut files, mut sealed, mut found) = (0, 0, 0);
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(None) => context.report.detail(format!("skipped {target} (with no SealedSecret in it)")),
            Ok(Some(checked)) => {
                files += 1;
                sealed += checked.count;
                found += checked.findings.len();
                if args.json {
                    all.push(to_json(target, &checked));
                } else {
                    let text = to_text(context, target, &checked);
                    context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
                }
            }
            Err(failure) => {
                context.report.failure(Some(&target.to_string()), &failure);
                exits.push(failure.exit());
            }
        }
    }
    if files == 0 && exits.is_empty() {
        return Err(SealedFileError::Missing.into());
    }
    if args.json {
        commands::print_json(context, &all.into())?;
    }
    if found > 0 {
        exits.push(Exit::Failure);
    }
    if files == 0 {
        return Ok(batch::exit_of(&exits));
    }
    let summary = match found {
        0 => "nothing wrong".to_owned(),
        found => count(found, "finding"),
    };
    context.report.note(format!(
        "{summary} in {} of {}",
        count(sealed, "SealedSecret"),
        count(files, "file")
    ));
    Ok(batch::exit_of(&exits))
}

fn to_text(context: &Context<'_>, target: &Target, checked: &Checked) -> String {
    let line = |finding: &Finding| {
        let place = context.report.paint_data(STRONG, format!("{target}:{}:", finding.line));
        let name = if finding.name.is_empty() { String::new() } else { format!("{}: ", finding.name) };
        format!("{place} {} ({})\n", escape(&format!("{name}{}", finding.message)), finding.kind)
    };
    checked.findings.iter().map(line).collect()
}

fn to_json(target: &Target, checked: &Checked) -> Json {
    let finding = |finding: &Finding| {
        json!({
            "line": finding.line,
            "name": finding.name,
            "kind": finding.kind,
            "message": finding.message,
        })
    };
    json!({
        "file": target.name(),
        "sealedSecrets": checked.count,
        "findings": checked.findings.iter().map(finding).collect::<Json>(),
    })
}
