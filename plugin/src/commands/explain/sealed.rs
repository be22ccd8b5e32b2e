//! What `explain` says of a file with SealedSecrets.

use serde_json::{Value as Json, json};

use crate::context::Context;
use crate::report::{BAD, GOOD, STRONG, escape};
use crate::sealed_report::{ItemReport, Outcome, SealedReport};

/// Returns what there is to say about a file, for people.
pub(super) fn to_text(context: &Context<'_>, target: &str, reports: &[SealedReport]) -> String {
    let mut lines = vec![context.report.paint_data(STRONG, escape(target))];
    for report in reports {
        lines.push(format!("  {:<10} {} (line {})", "sealed", escape(&report.title()), report.line));
        lines.push(format!("  {:<10} {}", "scope", report.scope));
        if !report.templates.is_empty() {
            lines.push(format!("  {:<10} {}", "templates", escape(&report.templates.join(", "))));
        }
        for (_, why) in &report.broken_templates {
            lines.push(format!("  {:<10} {}", context.report.paint_data(BAD, "broken"), escape(why)));
        }
        if report.is_deprecated {
            let text = "the values stand in the field `data`, which kubeseal stopped writing in 2019: seal the Secret again";
            lines.push(format!("  {:<10} {text}", "note"));
        }
        lines.extend(report.items.iter().map(|item| item_line(context, item)));
    }
    lines.join("\n") + "\n"
}

/// Returns what there is to say about a file, for programs.
pub(super) fn to_json(target: &str, format: &str, reports: &[SealedReport]) -> Json {
    json!({
        "file": target,
        "format": format,
        "encrypted": true,
        "sealedSecrets": reports.iter().map(SealedReport::to_json).collect::<Json>(),
    })
}

fn item_line(context: &Context<'_>, item: &ItemReport) -> String {
    let (style, word) = match (&item.outcome, item.problem()) {
        (_, None) | (Some(Outcome::Opens(_)), _) => (GOOD, "encrypted"),
        _ => (BAD, "unreadable"),
    };
    let mut line = format!("  {:<10} {}", context.report.paint_data(style, word), escape(&item.key));
    match &item.outcome {
        None => {
            if let Some(bits) = item.bits {
                line.push_str(&format!("  for a key of {bits} bits"));
            }
        }
        Some(Outcome::Opens(key) | Outcome::OpensAs { key, .. }) => {
            line.push_str(&format!("  for {} ({})", key.fingerprint, escape(&key.name)));
        }
        Some(Outcome::Stays(_)) => {}
    }
    if let Some((_, problem)) = item.problem() {
        line.push_str(&format!("\n  {:<10} line {}: {}", "", item.line, escape(&problem)));
    }
    line
}
