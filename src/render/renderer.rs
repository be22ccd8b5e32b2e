//! One way to render for all faces: files or a stream in, objects out.
//!
//! Invariants: keys are read again after [`KEYS_AGE`], and what they unwrapped is forgotten with them; nothing is written
//! to a disk but marks and what is not encrypted.

mod explain;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use selkie::keys::KeyService;
pub use selkie::render::Origin;
use selkie::render::{
    Archive, Document, Emission, EmitMode, Engine, Files, FilesError, Limits, MacVerdict, Memory,
    RenderError, Role, Rule, Sources, emit, manifests,
};
use selkie::sealed::KeyRegistry;
use selkie::secret::SecretBytes;
use serde_json::Value as Json;

use super::helm::{self, Helm, HelmError};
use super::kustomize::{self, KustomizeError};
use super::policy::{Access, AccessCache, Decision, PolicyRefusal, RenderPolicy, SealingKeysError, Services};
use crate::keys;
use crate::shares::Held;

/// Renders for any face.
pub struct Renderer {
    /// Files and folders with keys; with a policy, its rules name those.
    pub key_paths: Vec<PathBuf>,
    /// Private keys for SealedSecrets; with a policy, its rules name those.
    pub sealing_keys: Option<KeyRegistry>,
    /// What comes out for decrypted values, if a request and a policy say nothing else.
    pub mode: EmitMode,
    /// Whether a policy says what comes out, if a request does not.
    pub mode_is_open: bool,
    /// What else can be asked for, where a policy allows it.
    pub further_modes: Vec<EmitMode>,
    /// The modes that can be asked for without a policy; `None` for those that ask for no keys.
    pub offered: Option<Vec<&'static str>>,
    /// What is allowed, without a policy.
    pub rule: Rule,
    /// How much is read, without a policy.
    pub limits: Limits,
    /// What is allowed for whom.
    pub policy: RenderPolicy,
    /// The programs that build manifests.
    pub programs: Programs,
    services: AccessCache,
}

/// The programs that build manifests, by name or path.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Kustomize: `kustomize`, or `kubectl`, which has it built in.
    pub kustomize: PathBuf,
    /// Helm 3 or 4.
    pub helm: PathBuf,
    /// Whether they may fetch things from a network: what the rule says.
    pub network: bool,
}

/// What is rendered.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// For whom; a policy decides by it.
    pub origin: Origin,
    /// The folder among the files that is rendered; empty for all of them.
    pub folder: String,
    /// What builds manifests of the files.
    pub builder: Builder,
    /// The name of the mode that is asked for, as [`EmitMode::name`] has it, if one is.
    pub mode: Option<&'static str>,
    /// When whoever asked gives up.
    pub deadline: Option<Instant>,
    /// What becomes true when whoever asked has gone.
    pub cancel: Option<Arc<AtomicBool>>,
}

/// What builds manifests of files.
#[derive(Clone, Debug, Default)]
pub enum Builder {
    /// Helm.
    Helm(Helm),
    /// Kustomize.
    Kustomize,
    /// Nothing: the files are manifests.
    #[default]
    None,
}

/// Why nothing was rendered. No variant holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RendererError {
    /// Whoever asked has gone.
    #[error("nobody waits for it")]
    Cancelled,
    /// Helm failed.
    #[error(transparent)]
    Helm(#[from] HelmError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] keys::KeyFileError),
    /// Kustomize failed.
    #[error(transparent)]
    Kustomize(#[from] KustomizeError),
    /// The policy does not allow it.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    /// The engine refuses.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The private keys for SealedSecrets cannot be read.
    #[error(transparent)]
    SealingKeys(#[from] SealingKeysError),
    /// Whoever asked gave up.
    #[error("not rendered in time")]
    Timeout,
    /// A stream holds what is in no file that could be opened.
    #[error("{left}. It may be of {file}, which cannot be opened")]
    Unopened {
        /// What is wrong with the stream.
        left: Box<RenderError>,
        /// The first file that cannot be opened.
        file: String,
        /// Why it cannot.
        source: Box<RenderError>,
    },
}

impl Renderer {
    /// Returns what renders in a mode, with keys from some paths, and defaults in all else.
    #[must_use]
    pub fn new(key_paths: Vec<PathBuf>, mode: EmitMode) -> Self {
        Self {
            key_paths,
            sealing_keys: None,
            mode,
            mode_is_open: false,
            further_modes: Vec::new(),
            offered: None,
            rule: Rule::default(),
            limits: Limits::default(),
            policy: RenderPolicy::None,
            programs: Programs { kustomize: "kustomize".into(), helm: "helm".into(), network: false },
            services: AccessCache::default(),
        }
    }

    /// Renders a folder of some files.
    ///
    /// # Errors
    /// If anything of it is refused; then nothing comes out.
    pub fn render(&self, files: &dyn Files, request: &Request) -> Result<Emission, RendererError> {
        self.prepared(request, |prepared| {
            let Prepared { engine, request, .. } = prepared;
            let files = &Wanted { files, request };
            let below = Below { files, folder: &request.folder };
            let mut sources;
            let documents = match &request.builder {
                Builder::None => {
                    let roles = manifests(&below)?;
                    sources = engine.open(&below, &roles)?;
                    request.check()?;
                    engine.documents(&below, &roles, &mut sources)?
                }
                // These may reach files beside the folder.
                Builder::Kustomize => {
                    let programs = Programs { network: engine.rule.network, ..self.programs.clone() };
                    let built = kustomize::build(engine, files, &request.folder, &programs, request)?;
                    request.check()?;
                    sources = built.sources;
                    engine.built(&built.stream, &mut sources)?
                }
                Builder::Helm(how) => {
                    let how = prepared.decision.helm(how, engine.rule)?;
                    let built =
                        helm::build(engine, files, &request.folder, &how, &self.programs.helm, request)?;
                    request.check()?;
                    sources = built.sources;
                    prepared.check_deferred_chart(&sources)?;
                    engine.built(&built.stream, &mut sources)?
                }
            };
            prepared.emit(&sources, documents)
        })
    }

    /// Renders a stream, which was built of `files` if there are any.
    ///
    /// # Errors
    /// If anything of it is refused; then nothing comes out.
    pub fn render_stream(
        &self,
        stream: &SecretBytes,
        files: Option<&dyn Files>,
        request: &Request,
    ) -> Result<Emission, RendererError> {
        self.prepared(request, |prepared| {
            let Prepared { engine, request, .. } = prepared;
            let none = Memory::default();
            let files = &Wanted { files: files.unwrap_or(&none), request };
            // Only what the stream was built of has to be opened.
            let (mut sources, failed) = engine.open_lenient(files, &selkie::render::by_name(files))?;
            request.check()?;
            let documents = engine.stream(stream, &mut sources).map_err(|error| because(error, failed))?;
            prepared.emit(&sources, documents)
        })
    }

    /// Decides what is allowed for a request, and does something with it while somebody waits.
    fn prepared<T>(
        &self,
        request: &Request,
        work: impl FnOnce(&Prepared<'_>) -> Result<T, RendererError>,
    ) -> Result<T, RendererError> {
        let (decision, mode) = self.decide(request)?;
        let request = &decision.request(request);
        request.check()?;
        let services = self.services(&decision, mode)?;
        let services: Option<Vec<&dyn KeyService>> =
            services.as_ref().map(|services| services.iter().map(AsRef::as_ref).collect());
        let of_rule = match &decision.rule {
            Some(rule) => self.services.sealing_keys(&rule.sealing_keys, KEYS_AGE)?,
            None => None,
        };
        let own = self.sealing_keys.as_ref().filter(|_| decision.rule.is_none());
        let limits = decision.limits(&self.limits);
        let engine = Engine {
            services: services.as_deref(),
            sealing_keys: of_rule.as_deref().or(own),
            rule: decision.rule(&self.rule),
            limits: &limits,
        };
        let result = work(&Prepared { decision: &decision, mode, engine: &engine, request });
        // That nobody waits looks like a file that cannot be read, or a program that fails.
        result.or_else(|error| request.check().and(Err(error)))
    }

    /// Returns how much may be read for a request.
    ///
    /// # Errors
    /// If the policy refuses it.
    pub fn limits_for(&self, request: &Request) -> Result<Limits, PolicyRefusal> {
        Ok(self.decide(request)?.0.limits(&self.limits))
    }

    /// Decides what is allowed for a request, and what comes out.
    ///
    /// # Errors
    /// If the policy refuses it, or the mode is not set up.
    pub fn decide(&self, request: &Request) -> Result<(Decision, &EmitMode), PolicyRefusal> {
        let own = (!self.mode_is_open).then(|| self.mode.name());
        let decision = self.policy.decide(&request.origin, request.mode.or(own))?;
        let name = decision.mode.unwrap_or_else(|| self.mode.name());
        if name == self.mode.name() {
            return Ok((decision, &self.mode));
        }
        let mode = self.further_modes.iter().find(|mode| mode.name() == name);
        let is_offered = |mode: &EmitMode| match &self.offered {
            Some(offered) => offered.contains(&mode.name()),
            None => !mode.needs_keys(),
        };
        match (&decision.rule, mode) {
            (Some(_), Some(mode)) => Ok((decision, mode)),
            (None, Some(mode)) if is_offered(mode) => Ok((decision, mode)),
            (None, _) => Err(PolicyRefusal::NotOffered { wanted: name.to_owned() }),
            (Some(_), None) => Err(PolicyRefusal::NotSetUp { mode: name, flags: flags_of(name) }),
        }
    }

    /// Returns what unwraps data keys, none where the mode asks for no keys.
    fn services(&self, decision: &Decision, mode: &EmitMode) -> Result<Option<Arc<Services>>, RendererError> {
        if !mode.needs_keys() {
            return Ok(None);
        }
        let access = decision.access(|| Access::Everything(self.key_paths.clone()));
        Ok(Some(self.services.services(&access, KEYS_AGE)?))
    }
}

/// Puts Secrets that say no namespace into the one that the objects are for, where they are sealed for one.
fn place(documents: &mut [Document], mode: &EmitMode, namespace: &str) {
    if namespace.is_empty() || !matches!(mode, EmitMode::Reseal(_)) {
        return;
    }
    for Document { object, .. } in documents {
        let is_secret = object["apiVersion"] == "v1" && object["kind"] == "Secret";
        if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| is_secret) {
            let said = metadata.get("namespace").and_then(Json::as_str).unwrap_or_default();
            if said.is_empty() {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
        }
    }
}

/// Returns the flags that set up a mode.
fn flags_of(mode: &str) -> &'static str {
    match mode {
        "reseal" => "--cert and --reseal-key",
        _ => "--mode",
    }
}

impl Request {
    /// Makes sure that somebody waits still.
    ///
    /// # Errors
    /// If the deadline has passed, or whoever asked has gone.
    pub fn check(&self) -> Result<(), RendererError> {
        if self.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            return Err(RendererError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(RendererError::Timeout),
            _ => Ok(()),
        }
    }

    /// Returns whether somebody waits still.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.check().is_ok()
    }
}

impl Request {
    /// Unpacks an archive, in memory that is waited for while somebody waits for this request. Called on a thread that may
    /// wait.
    ///
    /// # Errors
    /// If it cannot be unpacked, or nobody waits any more.
    pub fn unpack(&self, archive: &[u8], limits: &Limits, held: &mut Held) -> Result<Archive, RendererError> {
        let mut count = |bytes| {
            tokio::runtime::Handle::current().block_on(async {
                let mut grow = std::pin::pin!(held.grow(bytes));
                while self.is_wanted() {
                    if tokio::time::timeout(LOOK, &mut grow).await.is_ok() {
                        return Ok(());
                    }
                }
                Err(given_up("the archive"))
            })
        };
        let unpacked = Archive::unpack_counted(archive, limits, &mut count).map_err(RenderError::from);
        let unpacked = unpacked.map_err(RendererError::from);
        self.check().and(unpacked)
    }
}

/// Says which file could not be opened, where a stream holds what is in none.
fn because(error: RenderError, failed: Vec<(String, RenderError)>) -> RendererError {
    let is_left = matches!(
        error,
        RenderError::LeftEncrypted { .. } | RenderError::Mac { verdict: MacVerdict::SourceUnavailable, .. }
    );
    match failed.into_iter().next().filter(|_| is_left) {
        Some((file, source)) => {
            RendererError::Unopened { left: Box::new(error), file, source: Box::new(source) }
        }
        None => error.into(),
    }
}

/// Says that nobody waits for what a file is read for.
fn given_up(path: &str) -> FilesError {
    FilesError::Io { path: path.to_owned(), source: std::io::Error::other("nobody waits for it") }
}

/// What a request is worked for with.
struct Prepared<'a> {
    decision: &'a Decision,
    mode: &'a EmitMode,
    engine: &'a Engine<'a>,
    request: &'a Request,
}

impl Prepared<'_> {
    fn emit(&self, sources: &Sources, mut documents: Vec<Document>) -> Result<Emission, RendererError> {
        self.request.check()?;
        place(&mut documents, self.mode, &self.request.origin.namespace);
        let mut emission = emit(self.engine.rule, self.engine.limits, sources, &documents, self.mode)?;
        emission.warnings.extend(self.decision.warning.clone());
        Ok(emission)
    }
}

impl Prepared<'_> {
    /// Makes sure that no chart is deferred whose values are encrypted: a SopsSecret carries a file, and what a chart makes
    /// of a value may hang on it in ways that nobody sees without keys.
    fn check_deferred_chart(&self, sources: &Sources) -> Result<(), RenderError> {
        match sources.iter().find(|source| matches!(source.role, Role::Values(_))) {
            Some(source) if matches!(self.mode, EmitMode::Defer(_)) => Err(RenderError::Mode {
                place: source.path.clone(),
                reason: "is encrypted, and values of a chart cannot be deferred; use the mode reseal"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Files that can be read as long as somebody waits for what is made of them.
struct Wanted<'a> {
    files: &'a dyn Files,
    request: &'a Request,
}

impl Files for Wanted<'_> {
    fn paths(&self) -> Vec<String> {
        self.files.paths()
    }

    fn read(&self, path: &str) -> Result<SecretBytes, FilesError> {
        if self.request.is_wanted() { self.files.read(path) } else { Err(given_up(path)) }
    }
}

/// What was built of files under marks.
pub struct Built {
    /// The stream, in which marks stand.
    pub stream: SecretBytes,
    /// The encrypted files that it was built of.
    pub sources: Sources,
}

/// The files below a folder of others.
struct Below<'a> {
    files: &'a dyn Files,
    folder: &'a str,
}

impl Files for Below<'_> {
    fn paths(&self) -> Vec<String> {
        if self.folder.is_empty() {
            return self.files.paths();
        }
        let prefix = format!("{}/", self.folder);
        self.files.paths().into_iter().filter(|path| path.starts_with(&prefix)).collect()
    }

    fn read(&self, path: &str) -> Result<SecretBytes, selkie::render::FilesError> {
        self.files.read(path)
    }
}

/// How long nobody looks whether somebody waits still.
const LOOK: Duration = Duration::from_millis(100);

/// How long keys, and what they unwrapped, are kept.
pub const KEYS_AGE: Duration = Duration::from_secs(300);
