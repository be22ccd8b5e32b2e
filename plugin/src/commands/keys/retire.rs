//! `kubectl seal keys retire`.

use selkie::sealed::SmallKeys;

use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::escape;

/// Take a key of the cluster out of use
///
/// The key stays, labelled as compromised: the controller does not use it any more once it was started again, and
/// cannot open what was sealed for it. Seal that again first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The name of the key's Secret, or the fingerprint of the key
    #[arg(value_name = "NAME|FINGERPRINT")]
    key: String,

    #[command(flatten)]
    controller: ControllerFlags,
}

const EXAMPLES: &str = "\
Examples:
  kubectl seal keys retire sealed-secrets-key7x2kq";

/// Takes a key out of use.
///
/// # Errors
/// If there is no such key, or the cluster refuses. The last key can be taken out of use, too: it may have leaked.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let namespace = args.controller.namespace(context);
    let backup = args.controller.sealing_keys(context, SmallKeys::Allow)?;
    let is_meant = |key: &&selkie::sealed::BackupKey| {
        key.secret.metadata.name() == args.key || key.secret.key.fingerprint() == args.key
    };
    let Some(found) = backup.keys.iter().find(is_meant) else {
        let text = format!("the cluster has no key {} in the namespace {namespace}", escape(&args.key));
        return Err(Failure::Check(text));
    };
    let (name, fingerprint) = (found.secret.metadata.name(), found.secret.key.fingerprint());
    if found.secret.is_retired() {
        context.report.done("unchanged", name, &fingerprint);
        return Ok(Exit::Success);
    }
    args.controller.connect(context)?.label_sealing_key(namespace, name, "compromised")?;
    context.report.done("retired", name, &fingerprint);
    let in_use = backup.keys.iter().filter(|key| !key.secret.is_retired()).count();
    if in_use == 1 {
        context.report.warn("no key is in use any more: the controller makes a new one when it starts");
    }
    context.report.note(format!(
        "the controller uses the key until it is started again: `kubectl rollout restart deployment/{} \
         --namespace {namespace}`",
        args.controller.name(context)
    ));
    Ok(Exit::Success)
}
