//! Secrets, and single values, that flags name.

use selkie::format::Format;
use selkie::sealed::{SealingError, SealingScope};

use super::{Args, losses, print, sealed_secrets};
use crate::context::Context;
use crate::document;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Place, Secrecy};
use crate::sealer::Unsealed;
use crate::secret_values::without_line_end;
use crate::targets::Target;

/// Seals a Secret of what flags say.
pub(super) fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    if !args.files.is_empty() {
        let text = "values go into a new Secret, or with `kubectl seal merge` into a file";
        return Err(Failure::Usage(text.to_owned()));
    }
    args.output.check(context, &[Target::Stdin])?;
    let sealing = args.sealing(context)?;
    let secret = args.values.secret(context, "", args.name.as_deref().unwrap_or_default())?;
    let sealed = sealing.prepare(&secret)?;
    let sealer = args.sealer.load(context)?;
    let place = args.output.place(context, &Target::Stdin);
    let _turn = place.turn(context);
    let by_name = match &place {
        Place::File(path) => Some(document::format_of(path)).filter(|format| *format == Format::Json),
        Place::Stdout => None,
    };
    let format = args.output_type.as_deref().and_then(Format::from_name).or(by_name).unwrap_or(Format::Yaml);
    let replaced = match &place {
        Place::File(path) if context.session.absolute(path).is_file() => Some(document::read(context, path)?),
        _ => None,
    };
    let known = replaced.as_ref().map(|source| sealed_secrets(format, source)).unwrap_or_default();
    let (sealed, kept) = sealer.seal(vec![Unsealed { sealed, values: &secret.data }], &known)?;
    let text = print(format, &sealed);
    if replaced.as_ref().is_some_and(|old| old.expose_secret() == text.expose_secret()) {
        context.report.done("unchanged", place_name(&place), "");
    } else {
        place.write(context, &text, Secrecy::Encrypted, replaced.as_ref())?;
        if let Place::File(path) = &place {
            if let Some(old) = &replaced {
                losses::tell(context, path, (format, old), format, &text);
            }
            context.report.done("sealed", place_name(&place), &super::detail(1, kept));
        }
    }
    sealer.keep(context);
    Ok(Exit::Success)
}

/// Seals a single value, and prints nothing else.
pub(super) fn raw(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    if args.values.describes()
        || args.output_type.is_some()
        || !(args.template.is_empty() && args.template_file.is_empty())
    {
        return Err(Failure::Usage(
            "--raw seals a value alone, without type, labels or templates".to_owned(),
        ));
    }
    let scope = args.scope()?.unwrap_or_default();
    let name = args.name.as_deref().unwrap_or_default();
    if scope == SealingScope::Strict && name.is_empty() {
        return Err(SealingError::MissingName.into());
    }
    let namespace = args.sealing(context)?.default_namespace.unwrap_or_default();
    if scope != SealingScope::ClusterWide && namespace.is_empty() {
        return Err(SealingError::MissingNamespace.into());
    }
    let value = if args.values.is_given() {
        let mut values = args.values.values(context)?.into_values();
        match (values.next(), values.next()) {
            (Some(value), None) => value,
            _ => return Err(Failure::Usage("--raw seals one value".to_owned())),
        }
    } else {
        let value = context.session.stdin.read_all().map_err(Failure::io("read", "stdin"))?;
        if args.values.trim { without_line_end(value) } else { value }
    };
    let sealer = args.sealer.load(context)?;
    let item = sealer.seal_value(&value, &scope.label(&namespace, name))?;
    let place = args.output.place(context, &Target::Stdin);
    place.write(context, &item.into(), Secrecy::Encrypted, None)?;
    Ok(Exit::Success)
}

fn place_name(place: &Place) -> String {
    match place {
        Place::File(path) => path.display().to_string(),
        Place::Stdout => "stdout".to_owned(),
    }
}
