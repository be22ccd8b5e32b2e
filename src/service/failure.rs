//! Why a request is not answered, alike for HTTP and gRPC. Nothing of it holds a value.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use selkie::render::{FilesError, RenderError};
use selkie::sops::{MetadataError, RecoverError};
use serde_json::json;
use tonic::{Code, Status};

use crate::render::helm::HelmError;
use crate::render::kustomize::KustomizeError;
use crate::render::renderer::RendererError;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Failure {
    /// What kind of failure it is.
    pub(super) class: Class,
    /// What is the matter, for people.
    pub(super) detail: String,
}

/// Kinds of failures, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// What was asked is wrong.
    BadInput,
    /// There was no time left.
    Deadline,
    /// We made a mistake.
    Internal,
    /// There is nothing at this path.
    NotFound,
    /// The policy, the MAC or a value's destination forbids it.
    Refused,
    /// It is more than is read.
    TooLarge,
    /// It cannot be decrypted.
    Undecryptable,
    /// Keys cannot be had now, or there is too much to do.
    Unavailable,
    /// The method or the type of the body is another one.
    Unsupported,
}

impl Class {
    /// The one table: word, title, status of HTTP, code of gRPC.
    const fn row(self) -> (&'static str, &'static str, StatusCode, Code) {
        match self {
            Self::BadInput => {
                ("BadInput", "The input is wrong", StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::Deadline => {
                ("Deadline", "Not done in time", StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded)
            }
            Self::Internal => {
                ("Internal", "This is a bug", StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
            }
            Self::NotFound => {
                ("NotFound", "There is nothing here", StatusCode::NOT_FOUND, Code::Unimplemented)
            }
            Self::Refused => ("Refused", "It is not allowed", StatusCode::FORBIDDEN, Code::PermissionDenied),
            Self::TooLarge => {
                ("TooLarge", "It is too much", StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted)
            }
            Self::Undecryptable => (
                "Undecryptable",
                "It cannot be decrypted",
                StatusCode::UNPROCESSABLE_ENTITY,
                Code::FailedPrecondition,
            ),
            Self::Unavailable => {
                ("Unavailable", "Try again later", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
            }
            Self::Unsupported => (
                "Unsupported",
                "It is not supported",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::Unimplemented,
            ),
        }
    }
}

impl Failure {
    pub(super) fn new(class: Class, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (word, title, status, _) = self.class.row();
        let problem = json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.detail, "code": word,
        });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        // What is told stands in a header, which has to stay small.
        let mut detail = failure.detail;
        if detail.len() > MAX_DETAIL {
            let end = (0..=MAX_DETAIL).rev().find(|&end| detail.is_char_boundary(end)).unwrap_or_default();
            detail.truncate(end);
        }
        Self::new(failure.class.row().3, detail)
    }
}

impl From<RendererError> for Failure {
    fn from(error: RendererError) -> Self {
        let class = match &error {
            RendererError::Keys(_) | RendererError::SealingKeys(_) => Class::Unavailable,
            RendererError::Render(error) => class_of(error),
            RendererError::Unopened { source, .. } => class_of(source),
            RendererError::Cancelled | RendererError::Timeout => Class::Deadline,
            RendererError::Helm(HelmError::Render(error)) => class_of(error),
            RendererError::Kustomize(KustomizeError::Render(error)) => class_of(error),
            RendererError::Policy(_) => Class::Refused,
            // What builds manifests does not take them.
            RendererError::Helm(_) | RendererError::Kustomize(_) => Class::BadInput,
        };
        Self::new(class, chain(&error))
    }
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        Self::new(class_of_files(&error), chain(&error))
    }
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::new(class_of(&error), chain(&error))
    }
}

fn class_of(error: &RenderError) -> Class {
    match error {
        RenderError::Files(error) => class_of_files(error),
        RenderError::Limit(_) => Class::TooLarge,
        RenderError::Empty
        | RenderError::Key { .. }
        | RenderError::Mac { .. }
        | RenderError::Mode { .. }
        | RenderError::Taint { .. }
        | RenderError::TooFewSecrets { .. } => Class::Refused,
        RenderError::Metadata { source: MetadataError::NoKeys, .. }
        | RenderError::HiddenIdentity { .. }
        | RenderError::LeftEncrypted { .. }
        | RenderError::Open { .. }
        | RenderError::Unseal { .. } => Class::Undecryptable,
        RenderError::Recover { source, .. } => class_of_recovery(source),
        _ => Class::BadInput,
    }
}

const fn class_of_files(error: &FilesError) -> Class {
    match error {
        FilesError::Limit(_) => Class::TooLarge,
        FilesError::Io { .. } | FilesError::Unsupported { .. } => Class::Internal,
        _ => Class::BadInput,
    }
}

/// Tells keys that are elsewhere and do not answer from keys that are not there.
fn class_of_recovery(error: &RecoverError) -> Class {
    use selkie::keys::{Cause, KeyError};

    let is_passing = |error: &KeyError| {
        matches!(error, KeyError::Service(error)
            if matches!(error.cause, Cause::Timeout | Cause::Unreachable | Cause::Credentials))
    };
    let mut failures = error.groups.iter().flat_map(|group| &group.failures);
    if failures.any(|failure| failure.causes.iter().any(|(_, error)| is_passing(error))) {
        Class::Unavailable
    } else {
        Class::Undecryptable
    }
}

/// Returns an error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many bytes a message of gRPC tells.
const MAX_DETAIL: usize = 2 << 10;
