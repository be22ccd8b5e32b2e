//! Who could read what, for people.

use std::collections::BTreeMap;

use selkie::sops::access::{Knowledge, Period, Reader, Recipient};

use super::versions::{Found, Origin};
use crate::context::Context;
use crate::report::{BAD, STRONG, escape};

/// Returns the files, and the recipients of each.
pub fn by_file(context: &Context<'_>, files: &[Found]) -> String {
    let mut text = String::new();
    for file in files {
        text.push_str(&context.report.paint_data(STRONG, escape(&file.name)));
        if !file.formerly.is_empty() {
            text.push_str(&format!(" (formerly {})", escape(&file.formerly.join(", "))));
        }
        text.push('\n');
        for period in &file.access.clear {
            let clear = context.report.paint_data(BAD, "in clear");
            text.push_str(&format!(
                "  {clear}, for whoever has the repository\n    {}\n",
                told(file, period)
            ));
        }
        for reader in &file.access.readers {
            text.push_str(&format!("  {}\n", name(&reader.recipient)));
            lines(context, file, reader).into_iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        }
    }
    text
}

/// Returns the recipients, and the files of each.
pub fn by_key(context: &Context<'_>, files: &[Found]) -> String {
    let mut recipients: BTreeMap<&Recipient, Vec<(&Found, &Reader)>> = BTreeMap::new();
    for file in files {
        for reader in &file.access.readers {
            recipients.entry(&reader.recipient).or_default().push((file, reader));
        }
    }
    let mut text = String::new();
    for (recipient, files) in recipients {
        text.push_str(&format!("{}\n", context.report.paint_data(STRONG, name(recipient))));
        for (file, reader) in files {
            text.push_str(&format!("  {}\n", escape(&file.name)));
            lines(context, file, reader).into_iter().for_each(|line| text.push_str(&format!("    {line}\n")));
        }
    }
    text
}

fn name(recipient: &Recipient) -> String {
    match recipient.kind.as_str() {
        "sealed-secrets" => recipient.key.clone(),
        kind => format!("{kind} {}", escape(&recipient.key)),
    }
}

fn lines(context: &Context<'_>, file: &Found, reader: &Reader) -> Vec<String> {
    let mut lines: Vec<_> = reader.periods.iter().map(|period| told(file, period)).collect();
    if let Some(share) = reader.share {
        lines.push(format!("with others: keys of {} of {} groups are needed", share.needed, share.groups));
    }
    match reader.data_key {
        Knowledge::Yes if !reader.reads_now() => {
            lines.push(context.report.paint_data(BAD, "removed, and still knows the data key"));
        }
        Knowledge::Perhaps => {
            lines.push("removed, and may still know the data key: nothing shows a new one".to_owned());
        }
        _ => {}
    }
    lines
}

fn told(file: &Found, period: &Period) -> String {
    let moment = |at: usize| match &file.origins[at] {
        Origin::Here => "now, by no commit of its own".to_owned(),
        Origin::Commit(commit) => {
            let id = commit.id.get(..SHORT).unwrap_or(&commit.id);
            format!("{} ({id}, {})", commit.time.date(), escape(&commit.author))
        }
    };
    match period.until {
        None => format!("since {}", moment(period.since)),
        Some(until) => format!("from {} to {}", moment(period.since), moment(until)),
    }
}

/// How many digits of a commit's name people need.
const SHORT: usize = 10;
