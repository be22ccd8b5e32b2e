//! Why an application was not rendered, as people and gRPC are told.

use std::error::Error;

use selkie::render::{FilesError, RenderError};
use tonic::{Code, Status};

use super::facts::FactsError;
use super::parameters::ParameterError;
use crate::render::helm::HelmError;
use crate::render::kustomize::KustomizeError;
use crate::render::renderer::RendererError;

/// Why an application was not rendered. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum AppError {
    /// The archive is larger than what is taken.
    #[error(
        "the repository is an archive of more than {0} bytes, the most that is taken; --max-archive raises it"
    )]
    ArchiveSize(u64),
    /// The archive is not the one that was announced.
    #[error(
        "file checksum validation error: the archive of the repository is not the one that was announced"
    )]
    Checksum,
    /// The facts cannot be used.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The path of the application leads out of the repository.
    #[error("the path {0:?} of the application is none within its repository")]
    Path(String),
    /// A parameter cannot be used.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The client does not speak as the repo-server does.
    #[error("{0}")]
    Protocol(&'static str),
    /// The renderer refuses.
    #[error(transparent)]
    Renderer(#[from] RendererError),
    /// It takes longer than somebody waits.
    #[error(
        "not rendered in time: {0}; more time is allowed by controller.repo.server.timeout.seconds and server.repo.server.timeout.seconds of Argo CD"
    )]
    Timeout(&'static str),
}

impl AppError {
    /// Returns the message with its causes, as one line.
    pub(super) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = error.to_string();
            // What is transparent says the same once more.
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        let tame = |letter: char| if letter.is_control() { ' ' } else { letter };
        let mut tamed: String = text.chars().map(tame).take(MAX_MESSAGE).collect();
        if text.chars().count() > MAX_MESSAGE {
            tamed.push('…');
        }
        tamed
    }

    fn code(&self) -> Code {
        match self {
            Self::ArchiveSize(_) | Self::Files(FilesError::Limit(_)) => Code::ResourceExhausted,
            Self::Checksum => Code::DataLoss,
            Self::Facts(_) | Self::Files(_) | Self::Path(_) | Self::Parameter(_) | Self::Protocol(_) => {
                Code::InvalidArgument
            }
            Self::Renderer(error) => code_of(error),
            Self::Timeout(_) => Code::DeadlineExceeded,
        }
    }
}

impl From<AppError> for Status {
    fn from(error: AppError) -> Self {
        Self::new(error.code(), error.told())
    }
}

fn code_of(error: &RendererError) -> Code {
    let refused = match error {
        RendererError::Render(error)
        | RendererError::Kustomize(KustomizeError::Render(error))
        | RendererError::Helm(HelmError::Render(error)) => error,
        RendererError::Unopened { source, .. } => source,
        RendererError::Policy(_) => return Code::PermissionDenied,
        RendererError::Cancelled => return Code::Cancelled,
        RendererError::Timeout => return Code::DeadlineExceeded,
        _ => return Code::FailedPrecondition,
    };
    match refused {
        RenderError::Key { .. } | RenderError::Taint { .. } => Code::PermissionDenied,
        RenderError::Limit(_) | RenderError::Files(FilesError::Limit(_)) => Code::ResourceExhausted,
        RenderError::Files(_) => Code::InvalidArgument,
        RenderError::Mac { .. } => Code::DataLoss,
        _ => Code::FailedPrecondition,
    }
}

/// How long a message may be, in characters.
const MAX_MESSAGE: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line() {
        let missing = FilesError::Missing { path: "a\nb\u{1b}[31m".to_owned() };
        let status = Status::from(AppError::from(missing));
        assert_eq!(status.message(), "a b [31m: there is no such file");
        assert_eq!(status.code(), Code::InvalidArgument);
        let long = AppError::Path("x".repeat(100_000)).told();
        assert!(long.chars().count() <= MAX_MESSAGE + 1, "{}", long.len());
    }
}
