//! What there is to say about a file, for people and for programs.

use selkie::sops::Metadata;
use serde_json::{Value as Json, json};

use super::{Finding, Status};
use crate::commands;
use crate::context::Context;
use crate::report::{BAD, GOOD, STRONG, count, escape};
use crate::sealed_report::SealedReport;

impl Status {
    /// Returns what there is to say, for people.
    pub fn to_text(&self, context: &Context<'_>) -> String {
        let mut text = context.report.paint_data(STRONG, escape(&self.target));
        match &self.metadata {
            None if self.is_sealed => {
                let readable = match self.readable {
                    Some(true) => ", readable with your keys",
                    Some(false) => ", not all readable with your keys",
                    None => "",
                };
                let (values, objects) =
                    (count(self.encrypted, "value"), count(self.sealed.len(), "SealedSecret"));
                let word = context.report.paint_data(GOOD, "sealed");
                text.push_str(&format!(": {word}, {values} of {objects}{readable}\n"));
            }
            None => text.push_str(&format!(": {}\n", context.report.paint_data(BAD, "in clear"))),
            Some(metadata) => {
                let readable = match self.readable {
                    Some(true) => ", readable with your keys",
                    Some(false) => ", not readable with your keys",
                    None => "",
                };
                text.push_str(&format!(
                    ": {}, {} of {} values{readable}, last changed {}\n",
                    context.report.paint_data(GOOD, "encrypted"),
                    self.encrypted,
                    self.encrypted + self.clear,
                    escape(&metadata.last_modified)
                ));
                for key in metadata.groups.iter().flat_map(|group| &group.0) {
                    text.push_str(&format!("  {} {}\n", key.kind().name, escape(&key.to_string())));
                }
            }
        }
        if let Some(age) = self.age.filter(|age| !age.is_stale) {
            text.push_str(&format!("  data key in use {age}\n"));
        }
        for finding in &self.findings {
            let finding = escape(&finding.to_string());
            text.push_str(&format!("  {} {finding}\n", context.report.paint_data(BAD, "!")));
        }
        text
    }

    /// Returns what there is to say, for programs.
    pub fn to_json(&self) -> Json {
        let finding = |finding: &Finding| {
            json!({
                "kind": finding.kind,
                "line": finding.line,
                "path": finding.path,
                "message": finding.message,
            })
        };
        let (metadata, age) = (self.metadata.as_ref(), self.age);
        json!({
            "file": self.target,
            "format": self.format.store().name(),
            "encrypted": metadata.is_some() || self.is_sealed,
            "readable": self.readable,
            "groups": metadata.map(|metadata| commands::groups_json(&metadata.groups)),
            "threshold": metadata.map(Metadata::required_groups),
            "selector": metadata.map(|metadata| commands::selector_json(&metadata.selector)),
            "macOnlyEncrypted": metadata.map(|metadata| metadata.mac_only_encrypted),
            "lastModified": metadata.map(|metadata| metadata.last_modified.as_str()),
            "dataKeySince": age.and_then(|age| age.timestamp()),
            "dataKeySinceFrom": age.map(|age| age.from.name()),
            "stale": age.map(|age| age.is_stale),
            "version": metadata.map(|metadata| metadata.version.as_str()),
            "values": {"encrypted": self.encrypted, "clear": self.clear},
            "sealedSecrets": self.sealed.iter().map(SealedReport::to_json).collect::<Json>(),
            "findings": self.findings.iter().map(finding).collect::<Json>(),
        })
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        if let Some(path) = &self.path {
            write!(formatter, "{path}: ")?;
        }
        write!(formatter, "{} ({})", self.message, self.kind)
    }
}
