//! Charts rendered by the real Helm under marks, and our faces used by it.

mod faces;
mod kit;
mod traps;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use crate::peer::Peer;
use kit::{Kit, objects, same};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for peer in [Peer::Helm3, Peer::Helm4] {
        let mut test = |name: &str, run: fn(&Path) -> Result<(), Failed>| {
            tests.push(peer.test(name, move |helm| run(&helm)));
        };
        test("charts_are_rendered_as_with_decrypted_values", charts_are_rendered_alike);
        test("clear_charts_are_rendered_once", clear_charts_are_rendered_once);
        test("files_that_are_not_used_need_no_key", files_that_are_not_used_need_no_key);
        test("nothing_decrypted_is_where_others_look", nothing_decrypted_is_where_others_look);
        test("what_needs_no_keys_asks_for_none", what_needs_no_keys_asks_for_none);
        for (name, run) in traps::TESTS.iter().chain(faces::TESTS) {
            test(name, *run);
        }
    }
    tests
}

/// Returns a chart that does with values what charts do.
fn chart(helm: &Path) -> Result<Kit, Failed> {
    let kit = Kit::new(helm)?;
    kit.both("values.yaml", "replicas: 2\nsub: {level: high}\n")?;
    kit.encrypted("secrets.yaml", SECRETS)?;
    kit.encrypted("files/license.bin", CANARY)?;
    kit.encrypted("files/config.yaml", &format!("database: {{password: {CANARY}}}\n"))?;
    kit.both("files/motd.txt", "hello\n")?;
    kit.both("files/secrets.txt", "\n")?;
    kit.both("templates/secret.yaml", SECRET)?;
    kit.both("templates/deployment.yaml", DEPLOYMENT)?;
    kit.both("templates/hook.yaml", HOOK)?;
    kit.both("templates/_helpers.tpl", HELPERS)?;
    kit.both(".helmignore", "*.bak\n")?;
    kit.both("templates/old.yaml.bak", "{{ fail \"it is left out\" }}")?;
    kit.both("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n")?;
    kit.encrypted("charts/sub/values.yaml", &format!("key: {CANARY}\nlevel: low\n"))?;
    kit.both("charts/sub/templates/secret.yaml", SUB)?;
    Ok(kit)
}

fn charts_are_rendered_alike(helm: &Path) -> Result<(), Failed> {
    chart(helm)?.is_rendered_alike(&["secrets.yaml"])
}

fn clear_charts_are_rendered_once(helm: &Path) -> Result<(), Failed> {
    let kit = Kit::new(helm)?;
    kit.both("values.yaml", "a: 1\n")?;
    kit.both(
        "templates/c.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: {{ .Values.a | quote }}}\n",
    )?;
    kit.is_rendered_alike(&[])?;
    let counting = stand_in(&kit, "")?;
    let rendered = kit.render_with(&counting, &[])?;
    let runs = fs::read_to_string(kit.path("log"))?.matches("--namespace=sea").count();
    (rendered.status.success() && runs == 1)
        .then_some(())
        .ok_or_else(|| format!("Helm ran {runs} times").into())
}

/// A chart may hold values for all clusters, and one has keys for its own.
fn files_that_are_not_used_need_no_key(helm: &Path) -> Result<(), Failed> {
    let kit = chart(helm)?;
    let other = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun";
    kit.put("demo/secrets.other.yaml", &kit.sealed_for("x.yaml", "a: b\n", other)?)?;
    kit.is_rendered_alike(&["secrets.yaml"])?;
    // But nothing is rendered of them.
    let template = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  x: {{ .Files.Get \"secrets.other.yaml\" | sha256sum }}\n";
    kit.put("demo/templates/other.yaml", template.as_bytes())?;
    let rendered = kit.render(&["--values", "secrets.yaml"])?;
    let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
    let is_told = told.contains("Secret s: stringData.x is made of secrets.other.yaml");
    (!rendered.status.success() && is_told && rendered.stdout.is_empty())
        .then_some(())
        .ok_or_else(|| told.into())
}

fn nothing_decrypted_is_where_others_look(helm: &Path) -> Result<(), Failed> {
    let kit = chart(helm)?;
    let tmp = kit.path("tmp");
    let look = format!("find {} -type f -exec cat {{}} +", tmp.display());
    let rendered = kit.render_with(&stand_in(&kit, &look)?, &["--values", "secrets.yaml"])?;
    if !rendered.status.success() {
        return Err(String::from_utf8_lossy(&rendered.stderr).into_owned().into());
    }
    same(&objects(&rendered.stdout)?, &kit.expected(&["-f", "secrets.yaml"])?)?;
    let log = fs::read_to_string(kit.path("log"))?;
    let runs = log.matches("--namespace=sea").count();
    if runs < 3 {
        return Err(format!("Helm ran {runs} times").into());
    }
    if log.contains(CANARY) || log.contains(&CANARY.to_uppercase()) {
        return Err("a value is in an argument, a variable or a file".into());
    }
    (fs::read_dir(tmp)?.count() == 0).then_some(()).ok_or_else(|| "something is left behind".into())
}

fn what_needs_no_keys_asks_for_none(helm: &Path) -> Result<(), Failed> {
    let kit = chart(helm)?;
    fs::remove_file(kit.path("key.txt"))?;
    for mode in ["redact", "fake"] {
        let rendered = kit.render(&["--mode", mode, "--values", "secrets.yaml"])?;
        let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
        if !rendered.status.success() {
            return Err(format!("{mode}: {told}").into());
        }
        let (ours, theirs) = (objects(&rendered.stdout)?, kit.expected(&["-f", "secrets.yaml"])?);
        let names = |objects: &[serde_json::Value]| {
            objects.iter().map(|object| object["metadata"]["name"].clone()).collect::<Vec<_>>()
        };
        if names(&ours) != names(&theirs) {
            return Err(format!("{mode}: other objects").into());
        }
    }
    Ok(())
}

/// Returns a Helm that notes how it is called, looks around, and goes on.
fn stand_in(kit: &Kit, look: &str) -> Result<std::path::PathBuf, Failed> {
    let (path, log) = (kit.path("helm"), kit.path("log"));
    let script = format!(
        "#!/bin/sh\n{{ tr '\\0' '\\n' </proc/$$/cmdline; tr '\\0' '\\n' </proc/$$/environ; {look}\n}} >>{}\nexec {} \"$@\"\n",
        log.display(),
        kit.helm_path().display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    Ok(path)
}

/// What must be nowhere.
pub const CANARY: &str = "canaryoftheseven5eas";

const SECRETS: &str = r#"password: "canaryoftheseven5eas' \": #x"
token: Y2FuYXJ5b2Z0aGVzZXZlbjVlYXM=
number: 5432
digits: "5432"
empty: ""
isTrue: true
ratio: 1.5
template: '{{ .Release.Name }}-canaryoftheseven5eas'
registry:
    host: registry.example.com
    user: selkie
    password: canaryoftheseven5eas
extra:
    a: canaryoftheseven5eas
    b: "true"
users:
    - alice-canaryoftheseven5eas
    - bob-canaryoftheseven5eas
pem: |
    -----BEGIN KEY-----
    canaryoftheseven5eas
    -----END KEY-----
"#;

const HELPERS: &str = r#"{{- define "demo.auth" -}}
{{- $r := .Values.registry -}}
{{- printf "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}" $r.host (printf "%s:%s" $r.user $r.password | b64enc) | b64enc -}}
{{- end -}}
"#;

const SECRET: &str = r#"apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-all
data:
  b64enc: {{ .Values.password | b64enc }}
  quoted: {{ .Values.password | b64enc | quote }}
  already: {{ .Values.token }}
  json: {{ .Values.registry | toJson | b64enc }}
  joined: {{ printf "postgres://u:%s@db" .Values.registry.password | b64enc }}
  hash: {{ .Values.password | sha256sum | b64enc }}
  upper: {{ .Values.password | upper | b64enc | quote }}
  short: {{ .Values.password | trunc 7 | b64enc }}
  length: {{ .Values.password | len | toString | b64enc }}
  number: {{ .Values.number | toString | b64enc }}
  license: {{ .Files.Get "files/license.bin" | b64enc }}
  licenseHash: {{ .Files.Get "files/license.bin" | sha256sum | b64enc }}
  config: {{ .Files.Get "files/config.yaml" | b64enc }}
  tpl: {{ tpl .Values.template . | b64enc }}
{{- range $i, $user := .Values.users }}
  user{{ $i }}: {{ $user | b64enc }}
{{- end }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-text
stringData:
  password: {{ .Values.password | quote }}
  digits: {{ .Values.digits | quote }}
  number: {{ .Values.number | quote }}
  sum: {{ add .Values.number 1 | quote }}
  isTrue: {{ .Values.isTrue | quote }}
  empty: {{ .Values.empty | quote }}
  decoded: {{ .Values.token | b64dec | quote }}
  pem: |
    {{- .Values.pem | nindent 4 }}
{{ toYaml .Values.extra | indent 2 }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-registry
type: kubernetes.io/dockerconfigjson
data:
  .dockerconfigjson: {{ include "demo.auth" . }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-files
data:
{{ (.Files.Glob "files/license.bin").AsSecrets | indent 2 }}
"#;

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: demo}}
  template:
    metadata:
      labels: {app: demo}
      annotations:
        checksum/secret: {{ include (print $.Template.BasePath "/secret.yaml") . | sha256sum }}
        motd: {{ .Files.Get "files/motd.txt" | trim }}
    spec:
      containers: [{name: demo, image: demo}]
"#;

const HOOK: &str = r#"apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {"helm.sh/hook": pre-install}
stringData:
  key: {{ .Values.registry.password }}
"#;

const SUB: &str = r#"apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-sub
stringData:
  key: {{ .Values.key }}
  level: {{ .Values.level }}
"#;
