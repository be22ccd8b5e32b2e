//! What is encrypted, told by the engine with the keys of the renderer.

use selkie::render::{Explanation, Files, Memory, by_name};
use selkie::secret::SecretBytes;

use super::{Below, Decision, Prepared, Renderer, RendererError, Request, Wanted};

impl Renderer {
    /// Tells what is encrypted in a folder of some files, and what would become of it.
    ///
    /// # Errors
    /// If a file or a key cannot be read, or a limit is exceeded.
    pub fn explain(&self, files: &dyn Files, request: &Request) -> Result<Vec<Explanation>, RendererError> {
        self.prepared(request, |prepared| {
            let Prepared { engine, request, .. } = prepared;
            let files = &Wanted { files, request };
            let below = Below { files, folder: &request.folder };
            let found = engine.explain(&below, &by_name(&below))?;
            request.check()?;
            Ok(found)
        })
    }

    /// Tells what is encrypted in a stream, and in the files that it was built of.
    ///
    /// # Errors
    /// As [`Self::explain`].
    pub fn explain_stream(
        &self,
        stream: &SecretBytes,
        files: Option<&dyn Files>,
        request: &Request,
    ) -> Result<Vec<Explanation>, RendererError> {
        self.prepared(request, |prepared| {
            let Prepared { engine, request, .. } = prepared;
            let none = Memory::default();
            let files = &Wanted { files: files.unwrap_or(&none), request };
            let found = engine.explain_stream(stream, files)?;
            request.check()?;
            Ok(found)
        })
    }

    /// Makes sure that the keys can be read.
    ///
    /// # Errors
    /// If they cannot.
    pub fn check_keys(&self) -> Result<(), RendererError> {
        let (decision, mode) = (Decision::default(), &self.mode);
        self.services(&decision, mode).map(drop)
    }
}
