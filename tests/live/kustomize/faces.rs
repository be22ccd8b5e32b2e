//! Kustomize with us as its plugin or function.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use super::place::{OURS, Place, entry, fails, find, objects, same};
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Kubectl.test("kustomize::keys", |program| keys_are_where_sops_has_them(&program)),
        Peer::Kubectl.test("kustomize::plugins", |program| plugins(&program, Form::Plugin)),
        Peer::Kustomize.test("kustomize::plugins", |program| plugins(&program, Form::Plugin)),
        Peer::Kubectl.test("kustomize::container_functions", |program| plugins(&program, Form::Container)),
        Peer::Kustomize.test("kustomize::container_functions", |program| plugins(&program, Form::Container)),
        Peer::Kustomize.test("kustomize::exec_functions", |program| plugins(&program, Form::Exec)),
        Peer::Kubectl
            .test("kustomize::what_is_dropped_is_found", |program| what_is_dropped_is_found(&program)),
    ]
}

/// How Kustomize starts us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Container,
    Exec,
    Plugin,
}

impl Form {
    /// Returns annotations of a configuration.
    fn annotations(self, kind: &str) -> String {
        let function = match self {
            Self::Container => "container:\n        image: example/selkie:v1".to_owned(),
            Self::Exec => format!("exec:\n        path: {kind}"),
            Self::Plugin => return String::new(),
        };
        format!("  annotations:\n    config.kubernetes.io/function: |\n      {function}\n")
    }

    fn config(self, version: &str, kind: &str, fields: &str) -> String {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: g\n{}{fields}",
            self.annotations(kind)
        )
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Exec => &["--enable-alpha-plugins", "--enable-exec"],
            _ => &["--enable-alpha-plugins"],
        }
    }

    /// Puts us where Kustomize finds us.
    fn install(self, place: &Place) -> Result<(), Failed> {
        match self {
            Self::Container => {
                place.stand_in("docker", &format!("exec {OURS} kustomize fn"))?;
            }
            // By the name of the kind, as `exec` has no arguments in every version.
            Self::Exec => {
                for kind in ["ksops", "SopsGenerator", "SopsTransformer"] {
                    symlink(OURS, place.path("programs").join(kind))?;
                }
            }
            Self::Plugin => {
                output(place.ours()?.args(["kustomize", "install"]))?;
            }
        }
        Ok(())
    }
}

fn secret(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  key: {value}\n")
}

fn plugins(program: &Path, form: Form) -> Result<(), Failed> {
    let place = Place::new()?;
    form.install(&place)?;
    let build = |folder: &str| place.build(program, folder, form.flags());
    place.encrypt("app/a.enc.yaml", &secret("a", "hunter2"))?;
    place.encrypt("app/cert.pem", "certificate")?;
    place.encrypt("app/b.env", "PASSWORD=a$b\n")?;
    let from = "secretFrom:\n- metadata:\n    name: made\n    annotations: {kustomize.config.k8s.io/needs-hash: 'true'}\n  files: [tls.crt=cert.pem]\n  envs: [b.env]\n";
    for (version, kind) in [("viaduct.ai/v1", "ksops"), ("selkie.dev/v1alpha1", "SopsGenerator")] {
        place.write("app/kustomization.yaml", "namePrefix: pre-\nnamespace: shop\ngenerators: [g.yaml]\n")?;
        place.write("app/g.yaml", &form.config(version, kind, &format!("files: [a.enc.yaml]\n{from}")))?;
        let found = objects(&build("app")?)?;
        let made = find(&found, "Secret", "pre-made-")?;
        same("files", &entry(find(&found, "Secret", "pre-a")?, "key")?, "hunter2")?;
        same("secretFrom", &entry(made, "tls.crt")?, "certificate")?;
        same("envs", &entry(made, "PASSWORD")?, "a$b")?;
        if found.len() != 2 || found.iter().any(|object| object["metadata"]["namespace"] != "shop") {
            return Err(format!("{kind} gives something else").into());
        }
    }
    // Resources are decrypted after they were renamed.
    place.write(
        "t/kustomization.yaml",
        "namePrefix: pre-\nbuildMetadata: [originAnnotations]\nresources: [s.enc.yaml, c.yaml]\ntransformers: [t.yaml]\n",
    )?;
    place.encrypt("t/s.enc.yaml", &secret("s", "hunter2"))?;
    place.write("t/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n")?;
    for fields in ["sources: [s.enc.yaml]\n", ""] {
        place.write("t/t.yaml", &form.config("selkie.dev/v1alpha1", "SopsTransformer", fields))?;
        let found = objects(&build("t")?)?;
        same("a transformer", &entry(find(&found, "Secret", "pre-s")?, "key")?, "hunter2")?;
        find(&found, "ConfigMap", "pre-c")?;
        if found.len() != 2 {
            return Err("a transformer gives something else".into());
        }
    }
    refusals(&place, &build, form)
}

/// Whatever is wrong ends the build, and says nothing of what is secret.
fn refusals(
    place: &Place,
    build: &dyn Fn(&str) -> Result<std::process::Output, Failed>,
    form: Form,
) -> Result<(), Failed> {
    let generator = |fields: &str| place.write("app/g.yaml", &form.config("viaduct.ai/v1", "ksops", fields));
    for (fields, expected) in [
        ("files: [missing.yaml]\n", "missing.yaml"),
        ("files: [g.yaml]\n", "g.yaml: is not encrypted"),
        ("{}\n", ""),
        ("files: [a.enc.yaml, a.enc.yaml]\n", "already registered id"),
    ] {
        let fields = if fields == "{}\n" { "" } else { fields };
        generator(fields)?;
        fails(&build("app")?, expected, "hunter2")?;
    }
    let path = place.path("files/app/a.enc.yaml");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, text.replace("name: a\n", "name: other\n"))?;
    generator("files: [a.enc.yaml]\n")?;
    fails(&build("app")?, "MAC", "hunter2")?;
    fs::write(&path, text)?;
    fs::write(place.path("keys.txt"), "")?;
    fails(&build("app")?, "", "hunter2")
}

/// Keys are taken from a variable, or from the file that sops looks for, as users of KSOPS have them.
fn keys_are_where_sops_has_them(kubectl: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    Form::Plugin.install(&place)?;
    place.write("kustomization.yaml", "generators: [g.yaml]\n")?;
    place.write("g.yaml", &Form::Plugin.config("viaduct.ai/v1", "ksops", "files: [a.enc.yaml]\n"))?;
    place.encrypt("a.enc.yaml", &secret("a", "hunter2"))?;
    let build = |key: Option<&str>| {
        let mut command = place.command(kubectl)?;
        command.env_remove("SOPS_AGE_KEY_FILE").args(["kustomize", "--enable-alpha-plugins", "."]);
        command.envs(key.map(|key| ("SOPS_AGE_KEY", key)));
        Ok::<_, Failed>(command.output()?)
    };
    let key = fs::read_to_string(place.path("keys.txt"))?;
    fails(&build(None)?, "a.enc.yaml: cannot be decrypted", "hunter2")?;
    objects(&build(Some(&key))?)?;
    fails(&build(Some("AGE-SECRET-KEY-WRONG"))?, "SOPS_AGE_KEY", "WRONG")?;
    let folder = place.path("home/.config/sops/age");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("keys.txt"), key)?;
    objects(&build(None)?)?;
    Ok(())
}

/// An exec function is dropped by kubectl, which says that all is well.
fn what_is_dropped_is_found(kubectl: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("kustomization.yaml", "generators:\n- g.yaml\n")?;
    place.write("g.yaml", &Form::Exec.config("viaduct.ai/v1", "ksops", "files: [a.enc.yaml]\n"))?;
    place.encrypt("a.enc.yaml", &secret("a", "hunter2"))?;
    let check = |arguments: &[&str]| {
        Ok::<_, Failed>(place.ours()?.args(["kustomize", "check"]).args(arguments).output()?)
    };
    let built = place.build(kubectl, ".", &["--enable-alpha-plugins"])?;
    if !built.status.success() || !built.stdout.is_empty() || !built.stderr.is_empty() {
        return Err("kubectl does not drop it any more".into());
    }
    fails(&check(&["."])?, "g.yaml:1: ksops is a function of the form exec, which kubectl drops", "hunter2")?;
    // The plugin is there, but not installed.
    place.write("g.yaml", &Form::Plugin.config("viaduct.ai/v1", "ksops", "files: [a.enc.yaml]\n"))?;
    fails(&check(&["."])?, "is a plugin that is not installed here; run", "hunter2")?;
    Form::Plugin.install(&place)?;
    output(place.ours()?.args(["kustomize", "check", "."]))?;
    objects(&place.build(kubectl, ".", &["--enable-alpha-plugins"])?)?;
    // What is encrypted is passed on as it is.
    place.write("kustomization.yaml", "resources:\n- a.enc.yaml\n")?;
    let built = objects(&place.build(kubectl, ".", &[])?)?;
    if find(&built, "Secret", "a")?["sops"].is_null() {
        return Err("kubectl does not pass it on any more".into());
    }
    fails(&check(&["."])?, "kustomization.yaml:2: a.enc.yaml is encrypted, and is passed on so", "hunter2")?;
    output(place.ours()?.args(["kustomize", "check", "--for", "render", "."]))?;
    Ok(())
}
