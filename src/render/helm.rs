//! Helm, run over marked files.
//!
//! A chart is rendered with marks, with other marks for the same values, and with the values. Where the first two are
//! the same but for the marks, and the values in the place of the marks make the third, there a value is as it is. All
//! else is *derived*: computed of values. In a Secret what was derived gets a mark of its own, elsewhere it is refused.
//! Without keys, values of the same types stand in for those that are not known, see `stand_in.rs`.
//!
//! What a chart makes of chance alone is not looked at: a chart without anything encrypted is rendered once, and one that
//! draws random values gives others each time, as with Helm itself.
//!
//! Invariants: nothing is on a disk, the chart and its values are memory that Helm inherits; nothing of what Helm says
//! when it is handed values is told; Helm reaches no cluster, no network, no plugin and no file.

mod archive;
mod arguments;
mod chart;
mod compare;
mod error;
mod files;
mod ignore;
mod schema;
mod stand_in;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use selkie::manifest::{print_yaml, read_objects};
use selkie::render::{Engine, Files, Mark, ValueKind};
use selkie::secret::SecretBytes;
use serde_json::Value as Json;

use super::child::{self, ChildError, Handed};
use super::renderer::{Built, Request};
use arguments::{Argument, ValuesFile};
use chart::{Chart, Pass};
use compare::{Derived, Meaning, Rendered, at, at_mut, compare, decode_base64, encode_base64, name_of};
use stand_in::StandIns;

pub use arguments::ArgumentError;
pub use error::HelmError;
pub use ignore::IgnoreError;
pub use schema::SchemaError;

/// How a chart is rendered.
#[derive(Clone, Debug, Default)]
pub struct Helm {
    /// The name of the release.
    pub release: String,
    /// The namespace of the release.
    pub namespace: String,
    /// Files with values, relative to the chart, the last one winning. Behind a slash, or a name with a dollar such as
    /// `$values/`, they are meant from the root of the files. `secrets://` and the like before them changes nothing.
    pub values: Vec<String>,
    /// Values as `--set` has them.
    pub set: Vec<String>,
    /// Further arguments of `helm template`, and `--allow-random`, which lets Secrets hold what is not the same each time.
    pub arguments: Vec<String>,
}

/// Makes sure that somebody waits still.
fn in_time(deadline: Option<Instant>) -> Result<(), HelmError> {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => Err(HelmError::Timeout),
        _ => Ok(()),
    }
}

/// Makes sure that a path of values, as [`Helm::values`] has it, is one of a file that is rendered with a chart.
///
/// # Errors
/// If it leads out, or is an address.
pub fn check_values(folder: &str, text: &str) -> Result<(), ArgumentError> {
    ValuesFile::parse(folder, text).map(drop)
}

/// Renders the chart in a folder: opens what is encrypted, hands all files to Helm with marks in them, tells by
/// differences where values are, and returns what it says.
///
/// # Errors
/// If a file is refused, Helm fails, or a value is used where it may not.
pub fn build(
    engine: &Engine<'_>,
    files: &dyn Files,
    folder: &str,
    how: &Helm,
    program: &Path,
    request: &Request,
) -> Result<Built, HelmError> {
    let values: Result<Vec<_>, _> = how.values.iter().map(|text| ValuesFile::parse(folder, text)).collect();
    let values = values?;
    let arguments = Argument::parse(folder, &how.arguments)?;
    let set_files = arguments.iter().filter_map(|argument| match argument {
        Argument::SetFile(_, file) => Some(file),
        _ => None,
    });
    let chart = Chart::open(
        engine,
        files,
        folder,
        &values.iter().collect::<Vec<_>>(),
        &set_files.collect::<Vec<_>>(),
        request.deadline,
    )?;
    if !arguments.contains(&Argument::SkipSchema) {
        chart.check_schemas(engine.limits, request.deadline)?;
    }
    let run = Run { engine, chart, how, values, arguments, program, request };
    run.build()
}

/// A chart that is being rendered.
struct Run<'a> {
    engine: &'a Engine<'a>,
    chart: Chart,
    how: &'a Helm,
    values: Vec<ValuesFile>,
    arguments: Vec<Argument>,
    program: &'a Path,
    request: &'a Request,
}

impl Run<'_> {
    fn build(self) -> Result<Built, HelmError> {
        if self.chart.is_clear() {
            let stream = self.rendered(Pass::Marks)?;
            return Ok(Built { stream, sources: self.chart.sources });
        }
        let mut passes = vec![Pass::Marks, Pass::OtherMarks];
        if self.engine.services.is_some() {
            passes.push(Pass::Values);
        }
        let stand_ins = self.chart.stand_ins();
        if self.chart.has_closed() {
            passes.push(Pass::OtherValues);
        }
        let mut rendered = self.objects_of(&passes)?;
        let tried = self.tried(stand_ins)?;
        let compared = {
            let values = rendered[2..].iter().map(Vec::as_slice).collect();
            let stand_ins =
                tried.iter().map(|(number, objects)| (&stand_ins[*number], objects.as_slice())).collect();
            let rendered = Rendered { marks: &rendered[0], other: &rendered[1], values, stand_ins };
            let (marks, other) = (self.chart.sources.marks(), self.chart.other_marks());
            compare(&rendered, &Meaning { marks, other, rule: self.engine.rule })
        };
        let derived = match compared {
            Err(HelmError::Closed { place, path }) => {
                return Err(match self.chart.into_closed() {
                    Some((file, error)) => HelmError::ClosedFile { place, path, file, source: error.into() },
                    None => HelmError::Closed { place, path },
                });
            }
            compared => compared?,
        };
        let mut objects = rendered.swap_remove(0);
        if !derived.is_empty() {
            self.refuse_random(&objects, &derived)?;
        }
        self.filled(&mut objects, derived)
    }

    /// Renders the chart in several passes at once.
    fn objects_of(&self, passes: &[Pass]) -> Result<Vec<Vec<Json>>, HelmError> {
        thread::scope(|scope| {
            let start = |&pass: &Pass| scope.spawn(move || self.objects(pass));
            let started: Vec<_> = passes.iter().map(start).collect();
            // The first one tells most of what is wrong.
            started
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    /// Renders the chart with what stands in for values that are not known, each with its number. Where Helm refuses one
    /// of the texts that are tried, it refuses a value like it, too, so that nothing is to be known of it.
    fn tried(&self, stand_ins: &[StandIns]) -> Result<Vec<(usize, Vec<Json>)>, HelmError> {
        let mut tried = Vec::with_capacity(stand_ins.len());
        let numbers: Vec<_> = (0..stand_ins.len()).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let rendered: Vec<_> = thread::scope(|scope| {
                let start = |&number: &usize| scope.spawn(move || self.objects(Pass::StandIn(number)));
                let started: Vec<_> = numbers.iter().map(start).collect();
                let wait = |thread: thread::ScopedJoinHandle<'_, _>| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                started.into_iter().map(wait).collect()
            });
            for (&number, objects) in numbers.iter().zip(rendered) {
                match objects {
                    Ok(objects) => tried.push((number, objects)),
                    Err(HelmError::Failed { .. } | HelmError::Output(_)) if stand_ins[number].may_fail() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(tried)
    }

    fn objects(&self, pass: Pass) -> Result<Vec<Json>, HelmError> {
        let stream = self.rendered(pass)?;
        read_objects(stream.expose_secret()).map_err(|error| {
            if pass.holds_values() { HelmError::OutputWithValues } else { HelmError::Output(error) }
        })
    }

    /// Makes sure that what was computed of values is the same when it is computed again.
    fn refuse_random(&self, objects: &[Json], derived: &[Derived]) -> Result<(), HelmError> {
        let again = self.objects(Pass::Marks)?;
        let is_allowed = self.arguments.contains(&Argument::AllowRandom);
        for place in derived {
            let before = at(&objects[place.object], &place.steps);
            let after = again.get(place.object).and_then(|object| at(object, &place.steps));
            if before != after && !(is_allowed && place.value.is_some()) {
                return Err(HelmError::Random {
                    place: name_of(&objects[place.object]),
                    path: place.path.clone(),
                });
            }
        }
        Ok(())
    }

    /// Puts marks in the place of what was computed of values.
    fn filled(mut self, objects: &mut [Json], derived: Vec<Derived>) -> Result<Built, HelmError> {
        let paths: Vec<_> = self.chart.sources.iter().map(|source| source.path.as_str()).collect();
        let source = paths.join(", ");
        let key: String = self.chart.sources.marks().iter().map(Mark::word).collect();
        for place in derived {
            let Some(value) = place.value else { continue };
            let name = name_of(&objects[place.object]);
            let (kind, text) = match &value.text {
                None => (if value.is_base64 { ValueKind::Bytes } else { ValueKind::Text }, None),
                Some(text) if value.is_base64 => match decode_base64(&compare::text_of(text)) {
                    Some(bytes) => (ValueKind::Bytes, Some(bytes)),
                    None => return Err(HelmError::NotBase64 { place: name, path: place.path }),
                },
                Some(text) => (kind_of(text), Some(SecretBytes::from(compare::text_of(text)))),
            };
            let Some(node) = at_mut(&mut objects[place.object], &place.steps) else { continue };
            let mark = Mark::new(key.as_bytes(), &source, &format!("{name}: {}", place.path), kind, text);
            let id = self.chart.sources.add_mark(mark);
            let word = self.chart.sources.marks().get(id).word();
            *node = if value.is_base64 { encode_base64(word).into() } else { word.into() };
        }
        let mut stream = SecretBytes::new();
        for object in objects {
            stream.push_str("---\n");
            stream.extend_from_slice(print_yaml(object).expose_secret());
        }
        Ok(Built { stream, sources: self.chart.sources })
    }

    /// Runs Helm, and returns what it says.
    fn rendered(&self, pass: Pass) -> Result<SecretBytes, HelmError> {
        let io = |source| ChildError::Io { program: self.program.display().to_string(), source };
        let hand = |content: &SecretBytes| Handed::new(content.expose_secret()).map_err(io);
        let home = tempfile::Builder::new().prefix("selkie-").tempdir().map_err(io)?;
        let archive = hand(&self.chart.archive(pass)?)?;
        let mut handed = vec![("the chart".to_owned(), archive)];
        let mut words: Vec<OsString> = vec!["template".into()];
        if !self.how.namespace.is_empty() {
            words.push(format!("--namespace={}", self.how.namespace).into());
        }
        for file in &self.values {
            // One that must be there was read before.
            let Some(content) = self.chart.named(file, pass)? else { continue };
            let values = hand(&content)?;
            words.push(format!("--values={}", values.path()).into());
            handed.push((file.path.clone(), values));
        }
        words.extend(self.how.set.iter().map(|set| format!("--set={set}").into()));
        let skips =
            self.arguments.contains(&Argument::SkipSchema) || !pass.holds_values() && !self.chart.is_clear();
        if skips && self.chart.has_schema() {
            // A mark is not of the type that it stands for.
            words.push("--skip-schema-validation".into());
        }
        for argument in &self.arguments {
            match argument {
                Argument::AllowRandom | Argument::SkipSchema => {}
                Argument::Plain(plain) => words.extend(plain.iter().map(OsString::from)),
                Argument::SetFile(name, file) => {
                    let Some(content) = self.chart.named(file, pass)? else { continue };
                    let value = hand(&content)?;
                    words.push(format!("--set-file={name}={}", value.path()).into());
                    handed.push((file.path.clone(), value));
                }
            }
        }
        let release = if self.how.release.is_empty() { RELEASE } else { &self.how.release };
        words.extend(["--".into(), release.into(), handed[0].1.path().into()]);
        let mut command = Command::new(self.program);
        command.args(words).env_clear().current_dir(home.path());
        command
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("KUBECONFIG", home.path().join("none"));
        for name in HOMES {
            command.env(name, home.path());
        }
        command.env("HELM_PLUGINS", home.path().join("plugins"));
        // Nothing listens there: what would be fetched nevertheless is not.
        command.envs(PROXIES.iter().map(|name| (name, "http://127.0.0.1:9")));
        let all: Vec<_> = handed.iter().map(|(_, handed)| handed).collect();
        let ended =
            child::run(&mut command, &all, self.request.deadline, self.engine.limits.output_bytes, &|| {
                self.request.is_wanted()
            })?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        if pass.holds_values() {
            return Err(HelmError::FailedWithValues);
        }
        Err(HelmError::Failed { said: self.said(&ended.stderr, &handed) })
    }

    /// Returns what Helm says, with the names of files in the place of those that it knows, and without marks.
    fn said(&self, stderr: &SecretBytes, handed: &[(String, Handed)]) -> String {
        let mut said = String::from_utf8_lossy(stderr.expose_secret()).trim().to_owned();
        for (name, handed) in handed.iter().rev() {
            said = said.replace(&handed.path(), name);
        }
        for mark in self.chart.sources.marks().iter() {
            if said.contains(mark.word()) {
                said = said.replace(mark.word(), &format!("(a decrypted value of {})", mark.source));
            }
        }
        let said = said.strip_prefix("Error: ").unwrap_or(&said);
        said.chars().take(SAID).collect()
    }
}

impl Pass {
    /// Returns whether Helm is handed values.
    const fn holds_values(self) -> bool {
        matches!(self, Self::OtherValues | Self::Values)
    }
}

fn kind_of(value: &Json) -> ValueKind {
    match value {
        Json::Bool(_) => ValueKind::Bool,
        Json::Number(number) if number.is_i64() => ValueKind::Int,
        Json::Number(_) => ValueKind::Float,
        _ => ValueKind::Text,
    }
}

/// The name of a release that has none, as Helm has it.
const RELEASE: &str = "release-name";

/// What tells Helm where its files are.
const HOMES: &[&str] = &["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];

/// How often Helm runs at once.
const AT_ONCE: usize = 3;

/// What tells programs how to reach a network.
const PROXIES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/// How much is told of what Helm says.
const SAID: usize = 4096;
