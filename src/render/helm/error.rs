//! Why Helm built nothing.
//!
//! Invariant: no variant holds a value.

use selkie::manifest::ObjectError;
use selkie::render::{LimitError, RenderError};

use super::arguments::ArgumentError;
use super::ignore::IgnoreError;
use super::schema::SchemaError;
use crate::render::child::ChildError;

/// Why Helm built nothing. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelmError {
    /// An argument or a path cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A file with values is encrypted as a whole.
    #[error("{path}: is encrypted as a whole, so that nobody sees values in it; encrypt it as YAML")]
    Binary {
        /// The file.
        path: String,
    },
    /// Helm cannot be run.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// What is rendered holds a file that cannot be decrypted.
    #[error("{place}: {path} is made of an encrypted file that cannot be decrypted")]
    Closed {
        /// The object.
        place: String,
        /// The place in it.
        path: String,
    },
    /// What is rendered holds a file that cannot be decrypted, and this is why.
    #[error("{place}: {path} is made of {file}, or a file like it")]
    ClosedFile {
        /// The object.
        place: String,
        /// The place in it.
        path: String,
        /// The file.
        file: String,
        /// Why it cannot be decrypted.
        source: Box<RenderError>,
    },
    /// Templates compare with more than is tried without keys.
    #[error(
        "templates compare with {found} texts or numbers, and without keys no more than {most} are tried in the place of encrypted values; render with keys"
    )]
    Comparisons {
        /// How many there are.
        found: usize,
        /// How many are tried.
        most: usize,
    },
    /// Something outside of a Secret is computed of a decrypted value.
    #[error(
        "{place}: {path} is computed of a decrypted value; compute it in a Secret, leave the value in clear, or let the policy allow it there"
    )]
    Derived {
        /// The object.
        place: String,
        /// The place in it.
        path: String,
    },
    /// Helm refuses.
    #[error("helm cannot render the chart: {said}")]
    Failed {
        /// What it says.
        said: String,
    },
    /// Helm refuses, but only with values.
    #[error(
        "helm renders the chart with other texts in the place of decrypted values, but not with the values; what it says may hold them and is not told: look at the schema of the values, and at values that templates leave without quotes"
    )]
    FailedWithValues,
    /// The rules of files that are left out cannot be used.
    #[error("{path}: cannot be used")]
    Ignore {
        /// The file.
        path: String,
        /// Why not.
        source: IgnoreError,
    },
    /// There is no chart.
    #[error("there is no Chart.yaml in {}", if folder.is_empty() { "the folder" } else { folder })]
    NoChart {
        /// The folder.
        folder: String,
    },
    /// An entry of a Secret is no base64.
    #[error(
        "{place}: {path} is computed of a decrypted value, and is not base64 as `data` has to be; use `b64enc` or `stringData`"
    )]
    NotBase64 {
        /// The object.
        place: String,
        /// The place in it.
        path: String,
    },
    /// What Helm rendered cannot be read.
    #[error("what helm rendered cannot be read")]
    Output(#[source] ObjectError),
    /// What Helm rendered with values cannot be read.
    #[error("what helm rendered with decrypted values is no YAML; let templates quote them")]
    OutputWithValues,
    /// Something is another one each time.
    #[error(
        "{place}: {path} is another one each time that the chart is rendered, so that what is applied would never settle; give the value, or allow it: --allow-random"
    )]
    Random {
        /// The object.
        place: String,
        /// The place in it.
        path: String,
    },
    /// The engine refuses.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// What a schema says reaches out of it.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What is rendered hangs on a value.
    #[error(
        "{place}: {path} hangs on a decrypted value, as by `if`, `range` or a value that breaks out of its place; leave that value in clear, for example by --unencrypted-regex, or quote it"
    )]
    Structure {
        /// The object.
        place: String,
        /// The place in it.
        path: String,
    },
    /// Whoever asked gave up.
    #[error("not rendered in time")]
    Timeout,
}

impl From<LimitError> for HelmError {
    fn from(error: LimitError) -> Self {
        Self::Render(error.into())
    }
}
