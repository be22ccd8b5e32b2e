//! Logs and traces.

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// An object of JSON.
    Json,
    /// `key=value`, as the package slog of Go writes it.
    #[default]
    Text,
}

/// What is logged, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether what is no warning goes to stdout; else all goes to stderr.
    pub info_to_stdout: bool,
    /// What is less than this is not logged.
    pub level: tracing::Level,
    /// What a line looks like.
    pub format: LogFormat,
}
