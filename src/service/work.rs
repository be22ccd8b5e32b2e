//! Rendering for callers: so much at once, for so long, and only while somebody waits.
//!
//! Invariants: bodies and work have a bound, each and all together; who goes away is worked for no longer than until the
//! next step, and programs that build are ended; nothing of an answer exists before all of it was verified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use selkie::render::{Emission, Explanation, Files, Limits, normalized};
use selkie::secret::SecretBytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::{Class, Failure};
use super::message::{Options, Report};
use crate::render::helm::Helm;
use crate::render::policy::RenderPolicy;
use crate::render::renderer::{Builder, Origin, Renderer, RendererError, Request};
use crate::shares::{Budget, Held, Places};

/// What callers may take of the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How many bytes a body may have.
    pub(super) body: usize,
    /// How many bytes all bodies and unpacked archives take at once, one request aside.
    pub(super) memory: u64,
    /// How many requests are worked for at once, those of a user in half of the places; further ones wait.
    pub(super) at_once: usize,
    /// How long a request may take, with all the waiting.
    pub(super) time: Duration,
    /// How long more of a body may let wait for itself.
    pub(super) pause: Duration,
}

/// Renders for callers.
pub(super) struct Service {
    renderer: Renderer,
    bounds: Bounds,
    memory: Arc<Budget>,
    turns: Places,
}

/// A body, or what is there of it. It is wiped when it is dropped.
pub(super) struct Content {
    bytes: SecretBytes,
    limit: usize,
    held: Held,
}

/// What a caller sends.
pub(super) enum Input {
    /// A YAML stream, and an archive of what it was built of.
    Stream(Content, Option<Content>),
    /// An archive.
    Tree(Content),
}

/// What a caller wants.
pub(super) struct Job {
    pub(super) input: Input,
    pub(super) options: Options,
    pub(super) deadline: Instant,
    pub(super) caller: Caller,
}

/// Who asks: the number of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Caller(pub(super) u32);

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// An object of JSON on each line.
    Lines,
    /// A stream of YAML.
    Yaml,
}

/// What was rendered.
pub(super) struct Rendered {
    pub(super) report: Report,
    pub(super) text: SecretBytes,
}

impl Service {
    /// Returns a service.
    pub(super) fn new(renderer: Renderer, bounds: Bounds) -> Self {
        let (memory, turns) = (Budget::new(bounds.memory, bounds.body as u64), Places::new(bounds.at_once));
        Self { renderer, bounds, memory, turns }
    }

    /// Returns the modes that a caller may ask for, as far as no policy forbids it.
    pub(super) fn modes(&self) -> Vec<&'static str> {
        let renderer = &self.renderer;
        let mut modes = match (&renderer.offered, &renderer.policy) {
            (Some(offered), RenderPolicy::None) => offered.clone(),
            _ => {
                let all = [&renderer.mode].into_iter().chain(&renderer.further_modes);
                all.map(selkie::render::EmitMode::name).collect()
            }
        };
        modes.sort_unstable();
        modes.dedup();
        modes
    }

    /// Returns when the time of a request is over whose caller gave it some.
    pub(super) fn deadline(&self, time: Option<Duration>) -> Instant {
        let limit = self.bounds.time;
        Instant::now() + time.map_or(limit, |time| time.min(limit))
    }

    /// Returns a body of which nothing is there yet.
    pub(super) fn content(&self, caller: Caller) -> Content {
        let held = self.memory.hold(&caller.name());
        Content { bytes: SecretBytes::new(), limit: self.bounds.body, held }
    }

    /// Waits for more of a body, for a while.
    ///
    /// # Errors
    /// If it lets wait too long.
    pub(super) async fn more<T>(&self, more: impl Future<Output = T>) -> Result<T, Failure> {
        let pause = self.bounds.pause;
        timeout(pause, more).await.map_err(|_| {
            Failure::new(Class::Deadline, format!("nothing came of the body for {} s", pause.as_secs_f32()))
        })
    }

    /// Makes sure that keys can be read.
    ///
    /// # Errors
    /// If they cannot.
    pub(super) async fn check(self: Arc<Self>) -> Result<(), Failure> {
        let check = move || self.renderer.check_keys();
        tokio::task::spawn_blocking(check).await.map_err(|_| broken())?.map_err(Failure::from)
    }

    /// Renders.
    ///
    /// # Errors
    /// If anything is refused.
    pub(super) async fn render(self: Arc<Self>, job: Job, output: Output) -> Result<Rendered, Failure> {
        self.perform(job, move |renderer, request, files| {
            let emission = match files {
                Given::Stream(stream, files) => renderer.render_stream(stream, files, request),
                Given::Tree(files) => renderer.render(files, request),
            }?;
            let limits = renderer.limits_for(request).map_err(RendererError::from)?;
            let text = match output {
                Output::Lines => lines(&emission, &limits)?,
                Output::Yaml => emission.to_yaml(&limits)?,
            };
            let (_, mode) = renderer.decide(request).map_err(RendererError::from)?;
            Ok(Rendered { report: Report::of(mode.name(), &emission), text })
        })
        .await
    }

    /// Tells what is encrypted.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn explain(self: Arc<Self>, job: Job) -> Result<Vec<Explanation>, Failure> {
        self.perform(job, |renderer, request, files| {
            Ok(match files {
                Given::Stream(stream, files) => renderer.explain_stream(stream, files, request),
                Given::Tree(files) => renderer.explain(files, request),
            }?)
        })
        .await
    }

    /// Does work on a thread that may wait, while the caller does.
    async fn perform<T: Send + 'static>(
        self: Arc<Self>,
        job: Job,
        work: impl FnOnce(&Renderer, &Request, Given<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (deadline, caller) = (job.deadline, job.caller.name());
        let gone = Gone::default();
        let mode = self.mode(&job.options.mode)?;
        let request = request(job.options, deadline, &job.input)?;
        let request = Request { mode, cancel: Some(Arc::clone(&gone.0)), ..request };
        // What is refused asks for no turn.
        self.renderer.decide(&request).map_err(RendererError::from)?;
        let work = async {
            let turn = self.turns.acquire(&caller).await;
            let service = Arc::clone(&self);
            let work = move || {
                // Given back when the work ends, whether somebody still waits for it or not.
                let _turn = turn;
                let renderer = &service.renderer;
                let limits = renderer.limits_for(&request).map_err(RendererError::from)?;
                let mut held = service.memory.hold(&caller);
                let mut unpack =
                    |archive: &SecretBytes| request.unpack(archive.expose_secret(), &limits, &mut held);
                match &job.input {
                    Input::Stream(stream, sources) => {
                        let archive = sources.as_ref().map(|sources| unpack(&sources.bytes)).transpose()?;
                        let files = archive.as_ref().map(|files| files as &dyn Files);
                        work(renderer, &request, Given::Stream(&stream.bytes, files))
                    }
                    Input::Tree(archive) => {
                        let files = unpack(&archive.bytes)?;
                        work(renderer, &request, Given::Tree(&files))
                    }
                }
            };
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(broken()))
        };
        let late = |_| Failure::new(Class::Deadline, "not rendered in time");
        timeout_at(deadline, work).await.map_err(late)?
    }

    fn mode(&self, wanted: &str) -> Result<Option<&'static str>, Failure> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let modes = self.modes();
        let mode = modes.iter().copied().find(|&mode| mode == wanted);
        let refused = || {
            let modes = modes.join(", ");
            let detail =
                format!("this service renders in the modes {modes}; --modes or a policy allows others");
            Failure::new(Class::Refused, detail)
        };
        mode.map(Some).ok_or_else(refused)
    }
}

impl Caller {
    /// Returns what shares are kept by.
    pub(super) fn name(self) -> String {
        self.0.to_string()
    }
}

impl Content {
    /// Adds more of the body. Never waits: bodies that wait for each other would do so until their time is over.
    ///
    /// # Errors
    /// If it is more than one body, or all of them, may have.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.bytes.len().saturating_add(bytes.len()) > self.limit {
            let limit = self.limit;
            return Err(Failure::new(
                Class::TooLarge,
                format!("the body has more than {limit} bytes, the most that is read; --max-body raises it"),
            ));
        }
        if !self.held.try_grow(bytes.len() as u64) {
            let detail = "too many bodies are there at once; --max-memory allows more";
            return Err(Failure::new(Class::Unavailable, detail));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What work is done with.
enum Given<'a> {
    Stream(&'a SecretBytes, Option<&'a dyn Files>),
    Tree(&'a dyn Files),
}

/// Says when it is dropped that nobody waits any more.
#[derive(Default)]
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn request(options: Options, deadline: Instant, input: &Input) -> Result<Request, Failure> {
    let bad = |detail: &str| Failure::new(Class::BadInput, detail);
    let helm = options.helm.unwrap_or_default();
    let builder = match options.builder.as_str() {
        "" | "none" => Builder::None,
        "kustomize" => Builder::Kustomize,
        "helm" => Builder::Helm(Helm {
            release: if helm.release.is_empty() { "release-name".to_owned() } else { helm.release },
            namespace: helm.namespace,
            values: helm.values,
            set: helm.set,
            arguments: Vec::new(),
        }),
        _ => return Err(bad("the builder is none, kustomize or helm")),
    };
    let folder = normalized("", &options.folder)
        .ok_or_else(|| bad("the folder is not below the root of the archive"))?;
    if matches!(input, Input::Stream(..)) && !(matches!(builder, Builder::None) && folder.is_empty()) {
        return Err(bad("a stream was built already, and has no folders: send an archive"));
    }
    let origin = options.origin.unwrap_or_default();
    let origin = Origin {
        project: origin.project,
        namespace: origin.namespace,
        repository: origin.repository,
        path: origin.path,
    };
    Ok(Request { origin, folder, builder, mode: None, deadline: Some(deadline.into_std()), cancel: None })
}

fn lines(emission: &Emission, limits: &Limits) -> Result<SecretBytes, Failure> {
    let mut lines = SecretBytes::new();
    for object in &emission.objects {
        let line = serde_json::to_vec(object).map_err(|_| broken())?;
        lines.extend_from_slice(SecretBytes::from(line).expose_secret());
        lines.push(b'\n');
        let checked = limits.check_output(lines.len() as u64);
        checked.map_err(selkie::render::RenderError::from)?;
    }
    Ok(lines)
}

fn broken() -> Failure {
    Failure::new(Class::Internal, "the request broke off: this is a bug")
}
