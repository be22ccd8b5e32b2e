//! The messages between the repo-server and its plugins, package `plugin`, and those of package `repository` in them.
//!
//! ```proto
//! service ConfigManagementPluginService {
//!   rpc GenerateManifest(stream AppStreamRequest) returns (ManifestResponse);
//!   rpc CheckPluginConfiguration(google.protobuf.Empty) returns (CheckPluginConfigurationResponse);
//!   rpc MatchRepository(stream AppStreamRequest) returns (RepositoryResponse);
//!   rpc GetParametersAnnouncement(stream AppStreamRequest) returns (ParametersAnnouncementResponse);
//! }
//! ```
//!
//! What may hold a decrypted value is wiped when it is dropped, and cannot be printed.

use std::collections::HashMap;

use prost::Message;
use prost::Oneof;
use zeroize::Zeroize;

/// A part of what a repository is sent in: first who asks, then the archive in chunks.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AppStreamRequest {
    #[prost(oneof = "Part", tags = "1, 2")]
    pub part: Option<Part>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Part {
    #[prost(message, tag = "1")]
    Metadata(ManifestRequestMetadata),
    #[prost(message, tag = "2")]
    File(File),
}

/// Who asks, and what the archive is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ManifestRequestMetadata {
    /// The last name of the path, not that of the application.
    #[prost(string, tag = "1")]
    pub app_name: String,
    #[prost(string, tag = "2")]
    pub app_rel_path: String,
    /// The SHA-256 of the compressed archive, as hexadecimal digits.
    #[prost(string, tag = "3")]
    pub checksum: String,
    #[prost(int64, tag = "4")]
    pub size: i64,
    #[prost(message, repeated, tag = "5")]
    pub env: Vec<EnvEntry>,
}

/// A variable.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EnvEntry {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A part of the archive.
#[derive(Clone, PartialEq, Message)]
pub(super) struct File {
    #[prost(bytes = "vec", tag = "1")]
    pub chunk: Vec<u8>,
}

/// What was rendered, an object of JSON each.
#[derive(PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct ManifestResponse {
    #[prost(string, repeated, tag = "1")]
    pub manifests: Vec<String>,
    #[prost(string, tag = "2")]
    pub source_type: String,
}

impl Drop for ManifestResponse {
    fn drop(&mut self) {
        self.manifests.zeroize();
    }
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Empty {}

/// What the plugin is like.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct CheckPluginConfigurationResponse {
    #[prost(bool, tag = "1")]
    pub is_discovery_configured: bool,
    #[prost(bool, tag = "2")]
    pub provide_git_creds: bool,
}

/// Whether a repository is one for this plugin.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RepositoryResponse {
    #[prost(bool, tag = "1")]
    pub is_supported: bool,
    #[prost(bool, tag = "2")]
    pub is_discovery_enabled: bool,
}

/// The parameters that an application may set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ParametersAnnouncementResponse {
    #[prost(message, repeated, tag = "1")]
    pub parameter_announcements: Vec<ParameterAnnouncement>,
}

/// A parameter that an application may set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ParameterAnnouncement {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub title: String,
    #[prost(string, tag = "3")]
    pub tooltip: String,
    #[prost(bool, tag = "4")]
    pub required: bool,
    #[prost(string, tag = "5")]
    pub item_type: String,
    #[prost(string, tag = "6")]
    pub collection_type: String,
    #[prost(string, tag = "7")]
    pub string: String,
    #[prost(string, repeated, tag = "8")]
    pub array: Vec<String>,
    #[prost(map = "string, string", tag = "9")]
    pub map: HashMap<String, String>,
}
