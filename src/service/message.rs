//! The messages of `deploy/api/selkie/v1/decryptor.proto`. What may hold a value is wiped when it is dropped.

use prost::Message;
use selkie::render::{Content, Emission, Explanation as Found, MacVerdict, Outcome};
use zeroize::Zeroize as _;

/// A part of a request.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct RequestPart {
    #[prost(message, optional, tag = "1")]
    pub(super) options: Option<Options>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) stream: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) archive: Vec<u8>,
}

/// How to render.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Options {
    #[prost(string, tag = "1")]
    pub(super) mode: String,
    #[prost(string, tag = "2")]
    pub(super) builder: String,
    #[prost(string, tag = "3")]
    pub(super) folder: String,
    #[prost(message, optional, tag = "4")]
    pub(super) origin: Option<Origin>,
    #[prost(message, optional, tag = "5")]
    pub(super) helm: Option<Helm>,
}

/// For whom it is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Origin {
    #[prost(string, tag = "1")]
    pub(super) project: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(string, tag = "3")]
    pub(super) repository: String,
    #[prost(string, tag = "4")]
    pub(super) path: String,
}

/// How a chart is rendered.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Helm {
    #[prost(string, tag = "1")]
    pub(super) release: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) values: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) set: Vec<String>,
}

/// A part of what was rendered.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct ResponsePart {
    #[prost(message, optional, tag = "1")]
    pub(super) report: Option<Report>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) yaml: Vec<u8>,
}

/// What is told of what was rendered.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Report {
    #[prost(string, tag = "1")]
    pub(super) mode: String,
    #[prost(uint32, tag = "2")]
    pub(super) objects: u32,
    #[prost(uint32, tag = "3")]
    pub(super) opened: u32,
    #[prost(message, repeated, tag = "4")]
    pub(super) warnings: Vec<Warning>,
    #[prost(message, repeated, tag = "5")]
    pub(super) taint: Vec<Taint>,
}

/// Something to tell.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Warning {
    #[prost(string, tag = "1")]
    pub(super) place: String,
    #[prost(string, tag = "2")]
    pub(super) text: String,
}

/// Where a decrypted value is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Taint {
    #[prost(string, tag = "1")]
    pub(super) object: String,
    #[prost(string, tag = "2")]
    pub(super) path: String,
    #[prost(string, tag = "3")]
    pub(super) source: String,
    #[prost(string, tag = "4")]
    pub(super) source_place: String,
}

/// What is encrypted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExplainResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) explanations: Vec<Explanation>,
}

/// Something encrypted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Explanation {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(string, tag = "2")]
    pub(super) place: String,
    #[prost(string, tag = "3")]
    pub(super) content: String,
    #[prost(string, tag = "4")]
    pub(super) format: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) groups: Vec<KeyGroup>,
    #[prost(uint32, tag = "6")]
    pub(super) required_groups: u32,
    #[prost(string, tag = "7")]
    pub(super) selector_field: String,
    #[prost(string, tag = "8")]
    pub(super) selector: String,
    #[prost(uint32, tag = "9")]
    pub(super) encrypted: u32,
    #[prost(uint32, tag = "10")]
    pub(super) clear: u32,
    #[prost(bool, tag = "11")]
    pub(super) has_mac: bool,
    #[prost(bool, tag = "12")]
    pub(super) mac_only_encrypted: bool,
    #[prost(string, tag = "13")]
    pub(super) last_modified: String,
    #[prost(string, tag = "14")]
    pub(super) version: String,
    #[prost(string, tag = "15")]
    pub(super) scope: String,
    #[prost(string, tag = "16")]
    pub(super) verdict: String,
    #[prost(bool, tag = "17")]
    pub(super) passes: bool,
    #[prost(string, tag = "18")]
    pub(super) reason: String,
}

/// Keys each of which recovers the part of a group.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyGroup {
    #[prost(message, repeated, tag = "1")]
    pub(super) recipients: Vec<Recipient>,
}

/// A key.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Recipient {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(bool, tag = "3")]
    pub(super) tried: bool,
}

impl Drop for RequestPart {
    fn drop(&mut self) {
        self.stream.zeroize();
        self.archive.zeroize();
    }
}

impl Drop for ResponsePart {
    fn drop(&mut self) {
        self.yaml.zeroize();
    }
}

impl Report {
    pub(super) fn of(mode: &str, emission: &Emission) -> Self {
        let warning = |warning: &selkie::render::Warning| Warning {
            place: warning.place.clone(),
            text: warning.text.clone(),
        };
        let taint = |taint: &selkie::render::Taint| Taint {
            object: taint.object.clone(),
            path: taint.path.clone(),
            source: taint.source.clone(),
            source_place: taint.source_place.clone(),
        };
        Self {
            mode: mode.to_owned(),
            objects: count(emission.objects.len()),
            opened: count(emission.opened),
            warnings: emission.warnings.iter().map(warning).collect(),
            taint: emission.taint.iter().map(taint).collect(),
        }
    }
}

impl Explanation {
    pub(super) fn of(found: &Found) -> Self {
        let mut message = Self {
            path: found.path.clone(),
            place: found.place.clone(),
            passes: found.passes(),
            ..Self::default()
        };
        match &found.outcome {
            Outcome::Opens(verdict) => MacVerdict::name(*verdict).clone_into(&mut message.verdict),
            Outcome::PassedOn => "PassedOn".clone_into(&mut message.verdict),
            Outcome::Refused(reason) => message.reason.clone_from(reason),
        }
        match &found.content {
            Content::Sealed(sealed) => {
                "SealedSecret".clone_into(&mut message.content);
                sealed.scope.clone_into(&mut message.scope);
                message.encrypted = count(sealed.items);
            }
            Content::Sops(sops) => {
                "SOPS".clone_into(&mut message.content);
                sops.format.clone_into(&mut message.format);
                message.groups = sops.groups.iter().map(|group| KeyGroup::of(group)).collect();
                message.required_groups = count(sops.required);
                sops.selector.0.clone_into(&mut message.selector_field);
                message.selector.clone_from(&sops.selector.1);
                message.encrypted = count(sops.encrypted);
                message.clear = count(sops.clear);
                message.has_mac = sops.has_mac;
                message.mac_only_encrypted = sops.mac_only_encrypted;
                message.last_modified.clone_from(&sops.last_modified);
                message.version.clone_from(&sops.version);
            }
            Content::Unknown => "Unknown".clone_into(&mut message.content),
        }
        message
    }
}

impl KeyGroup {
    fn of(group: &[selkie::render::Recipient]) -> Self {
        let recipient = |key: &selkie::render::Recipient| Recipient {
            kind: key.kind.to_owned(),
            name: key.name.clone(),
            tried: key.tried,
        };
        Self { recipients: group.iter().map(recipient).collect() }
    }
}

/// Returns a number that limits keep small.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
