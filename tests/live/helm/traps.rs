//! What must not be rendered: values outside of Secrets, and what hangs on them or on chance.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use libtest_mimic::Failed;

use super::CANARY;
use super::kit::{Kit, Test};

pub const TESTS: &[Test] = &[
    ("a_tampered_values_file_is_refused", a_tampered_values_file_is_refused),
    ("charts_that_give_values_away_are_refused", charts_that_give_values_away_are_refused),
    ("charts_that_name_each_other_are_no_bomb", charts_that_name_each_other_are_no_bomb),
    ("schemas_reach_nothing_outside", schemas_reach_nothing_outside),
    ("what_hangs_on_values_is_refused_without_keys", what_hangs_on_values_is_refused_without_keys),
    ("what_helm_says_is_told_without_values", what_helm_says_is_told_without_values),
];

/// Renders a chart with one template, and returns what is told when it is refused.
fn refused(helm: &Path, template: &str, arguments: &[&str]) -> Result<String, Failed> {
    let kit = Kit::new(helm)?;
    let values = format!("password: {CANARY}\nbroken: \"x: [{CANARY}\"\nisTrue: false\nlist: [{CANARY}]\n");
    kit.encrypted("secrets.yaml", &values)?;
    kit.both("templates/t.yaml", template)?;
    let rendered = kit.render(&[&["--values", "secrets.yaml"], arguments].concat())?;
    let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
    if rendered.status.success() || !rendered.stdout.is_empty() {
        return Err(format!("{template}: is rendered").into());
    }
    if told.contains(CANARY) || told.to_lowercase().contains(CANARY) || told.contains("selkiex") {
        return Err(format!("a value or mark is told: {told}").into());
    }
    Ok(told)
}

fn charts_that_give_values_away_are_refused(helm: &Path) -> Result<(), Failed> {
    let of_kind =
        |kind: &str, rest: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n{rest}\n");
    let (config, secret) = (|rest: &str| of_kind("ConfigMap", rest), |rest: &str| of_kind("Secret", rest));
    let derived = "ConfigMap x: data.a is computed of a decrypted value";
    for (template, told) in [
        (config("data: {a: {{ .Values.password }}}"), "would hold a decrypted value of secrets.yaml"),
        (config("data: {a: {{ .Values.password | upper }}}"), derived),
        (config("data: {a: {{ .Values.password | b64enc }}}"), derived),
        (config("data: {a: {{ .Values.password | sha256sum }}}"), derived),
        (config("data: {a: {{ .Values.password | trunc 7 }}}"), derived),
        (config("data: {a: {{ len .Values.password | quote }}}"), derived),
        (config("data: {a: {{ if .Values.isTrue }}x{{ else }}y{{ end }}}"), derived),
        (secret("{{ if .Values.isTrue }}stringData: {a: b}{{ end }}"), "hangs on a decrypted value"),
        (secret("stringData: {a: {{ .Values.broken }}}"), "but not with the values"),
        (secret("stringData: {{ printf \"{%s: x}\" .Values.password }}"), "hangs on a decrypted value"),
        (secret("data: {a: {{ .Values.password | upper | trunc 7 }}}"), "is not base64"),
        (secret("stringData: {a: {{ htpasswd \"u\" .Values.password | quote }}}"), "another one each time"),
        (secret("stringData: {a: {{ randAlphaNum 5 | quote }}}"), "another one each time"),
        (
            config("data: {a: b}")
                .replace("{name: x}", "{name: x, labels: {a: {{ .Values.password | upper }}}}"),
            "is computed of a decrypted value",
        ),
    ] {
        let said = refused(helm, &template, &[])?;
        if !said.contains(told) {
            return Err(format!("{template}: {said:?} instead of {told:?}").into());
        }
    }
    Ok(())
}

fn what_helm_says_is_told_without_values(helm: &Path) -> Result<(), Failed> {
    let said = refused(helm, "{{ fail (printf \"no %s here\" .Values.password) }}", &[])?;
    if !said.contains("no (a decrypted value of secrets.yaml) here") {
        return Err(said.into());
    }
    let said = refused(helm, "{{ if not .Values.isTrue }}{{ fail .Values.password }}{{ end }}", &[])?;
    if !said.contains("but not with the values") {
        return Err(said.into());
    }
    let said = refused(helm, "", &["--values", "missing.yaml"])?;
    said.contains("missing.yaml: there is no such file").then_some(()).ok_or_else(|| said.into())
}

fn a_tampered_values_file_is_refused(helm: &Path) -> Result<(), Failed> {
    let kit = Kit::new(helm)?;
    let sealed = String::from_utf8(kit.sealed("secrets.yaml", "a: x\nb: y\n")?)?;
    let line = sealed.lines().next().ok_or("there is a line")?;
    kit.put("demo/secrets.yaml", sealed.replacen(&format!("{line}\n"), "", 1).as_bytes())?;
    kit.both(
        "templates/t.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {b: {{ .Values.b }}}\n",
    )?;
    let rendered = kit.render(&["--values", "secrets.yaml"])?;
    let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
    (!rendered.status.success() && told.contains("secrets.yaml") && told.contains("MAC"))
        .then_some(())
        .ok_or_else(|| told.into())
}

/// Whoever has no keys must not take a mark for what it stands for: it is a text that is always true.
fn what_hangs_on_values_is_refused_without_keys(helm: &Path) -> Result<(), Failed> {
    let values = format!("password: {CANARY}\nreplicas: 3\ndebug: false\nenv: prod\nratio: 0.5\n");
    let rendered = |mode: &str, template: &str| -> Result<_, Failed> {
        let kit = Kit::new(helm)?;
        kit.encrypted("secrets.yaml", &values)?;
        kit.encrypted("files/license.bin", CANARY)?;
        kit.both("templates/t.yaml", template)?;
        let rendered = kit.render(&["--values", "secrets.yaml", "--mode", mode])?;
        let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
        Ok((rendered.status.success(), told))
    };
    let workload = |rest: &str| {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: x}}\nspec:\n  {rest}\n")
    };
    let secret = |rest: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: x}}\n{rest}\n");
    for (template, told) in [
        (workload("replicas: {{ .Values.replicas | int }}"), "spec.replicas is computed of"),
        (workload("replicas: {{ if gt (int .Values.replicas) 2 }}2{{ else }}1{{ end }}"), "spec.replicas is"),
        (workload("replicas: {{ if gt .Values.ratio 0.1 }}2{{ else }}1{{ end }}"), ""),
        (workload("{{ if .Values.debug }}paused: true{{ end }}"), "hangs on a decrypted value"),
        (workload("paused: {{ eq .Values.env \"prod\" }}"), "spec.paused is computed of"),
        (workload("{{ if has .Values.env (list \"a\" \"prod\") }}paused: true{{ end }}"), "hangs on"),
        (secret("stringData: {a: b}\n{{ if .Values.debug }}type: Other{{ end }}"), "hangs on"),
        (workload("replicas: {{ .Values.replicas }}"), "decrypted value"),
    ] {
        for mode in ["defer", "fake", "redact"] {
            let (is_rendered, said) = rendered(mode, &template)?;
            // What values of a chart come to is never deferred.
            let is_told = said.contains(told) || mode == "defer" && said.contains("cannot be deferred");
            if is_rendered || !is_told {
                return Err(format!("{mode}: {template}: {said}").into());
            }
        }
    }
    // What is computed in a Secret is a dummy, and cannot be carried into a cluster.
    for field in
        ["sum: {{ add .Values.replicas 1 | quote }}", "b: {{ if .Values.debug }}a{{ else }}c{{ end }}"]
    {
        let template = secret(&format!("stringData:\n  {field}"));
        for (mode, expected) in [("defer", false), ("fake", true), ("redact", true)] {
            let (is_rendered, said) = rendered(mode, &template)?;
            if is_rendered != expected {
                return Err(format!("{mode}: {template}: {said}").into());
            }
        }
    }
    // What stands there as it is, of whatever type, is no trouble.
    let plain = "stringData:\n  password: {{ .Values.password }}\n  replicas: {{ .Values.replicas | quote }}\n  debug: {{ .Values.debug | quote }}\n  env: {{ .Values.env }}\n  ratio: {{ .Values.ratio | quote }}";
    let file = "data: {license: {{ .Files.Get \"files/license.bin\" | b64enc }}}";
    for (mode, fields) in [("fake", plain), ("redact", plain), ("fake", file)] {
        let (is_rendered, said) = rendered(mode, &secret(fields))?;
        if !is_rendered {
            return Err(format!("{mode}: {said}").into());
        }
    }
    Ok(())
}

/// Helm fetches, and opens, what a schema names.
fn schemas_reach_nothing_outside(helm: &Path) -> Result<(), Failed> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let address = format!("http://{}/x.json", server.local_addr()?);
    for (place, name) in [
        ("values.schema.json", address.clone()),
        ("values.schema.json", "file:///etc/passwd".to_owned()),
        ("charts/sub/values.schema.json", address),
    ] {
        let kit = Kit::new(helm)?;
        kit.both("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n")?;
        kit.both("templates/t.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")?;
        kit.encrypted("secrets.yaml", &format!("password: {CANARY}\n"))?;
        kit.both(place, &format!("{{\"$ref\": \"{name}\"}}"))?;
        for values in [&[][..], &["--values", "secrets.yaml"]] {
            let rendered = kit.render(values)?;
            let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
            let expected = format!("{place}: $ref names something outside of the schema");
            if rendered.status.success() || !told.contains(&expected) || told.contains("passwd") {
                return Err(format!("{place}: {name}: {told}").into());
            }
        }
        let skipped = kit.render(&["--helm-argument=--skip-schema-validation"])?;
        if !skipped.status.success() {
            return Err(String::from_utf8_lossy(&skipped.stderr).into_owned().into());
        }
    }
    match server.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        _ => Err("something was fetched".into()),
    }
}

fn charts_that_name_each_other_are_no_bomb(helm: &Path) -> Result<(), Failed> {
    let kit = Kit::new(helm)?;
    for chart in 1..=7 {
        let names = (0..26).map(|number| {
            format!("- {{name: d{number}, version: 0.1.0, repository: \"file://../c{}\"}}\n", chart + 1)
        });
        let text = format!(
            "apiVersion: v2\nname: c{chart}\nversion: 0.1.0\ndependencies:\n{}",
            names.collect::<String>()
        );
        kit.put(&format!("demo/c{chart}/Chart.yaml"), text.as_bytes())?;
    }
    kit.put("demo/c8/Chart.yaml", b"apiVersion: v2\nname: c8\nversion: 0.1.0\n")?;
    kit.put("demo/Chart.yaml", b"apiVersion: v2\nname: c0\nversion: 0.1.0\ndependencies: [{name: d, version: 0.1.0, repository: 'file://c1'}]\n")?;
    let rendered = kit.render(&[])?;
    let told = String::from_utf8_lossy(&rendered.stderr).into_owned();
    (!rendered.status.success() && told.contains("the files: more than"))
        .then_some(())
        .ok_or_else(|| told.into())
}
