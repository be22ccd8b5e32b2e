//! `kubectl seal keys inspect`.

use std::path::PathBuf;

use selkie::sealed::{Backup, SmallKeys};
use serde_json::json;

use super::Row;
use crate::commands;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{BAD, STRONG, escape};
use crate::sealing_keys;

/// Look closely at a file with keys: what is in it, and what is wrong with it
///
/// The private keys themselves are not shown. Something that is not as it should be ends in exit code 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with keys; - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Show it for programs
    #[arg(long)]
    json: bool,
}

/// Looks at a file.
///
/// # Errors
/// If it is none with keys.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let (what, backup) = sealing_keys::inspect(context, &args.file, SmallKeys::Allow)?;
    let several = backup.keys.len() > 1;
    let rows: Vec<_> = backup.keys.iter().map(|key| (key.line, Row::new(key, &what, several))).collect();
    if args.json {
        let problem = |problem: &selkie::sealed::BackupProblem| json!({"line": problem.line, "name": problem.name, "message": problem.kind.to_string()});
        let keys: Vec<_> = rows.iter().map(|(_, row)| row.to_json()).collect();
        let problems: Vec<_> = backup.problems.iter().map(problem).collect();
        commands::print_json(context, &json!({"file": what, "keys": keys, "problems": problems}))?;
    } else {
        let text = to_text(context, &what, &rows, &backup);
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    }
    Ok(if backup.problems.is_empty() { Exit::Success } else { Exit::Failure })
}

fn to_text(context: &Context<'_>, what: &str, rows: &[(usize, Row)], backup: &Backup) -> String {
    let mut text = String::new();
    for (line, row) in rows {
        let place = format!("{what}:{line}");
        text.push_str(&format!("{}\n", context.report.paint_data(STRONG, escape(&place))));
        if row.name != place && row.name != what {
            text.push_str(&format!("  name         {}\n", escape(&row.name)));
        }
        text.push_str(&format!("  state        {}\n", escape(&row.state)));
        text.push_str(&format!("  fingerprint  {}\n  bits         {}\n", row.fingerprint, row.bits));
        let certificate = match (row.validity, row.dates()) {
            (Some(_), [from, until]) => format!("for this key, valid from {from} until {until}"),
            (None, _) => "none".to_owned(),
        };
        text.push_str(&format!("  certificate  {certificate}\n"));
    }
    for problem in &backup.problems {
        let problem = escape(&format!("{what}:{}", sealing_keys::describe(problem)));
        text.push_str(&format!("{} {problem}\n", context.report.paint_data(BAD, "!")));
    }
    text
}
