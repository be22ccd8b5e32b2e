//! Generators: encrypted files as they are, and Secrets that are made of encrypted files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selkie::format::Format;
use selkie::manifest::{print_yaml, read_objects};
use selkie::render::{EmitMode, Memory, RenderError};
use selkie::secret::SecretBytes;
use selkie::tree::{MetadataEntry, Tree, Value};
use serde_json::{Map, Value as Json, json};

use super::config::{Config, SecretFrom};
use super::files::{Files, name_of};
use super::{FaceError, RendererError, godotenv};
use crate::render::renderer::{Renderer, Request};

/// Returns what a configuration generates, in its order.
pub(super) fn generate(
    renderer: &Renderer,
    files: &Files<'_>,
    config: &Config,
    request: &Request,
) -> Result<Vec<Json>, FaceError> {
    let failed =
        |source: RendererError| FaceError::Render { place: config.place.clone(), source: Box::new(source) };
    let mut objects = Vec::new();
    for path in &config.files {
        let text = manifests(files, path)?;
        let mut memory = Memory::default();
        memory.insert(&name_of(path), text).map_err(RenderError::from)?;
        let emission = renderer.render(&memory, request).map_err(failed)?;
        if emission.opened == 0 && !emission.objects.iter().all(is_sealed) {
            return Err(FaceError::Clear { path: path.clone() });
        }
        objects.extend(emission.objects);
    }
    for secret in &config.secrets {
        let assembled = assemble(files, config, secret)?;
        let quoted = config.is_godotenv && !assembled.lines.is_empty();
        let stream = print_yaml(&assembled.object);
        let emission = renderer.render_stream(&stream, Some(&assembled.sources), request).map_err(failed)?;
        let mut emitted = emission.objects;
        if quoted && matches!(renderer.mode, EmitMode::Plain) {
            emitted.iter_mut().for_each(|object| without_quotes(object, &assembled.lines));
        }
        objects.extend(emitted);
    }
    if objects.is_empty() && !renderer.rule.allow_empty {
        return Err(FaceError::Empty { place: config.place.clone() });
    }
    Ok(objects)
}

/// A Secret that holds what is encrypted, as it is in the files.
struct Assembled {
    object: Json,
    /// The files that single values are from.
    sources: Memory,
    /// The keys of what was a line of a dotenv file.
    lines: Vec<String>,
}

/// Returns a Secret that holds encrypted files, which the engine opens there, and lines of others.
fn assemble(files: &Files<'_>, config: &Config, secret: &SecretFrom) -> Result<Assembled, FaceError> {
    let mut data = Map::new();
    let (mut sources, mut keys) = (Memory::default(), Vec::new());
    let mut add = |key: &str, bytes: &[u8]| {
        if data.insert(key.to_owned(), STANDARD.encode(bytes).into()).is_none() {
            return Ok(());
        }
        let reason = format!("the key `{key}` is there twice");
        Err(FaceError::Config { place: config.place.clone(), reason })
    };
    for (key, path) in &secret.files {
        add(key, encrypted(files, path)?.expose_secret())?;
    }
    for path in &secret.envs {
        let text = encrypted(files, path)?;
        let failed = || FaceError::Config {
            place: path.clone(),
            reason: "is not a dotenv file that is encrypted as one; its name has to end in .env".to_owned(),
        };
        let tree = Format::Dotenv.read(text.expose_secret()).map_err(|_| failed())?;
        if *tree.metadata() == MetadataEntry::Absent {
            return Err(failed());
        }
        for (key, value) in lines(&tree) {
            let key = if config.is_godotenv { godotenv::key(&key).to_owned() } else { key };
            add(&key, &value)?;
            keys.push(key);
        }
        let name = name_of(path);
        let name = if name.ends_with(".env") { name } else { format!("{name}.env") };
        sources.insert(&name, text).map_err(RenderError::from)?;
    }
    let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": secret.metadata});
    if let Some(kind) = &secret.kind {
        object["type"] = kind.as_str().into();
    }
    if secret.is_immutable {
        object["immutable"] = true.into();
    }
    object["data"] = data.into();
    Ok(Assembled { object, sources, lines: keys })
}

/// Takes the quotes off values that were lines of dotenv files.
fn without_quotes(object: &mut Json, lines: &[String]) {
    for key in lines {
        let Some(value) = object["data"].get_mut(key.as_str()) else { continue };
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok()).map(SecretBytes::from);
        if let Some(decoded) = decoded {
            *value = STANDARD.encode(godotenv::value(decoded.expose_secret()).expose_secret()).into();
        }
    }
}

/// Returns the lines of a dotenv file, encrypted as they are.
fn lines(tree: &Tree) -> Vec<(String, Vec<u8>)> {
    let roots = tree.documents().iter().flat_map(|&root| tree.items(root));
    let line = |id| {
        let key = String::from_utf8_lossy(tree.key(id)?).into_owned();
        match tree.node(id).value {
            Value::Str(text) => Some((key, tree.bytes(text).to_vec())),
            _ => None,
        }
    };
    roots.filter_map(line).collect()
}

/// Reads a file that has to be encrypted by SOPS, in whatever format.
fn encrypted(files: &Files<'_>, path: &str) -> Result<SecretBytes, FaceError> {
    let text = files.read(path)?;
    let formats = [Format::from_file_name(path), Format::Yaml, Format::Json, Format::Dotenv, Format::Ini];
    let is_encrypted = |format: &Format| {
        let tree = format.read(text.expose_secret());
        tree.is_ok_and(|tree| matches!(tree.metadata(), MetadataEntry::Present(_)))
    };
    if formats.iter().any(is_encrypted) { Ok(text) } else { Err(FaceError::Clear { path: path.to_owned() }) }
}

/// Reads a file of manifests, each of which has to be encrypted: by SOPS, or as one that carries what is.
fn manifests(files: &Files<'_>, path: &str) -> Result<SecretBytes, FaceError> {
    let text = files.read(path)?;
    let clear = || FaceError::Clear { path: path.to_owned() };
    let failed = |source| FaceError::Object { what: path.to_owned(), source };
    let objects = read_objects(text.expose_secret()).map_err(failed)?;
    let is_encrypted = |object: &Json| object["sops"].is_object() || is_sealed(object);
    if objects.is_empty() || !objects.iter().all(is_encrypted) { Err(clear()) } else { Ok(text) }
}

/// Returns whether an object is a SealedSecret, which a controller opens.
fn is_sealed(object: &Json) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.starts_with("bitnami.com/") && object["kind"] == "SealedSecret"
}
