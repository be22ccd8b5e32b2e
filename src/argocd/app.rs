//! An application, rendered: which folder, what builds it, and for whom.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use selkie::render::{Archive, Emission, Files, FilesError, Limits, is_kustomization};

use super::error::AppError;
use super::facts::Facts;
use super::parameters::{BuilderName, Parameters};
use crate::render::helm::Helm;
use crate::render::renderer::{Builder, Renderer, RendererError, Request};
use crate::render::settings::Mode;
use crate::shares::Held;

/// An application of which somebody wants the manifests.
pub(super) struct App<'a> {
    facts: &'a Facts,
    /// Its folder among the files.
    folder: String,
    parameters: Parameters,
    waiting: Waiting,
}

/// Whether somebody waits for an answer.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    /// When whoever asked gives up.
    pub deadline: Option<Instant>,
    /// Whether whoever asked has gone.
    pub gone: Arc<AtomicBool>,
}

impl<'a> App<'a> {
    /// Takes what is said of an application, in a folder of a repository.
    pub(super) fn new(facts: &'a Facts, path: &str, waiting: Waiting) -> Result<Self, AppError> {
        let folder = folder(path)?;
        let parameters = Parameters::read(facts, &folder)?;
        Ok(Self { facts, folder, parameters, waiting })
    }

    /// Returns how much may be read of its repository.
    pub(super) fn limits(&self, renderer: &Renderer) -> Result<Limits, AppError> {
        Ok(renderer.limits_for(&self.request(Builder::None)).map_err(RendererError::from)?)
    }

    /// Renders the application.
    pub(super) fn render(&self, files: &dyn Files, renderer: &Renderer) -> Result<Emission, AppError> {
        let request = self.request(self.builder(files)?);
        renderer.render(files, &request).map_err(refused)
    }

    /// Unpacks its repository.
    pub(super) fn unpack(
        &self,
        archive: &[u8],
        limits: &Limits,
        held: &mut Held,
    ) -> Result<Archive, AppError> {
        self.request(Builder::None).unpack(archive, limits, held).map_err(refused)
    }

    /// Returns whether its folder holds something that is encrypted.
    pub(super) fn is_encrypted(&self, files: &dyn Files) -> bool {
        let is_encrypted = |path: &String| {
            // What cannot be read is told when it is rendered.
            let Ok(text) = files.read(path) else { return false };
            str::from_utf8(text.expose_secret())
                .is_ok_and(|text| SIGNS.iter().any(|sign| text.contains(sign)))
        };
        files.paths().iter().any(|path| below(&self.folder, path).is_some() && is_encrypted(path))
    }

    fn request(&self, builder: Builder) -> Request {
        Request {
            origin: self.facts.origin(&self.folder),
            folder: self.folder.clone(),
            builder,
            mode: self.parameters.mode.map(Mode::name),
            deadline: self.waiting.deadline,
            cancel: Some(Arc::clone(&self.waiting.gone)),
        }
    }

    fn builder(&self, files: &dyn Files) -> Result<Builder, AppError> {
        let name = match self.parameters.builder {
            BuilderName::Auto => self.builder_of(files)?,
            name => name,
        };
        Ok(match name {
            BuilderName::Helm => Builder::Helm(self.helm()),
            BuilderName::Kustomize => Builder::Kustomize,
            BuilderName::Auto | BuilderName::Directory => Builder::None,
        })
    }

    /// Returns what builds the files, by what they are.
    fn builder_of(&self, files: &dyn Files) -> Result<BuilderName, AppError> {
        let paths = files.paths();
        let inside: Vec<_> = paths.iter().filter_map(|path| below(&self.folder, path)).collect();
        if inside.is_empty() {
            return Err(FilesError::Missing { path: self.folder.clone() }.into());
        }
        let has = |is_it: &dyn Fn(&str) -> bool| inside.iter().any(|path| !path.contains('/') && is_it(path));
        Ok(if has(&is_kustomization) {
            BuilderName::Kustomize
        } else if has(&|name| name == "Chart.yaml") {
            BuilderName::Helm
        } else {
            BuilderName::Directory
        })
    }

    /// Renders a chart as Argo CD does.
    fn helm(&self) -> Helm {
        let mut arguments = vec!["--include-crds".to_owned()];
        arguments.extend(self.facts.kube_version().map(|version| format!("--kube-version={version}")));
        arguments.extend(self.facts.api_versions().map(|version| format!("--api-versions={version}")));
        let release = self.parameters.release.as_deref().or(self.facts.app());
        Helm {
            release: release.unwrap_or("release-name").to_owned(),
            namespace: self.facts.namespace().to_owned(),
            values: self.parameters.values.clone(),
            set: Vec::new(),
            arguments,
        }
    }
}

/// Says what can be done where time was short.
fn refused(error: RendererError) -> AppError {
    match error {
        RendererError::Timeout => AppError::Timeout("rendering takes too long"),
        error => error.into(),
    }
}

/// Returns the folder of an application, as it is sent, as one of the files.
fn folder(path: &str) -> Result<String, AppError> {
    let leads_out = path.starts_with('/') || path.contains('\0') || path.split('/').any(|name| name == "..");
    if leads_out {
        return Err(AppError::Path(path.to_owned()));
    }
    let names: Vec<_> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    Ok(names.join("/"))
}

fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    if folder.is_empty() { Some(path) } else { path.strip_prefix(folder)?.strip_prefix('/') }
}

/// What tells that a file is encrypted.
const SIGNS: [&str; 2] = ["ENC[AES256_GCM,", "kind: SealedSecret"];

#[cfg(test)]
mod tests {
    use selkie::render::Memory;

    use super::*;

    fn files(paths: &[&str]) -> Memory {
        let mut files = Memory::default();
        for path in paths {
            files.insert(path, "x").expect("it is inside");
        }
        files
    }

    #[test]
    fn folders_are_looked_at_name_by_name() {
        for (path, expected) in [(".", ""), ("", ""), ("apps/./cart/", "apps/cart"), ("..a", "..a")] {
            assert_eq!(folder(path).expect("it is inside"), expected);
        }
        for path in ["..", "../x", "apps/../../x", "apps/../x", "/etc", "a\0b"] {
            assert!(matches!(folder(path), Err(AppError::Path(told)) if told == path));
        }
    }

    #[test]
    fn what_builds_is_told_by_the_files() {
        let facts = Facts::default();
        for (paths, expected) in [
            (&["apps/cart/kustomization.yaml", "apps/cart/Chart.yaml"] as &[&str], BuilderName::Kustomize),
            (&["apps/cart/Chart.yaml", "apps/cart/templates/kustomization.yaml"], BuilderName::Helm),
            (&["apps/cart/a.yaml", "kustomization.yaml", "apps/cart-2/Chart.yaml"], BuilderName::Directory),
        ] {
            let app = App::new(&facts, "apps/cart", Waiting::default()).expect("it is inside");
            assert_eq!(app.builder_of(&files(paths)).expect("it is there"), expected, "{paths:?}");
        }
        let app = App::new(&facts, "apps/none", Waiting::default()).expect("it is inside");
        let missing = app.builder_of(&files(&["apps/none-2/a.yaml", "apps/none.yaml"]));
        assert!(matches!(missing, Err(AppError::Files(FilesError::Missing { path })) if path == "apps/none"));
    }

    #[test]
    fn charts_are_rendered_as_argo_cd_does() {
        let facts = [
            ("ARGOCD_APP_NAME", "team_cart"),
            ("ARGOCD_APP_NAMESPACE", "shop"),
            ("KUBE_VERSION", "1.33.0"),
            ("KUBE_API_VERSIONS", "v1,apps/v1"),
        ];
        let facts =
            Facts::new(facts.map(|(name, value)| (name.to_owned(), value.to_owned()))).expect("clear");
        let app = App::new(&facts, ".", Waiting::default()).expect("it is inside");
        let helm = app.helm();
        assert_eq!((helm.release.as_str(), helm.namespace.as_str()), ("cart", "shop"));
        assert_eq!(
            helm.arguments,
            ["--include-crds", "--kube-version=1.33.0", "--api-versions=v1", "--api-versions=apps/v1"]
        );
    }
}
