//! `kubectl seal keys list`.

use std::path::PathBuf;

use selkie::sealed::SmallKeys;
use serde_json::Value as Json;

use super::Row;
use crate::commands;
use crate::context::Context;
use crate::controller::ControllerFlags;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{BAD, GOOD, STRONG, escape};
use crate::sealing_keys;

/// List keys, those of the cluster or of files
///
/// Files are PEM, key Secrets, or backups of them, encrypted or not. The controller seals for the newest key.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files with keys; without any, the keys of the cluster are listed
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// List them for programs
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    controller: ControllerFlags,
}

/// Lists keys, the oldest first.
///
/// # Errors
/// If they cannot be had.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    // To be listed, no key is used.
    if args.files.is_empty() {
        let backup = args.controller.sealing_keys(context, SmallKeys::Allow)?;
        rows.extend(backup.keys.iter().map(|key| Row::new(key, "the cluster", true)));
    }
    for file in &args.files {
        let backup = sealing_keys::read_backup(context, file, SmallKeys::Allow)?;
        let several = backup.keys.len() > 1;
        rows.extend(backup.keys.iter().map(|key| Row::new(key, &file.display().to_string(), several)));
    }
    let start = |row: &Row| row.validity.map(|validity| validity.not_before);
    rows.sort_by_key(start);
    let newest = rows.iter().filter(|row| row.state == selkie::sealed::ACTIVE).filter_map(start).max();
    if let Some(row) = rows.iter_mut().find(|row| newest.is_some() && start(row) == newest) {
        row.is_newest = true;
    }
    if args.json {
        commands::print_json(context, &rows.iter().map(Row::to_json).collect::<Json>())?;
    } else {
        let text = table(context, &rows);
        context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))?;
    }
    Ok(Exit::Success)
}

fn table(context: &Context<'_>, rows: &[Row]) -> String {
    let name = |row: &Row| escape(&row.name);
    let state = |row: &Row| escape(&row.state) + if row.is_newest { ", newest" } else { "" };
    let widest = |texts: &dyn Fn(&Row) -> String, least: usize| {
        rows.iter().map(|row| texts(row).chars().count()).max().unwrap_or_default().max(least)
    };
    let (names, states) = (widest(&name, "NAME".len()), widest(&state, "STATE".len()));
    let head = format!(
        "{:names$}  {:states$}  {:>5}  {:10}  {:10}  FINGERPRINT",
        "NAME", "STATE", "BITS", "VALID FROM", "UNTIL"
    );
    let mut text = context.report.paint_data(STRONG, head) + "\n";
    for row in rows {
        let style = if row.state == selkie::sealed::ACTIVE { GOOD } else { BAD };
        let state = context.report.paint_data(style, format!("{:states$}", state(row)));
        let [from, until] = row.dates();
        text.push_str(&format!(
            "{:names$}  {state}  {:>5}  {from:10}  {until:10}  {}\n",
            name(row),
            row.bits,
            row.fingerprint
        ));
    }
    text
}
