//! How much is read at most: what is beyond it is refused, never cut.

/// Limits of what is read, each inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many files there may be.
    pub files: usize,
    /// How many bytes a file may have.
    pub file_bytes: u64,
    /// How many bytes all files may have together.
    pub total_bytes: u64,
    /// How many times as many bytes an archive may stand for as it has, once it stands for more than 1 MiB.
    pub ratio: u64,
    /// How many documents a stream may have, those in lists included.
    pub documents: usize,
    /// How many values may be encrypted.
    pub encrypted: usize,
    /// How many bytes may come out.
    pub output_bytes: u64,
}

impl Default for Limits {
    /// What is far beyond any honest repository: 100,000 files, 16 MiB a file, 1 GiB in all.
    fn default() -> Self {
        Self {
            files: 100_000,
            file_bytes: 16 << 20,
            total_bytes: 1 << 30,
            ratio: 100,
            documents: 100_000,
            encrypted: 1_000_000,
            output_bytes: 256 << 20,
        }
    }
}

/// What was too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: more than {limit} {unit}, the most that is read; the limit `{name}` raises it")]
pub struct LimitError {
    /// What exceeds it: a file, the archive, the stream.
    pub what: String,
    /// The name of the limit.
    pub name: &'static str,
    /// How much is read.
    pub limit: u64,
    /// What is counted.
    pub unit: &'static str,
}

impl Limits {
    /// Makes sure that there are not more files.
    ///
    /// # Errors
    /// If there are.
    pub fn check_files(&self, count: usize) -> Result<(), LimitError> {
        check("the files", "files", count as u64, self.files as u64, "files")
    }

    /// Makes sure that a file is not larger.
    ///
    /// # Errors
    /// If it is.
    pub fn check_file(&self, path: &str, bytes: u64) -> Result<(), LimitError> {
        check(path, "fileBytes", bytes, self.file_bytes, "bytes")
    }

    /// Makes sure that all files together are not larger.
    ///
    /// # Errors
    /// If they are.
    pub fn check_total(&self, bytes: u64) -> Result<(), LimitError> {
        check("the files", "totalBytes", bytes, self.total_bytes, "bytes")
    }

    /// Makes sure that there are not more documents.
    ///
    /// # Errors
    /// If there are.
    pub fn check_documents(&self, count: usize) -> Result<(), LimitError> {
        check("the stream", "documents", count as u64, self.documents as u64, "documents")
    }

    /// Makes sure that not more values are encrypted.
    ///
    /// # Errors
    /// If there are.
    pub fn check_encrypted(&self, count: usize) -> Result<(), LimitError> {
        check("the files", "encrypted", count as u64, self.encrypted as u64, "encrypted values")
    }

    /// Makes sure that not more comes out.
    ///
    /// # Errors
    /// If more does.
    pub fn check_output(&self, bytes: u64) -> Result<(), LimitError> {
        check("the output", "outputBytes", bytes, self.output_bytes, "bytes")
    }
}

fn check(
    what: &str,
    name: &'static str,
    count: u64,
    limit: u64,
    unit: &'static str,
) -> Result<(), LimitError> {
    if count <= limit { Ok(()) } else { Err(LimitError { what: what.to_owned(), name, limit, unit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_most_that_is_read() {
        let limits = Limits { files: 2, ..Limits::default() };
        assert_eq!(limits.check_files(2), Ok(()));
        let error = limits.check_files(3).expect_err("too many").to_string();
        assert_eq!(error, "the files: more than 2 files, the most that is read; the limit `files` raises it");
    }
}
