//! `render --kustomize`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use selkie::format::Format;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::place::{BUILDERS, Place, entry, fails, find, objects, same};
use crate::peer::Peer;

type Test = fn(&Path) -> Result<(), Failed>;

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 8] = [
        ("all_that_flux_decrypts_is_decrypted", all_that_flux_decrypts_is_decrypted),
        ("what_was_built_is_decrypted_too", what_was_built_is_decrypted_too),
        ("what_flux_passes_over_is_decrypted_or_refused", what_flux_passes_over_is_decrypted_or_refused),
        ("names_tell_nothing_of_values", names_tell_nothing_of_values),
        ("kustomize_sees_no_plaintext", kustomize_sees_no_plaintext),
        ("a_tree_that_is_wrong_is_refused", a_tree_that_is_wrong_is_refused),
        ("a_signal_leaves_nothing", a_signal_leaves_nothing),
        ("nothing_of_this_machine_is_read", nothing_of_this_machine_is_read),
    ];
    let all = BUILDERS.into_iter().flat_map(|peer| tests.map(|(name, test)| (peer, name, test)));
    let mut trials: Vec<Trial> = all
        .map(|(peer, name, test)| {
            peer.test(format!("kustomize::rendered::{name}"), move |program| test(&program))
        })
        .collect();
    for helm in [Peer::Helm3, Peer::Helm4] {
        trials.push(helm.test("kustomize::charts_get_clear_values", |helm| match Peer::Kustomize.path() {
            Some(kustomize) => charts_get_clear_values(&kustomize, &helm),
            None => Ok(()),
        }));
    }
    trials
}

fn secret(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\nstringData:\n  key: {value}\n")
}

/// The shape of what Flux is tested with.
fn flux_tree(place: &Place) -> Result<(), Failed> {
    place.write(
        "kustomization.yaml",
        "namePrefix: sops-\nnamespace: shop\nresources: [algorithms, envs, files, inside, patches]\ncomponents: [component]\n",
    )?;
    place.write("algorithms/kustomization.yaml", "namePrefix: algo-\nresources: [age.yaml]\n")?;
    place.encrypt("algorithms/age.yaml", &secret("age", "value-age"))?;
    place.write(
        "component/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nsecretGenerator:\n- name: component\n  envs: [secret.env]\n",
    )?;
    place.encrypt("component/secret.env", "key=value=$x\n")?;
    place.write("envs/kustomization.yaml", "secretGenerator:\n- name: envs\n  envs: [secret.env]\n")?;
    place.encrypt("envs/secret.env", "key=value-env\nother=2\n")?;
    place.write(
        "files/kustomization.yaml",
        "secretGenerator:\n- name: files\n  files: [key=file.txt, .dockerconfigjson=docker.json]\n",
    )?;
    place.encrypt("files/file.txt", "value-file\n")?;
    place.encrypt("files/docker.json", "{\"auths\": {\"a\": \"value-docker\"}}\n")?;
    let blob = STANDARD.encode(place.encrypted(Format::Binary, "value-inside")?);
    place.write("inside/kustomization.yaml", "resources: [secret.yaml]\n")?;
    place.write(
        "inside/secret.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: inside}}\ndata:\n  key: {blob}\n"),
    )?;
    place.write(
        "patches/kustomization.yaml",
        "resources: [secret.yaml]\npatches:\n- path: merge1.yaml\n- path: merge2.yaml\n  target: {kind: Secret}\n",
    )?;
    place.write("patches/secret.yaml", &secret("patches", "value"))?;
    place.encrypt("patches/merge1.yaml", &secret("patches", "merge1"))?;
    place.encrypt("patches/merge2.yaml", &secret("patches", "merge2").replace("key:", "merge2:"))
}

fn all_that_flux_decrypts_is_decrypted(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    flux_tree(&place)?;
    is_flux_tree(&objects(&place.render(program, ".", &[])?)?)
}

/// What Kustomize built of encrypted files is decrypted afterwards, with the files beside it.
fn what_was_built_is_decrypted_too(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    flux_tree(&place)?;
    let built = place.build(program, ".", &[])?;
    objects(&built)?;
    let render = |source: &[&str], stream: &[u8]| {
        let mut command = place.ours()?;
        command.arg("render").args(source).arg("-").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().ok_or("there is an input")?.write_all(stream)?;
        Ok::<_, Failed>(child.wait_with_output()?)
    };
    is_flux_tree(&objects(&render(&["--source", "."], &built.stdout)?)?)?;
    // Nobody can tell whether it is what was encrypted, if the files are not there.
    fails(&render(&[], &built.stdout)?, "", "value-")
}

/// Makes sure that objects are those of the tree, decrypted.
fn is_flux_tree(found: &[Json]) -> Result<(), Failed> {
    for (name, key, expected) in [
        ("sops-algo-age", "key", "value-age"),
        ("sops-component-", "key", "value=$x"),
        ("sops-envs-", "key", "value-env"),
        ("sops-files-", "key", "value-file\n"),
        ("sops-inside", "key", "value-inside"),
        ("sops-patches", "key", "merge1"),
        ("sops-patches", "merge2", "merge2"),
    ] {
        same(name, &entry(find(found, "Secret", name)?, key)?, expected)?;
    }
    let docker = entry(find(found, "Secret", "sops-files-")?, ".dockerconfigjson")?;
    let docker: Json = serde_json::from_str(&docker)?;
    same("the configuration of Docker", docker["auths"]["a"].as_str().unwrap_or_default(), "value-docker")?;
    let is_right = found.len() == 6 && found.iter().all(|object| object["metadata"]["namespace"] == "shop");
    if is_right { Ok(()) } else { Err("there is something else".into()) }
}

fn what_flux_passes_over_is_decrypted_or_refused(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    place.write(
        "app/kustomization.yaml",
        "resources: [../base/secret.yaml]\npatchesStrategicMerge: [merge.yaml]\nsecretGenerator:\n- name: one\n  env: one.env\n",
    )?;
    place.encrypt("base/secret.yaml", &secret("a", "first"))?;
    place.encrypt("app/merge.yaml", &secret("a", "second"))?;
    place.encrypt("app/one.env", "key=third\n")?;
    let found = objects(&place.render(program, "app", &[])?)?;
    same("a", &entry(find(&found, "Secret", "a")?, "key")?, "second")?;
    same("one", &entry(find(&found, "Secret", "one-")?, "key")?, "third")?;
    // A file for a Secret and a ConfigMap would be plaintext in the latter.
    place.encrypt("both/file.txt", "hunter2")?;
    place.write(
        "both/kustomization.yaml",
        "secretGenerator:\n- name: a\n  files: [file.txt]\nconfigMapGenerator:\n- name: b\n  files: [file.txt]\n",
    )?;
    fails(&place.render(program, "both", &[])?, "data.file.txt would hold a decrypted value", "hunter2")?;
    // What has the wrong name would be passed on encrypted.
    place.write("wrong/file.ini", &place.encrypted(Format::Yaml, "a: hunter2\n")?)?;
    place.write("wrong/kustomization.yaml", "secretGenerator:\n- name: a\n  files: [file.ini]\n")?;
    fails(
        &place.render(program, "wrong", &[])?,
        "wrong/file.ini: is encrypted, but not as a ini file",
        "hunter2",
    )
}

/// Returns the value of four digits that a suffix is the hash of, if it is one.
fn guess(suffix: &str) -> Option<String> {
    let letters = |hash: &str| {
        let letter = |letter| match letter {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            letter => letter,
        };
        hash.chars().take(10).map(letter).collect::<String>()
    };
    (0..10_000).map(|pin| format!("{pin:04}")).find(|pin| {
        let pin = STANDARD.encode(pin);
        let text = format!(r#"{{"data":{{"pin":"{pin}"}},"kind":"Secret","name":"","type":"Opaque"}}"#);
        let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        letters(&hash) == suffix
    })
}

fn names_tell_nothing_of_values(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let suffix = |found: &[Json]| {
        let name = find(found, "Secret", "db-")?["metadata"]["name"].as_str().unwrap_or_default();
        Ok::<_, Failed>(name.trim_start_matches("db-").to_owned())
    };
    place.write("plain/kustomization.yaml", "secretGenerator:\n- name: db\n  literals: [pin=4711]\n")?;
    let plain = suffix(&objects(&place.build(program, "plain", &[])?)?)?;
    same("what a name tells of a value in clear", &guess(&plain).unwrap_or_default(), "4711")?;
    place.write("ours/kustomization.yaml", "secretGenerator:\n- name: db\n  files: [pin=pin.txt]\n")?;
    place.encrypt("ours/pin.txt", "4711")?;
    let render = || objects(&place.render(program, "ours", &[])?);
    let found = render()?;
    same("the value", &entry(find(&found, "Secret", "db-")?, "pin")?, "4711")?;
    let ours = suffix(&found)?;
    if let Some(pin) = guess(&ours) {
        return Err(format!("the name tells {pin}").into());
    }
    same("the name, again", &suffix(&render()?)?, &ours)?;
    place.encrypt("ours/pin.txt", "4712")?;
    if suffix(&render()?)? == ours { Err("the name does not hang on the value".into()) } else { Ok(()) }
}

fn kustomize_sees_no_plaintext(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    flux_tree(&place)?;
    let name = program.file_name().ok_or("it has a name")?.to_string_lossy().into_owned();
    let copies = place.path("copies");
    fs::create_dir(&copies)?;
    let script = format!(
        "PATH=/usr/bin:/bin\ncp -r . {copies}/files\nenv >{copies}/env\necho \"$@\" >{copies}/arguments\nstat -c %a \"$HOME/..\" >{copies}/mode\nexec {program} \"$@\"",
        copies = copies.display(),
        program = program.display()
    );
    let spy = place.stand_in(&name, &script)?;
    objects(&place.render(&spy, ".", &[])?)?;
    let everything = crate::peer::output(Command::new("grep").args(["-rh", ""]).arg(&copies))?;
    let everything = String::from_utf8(everything)?;
    if !everything.contains("selkiex") || !fs::read_to_string(copies.join("mode"))?.starts_with("700") {
        return Err("there are no marks, or others can look at them".into());
    }
    // What is encrypted here begins so; one value is in clear.
    for value in ["value-", "merge1\n", "value=$x", "AGE-SECRET-KEY"] {
        if everything.contains(value) {
            return Err(format!("{value:?} was laid out").into());
        }
    }
    Ok(())
}

fn a_tree_that_is_wrong_is_refused(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let render = |kustomization: &str, expected: &str| {
        place.write("kustomization.yaml", kustomization)?;
        fails(&place.render(program, ".", &[])?, expected, "hunter2")
    };
    place.encrypt("a.yaml", &format!("{}  other: x\n", secret("a", "hunter2")))?;
    place.write("b.yaml", &secret("a", "x"))?;
    render("resources: []\n", "nothing was rendered")?;
    render("resources: [a.yaml, b.yaml]\n", "may not add resource with an already registered id")?;
    render("resources: [a.yaml]\nunknown: true\n", "unknown")?;
    render("resources: ['https://127.0.0.1:9/a.yaml']\n", "would be fetched from a network")?;
    render("resources: [../a.yaml]\n", "kustomization.yaml:1: leads out of the files")?;
    render(
        "generators:\n- |-\n  apiVersion: viaduct.ai/v1\n  kind: ksops\n  metadata: {name: a}\n",
        "ksops is a plugin",
    )?;
    // A value cannot be cut.
    render(
        "resources: [a.yaml, c.yaml]\nreplacements:\n- source: {kind: Secret, fieldPath: stringData.key}\n  targets:\n  - select: {kind: ConfigMap}\n    fieldPaths: [data.x]\n",
        "there is no c.yaml",
    )?;
    place.write("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: y}\n")?;
    render(
        "resources: [a.yaml, c.yaml]\nreplacements:\n- source: {kind: Secret, fieldPath: stringData.key}\n  targets:\n  - select: {kind: ConfigMap}\n    fieldPaths: [data.x]\n",
        "data.x would hold a decrypted value",
    )?;
    let text = fs::read_to_string(place.path("files/a.yaml"))?;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map(|(_, value)| value.to_owned())
            .ok_or("there is a line")
    };
    let swapped = text
        .replace(&value("other:")?, "OTHER")
        .replace("key: ENC", "gone: ENC")
        .replace("OTHER", &value("other:")?);
    place.write("a.yaml", &swapped)?;
    render("resources: [a.yaml]\n", "a.yaml: ")?;
    place.write("a.yaml", &text.replace("name: a\n", "name: moved\n"))?;
    render("resources: [a.yaml]\n", "a.yaml: MAC mismatch")
}

fn a_signal_leaves_nothing(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    flux_tree(&place)?;
    let started = place.path("started");
    let name = program.file_name().ok_or("it has a name")?.to_string_lossy().into_owned();
    let script =
        format!("PATH=/usr/bin:/bin\necho $$ >{0}.part\nmv {0}.part {0}\nsleep 600", started.display());
    let slow = place.stand_in(&name, &script)?;
    let mut command = place.ours()?;
    command.args(["render", "--kustomize", ".", "--kustomize-program"]).arg(&slow);
    let mut child = command.spawn()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !started.exists() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let group = fs::read_to_string(&started)?;
    crate::peer::output(Command::new("kill").arg("-TERM").arg(child.id().to_string()))?;
    let status = child.wait()?;
    let left = fs::read_dir(place.path("memory"))?.count();
    let state = fs::read_to_string(format!("/proc/{}/stat", group.trim())).unwrap_or_default();
    let runs = !state.is_empty() && !state.contains(") Z ");
    match (status.code(), left, runs) {
        (Some(143), 0, false) => Ok(()),
        found => Err(format!("it ended so: {found:?}").into()),
    }
}

/// The keys of this program are at a path that whoever writes a kustomization may know.
fn nothing_of_this_machine_is_read(program: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let keys = place.path("keys.txt").display().to_string();
    let up = format!("../../../../../../../../{}", keys.trim_start_matches('/'));
    place.write("base/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")?;
    let map = "{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: x}";
    let generator = format!("{map}, files: [k=PATH]}}");
    place.write("app/g/g.yaml", &generator.replace("PATH", "/harmless"))?;
    place.write("app/g/harmless", "x")?;
    let patch = "resources: [g.yaml]\npatches:\n- target: {kind: ConfigMapGenerator}\n  patch: '[{op: replace, path: /files/0, value: k=PATH}]'\n";
    let tries = [
        "configMapGenerator: [{name: x, files: [k=PATH]}]",
        "configMapGenerator: [{name: x, Files: [k=PATH]}]",
        "configMapGenerator: [{name: x, <<: {files: [k=PATH]}}]",
        "configMapGenerator: [{name: x, files: [k=x], files: [k=PATH]}]",
        "configMapGenerator: [{name: x, envs: [PATH]}]",
        "generators: ['{apiVersion: builtin, kind: XList, items: [GENERATOR]}']",
        "generators: [l.yaml]",
        "generators: ['GENERATOR']",
        "generators: [PATH]",
        "generators: ['a: b/PATH']",
        "generators: [g]",
        "transformers: ['{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: \"a: b/PATH\"}']",
        "transformers: ['{apiVersion: builtin, kind: ValueAddTransformer, metadata: {name: x}, targetFilePath: PATH}']",
        "patches: [{path: PATH}]",
        "patchesStrategicMerge: [PATH]",
        "crds: [PATH]",
        "openapi: {path: PATH}",
    ];
    for path in [&keys, &up] {
        let whole = |text: &str| text.replace("GENERATOR", &generator).replace("PATH", path);
        place.write("app/g/kustomization.yaml", &whole(patch))?;
        place.write("app/l.yaml", &whole("apiVersion: builtin\nkind: XList\nitems: [GENERATOR]\n"))?;
        for text in tries {
            place
                .write("app/kustomization.yaml", &whole(&format!("resources: [../base/a.yaml]\n{text}\n")))?;
            fails(&place.render(program, "app", &[])?, "", "AGE-SECRET-KEY")
                .map_err(|error| format!("{text}: {}", error.message().unwrap_or_default()))?;
        }
    }
    // A file beside the folder is one all the same.
    place.write("app/kustomization.yaml", "resources: [../base/a.yaml]\ngenerators: [../base/g.yaml]\n")?;
    place.write("base/g.yaml", &generator.replace("k=PATH", "../base/text.txt"))?;
    place.write("base/text.txt", "hello")?;
    let found = objects(&place.render(program, "app", &[])?)?;
    find(&found, "ConfigMap", "a")?;
    let text = found.iter().find_map(|object| object["data"]["text.txt"].as_str());
    same("a file beside the folder", text.unwrap_or_default(), "hello")
}

fn charts_get_clear_values(kustomize: &Path, helm: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let kustomization = |fields: &str| {
        let text = format!(
            "helmGlobals: {{chartHome: ../charts}}\nhelmCharts:\n- name: shop\n  releaseName: shop\n{fields}"
        );
        place.write("app/kustomization.yaml", &format!("resources: [s.yaml]\n{text}"))
    };
    place.encrypt("app/s.yaml", &secret("s", "hunter2"))?;
    place.write("charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n")?;
    place.write("charts/shop/values.yaml", "replicas: 2\n")?;
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata:\n  a: {{ .Values.replicas | int | quote }}\n";
    place.write("charts/shop/templates/a.yaml", template)?;
    let helm = helm.display().to_string();
    let render = || place.render(kustomize, "app", &["--helm-program", &helm]);
    kustomization("")?;
    let found = objects(&render()?)?;
    same("a value", find(&found, "ConfigMap", "shop")?["data"]["a"].as_str().unwrap_or_default(), "2")?;
    same("beside it", &entry(find(&found, "Secret", "s")?, "key")?, "hunter2")?;
    // A chart would see a mark where a number is.
    kustomization("  valuesFile: values.enc.yaml\n")?;
    place.encrypt("app/values.enc.yaml", "replicas: 3\n")?;
    fails(&render()?, "app/values.enc.yaml is encrypted, and Kustomize lets a chart decide", "hunter2")?;
    // Nothing is an option of Helm.
    let ran = place.path("ran");
    let program = place.stand_in("post", &format!("/usr/bin/touch {}\n/bin/cat", ran.display()))?;
    let option = format!("--post-renderer={}", program.display());
    for field in ["nameTemplate", "namespace", "kubeVersion", "version"] {
        kustomization(&format!("  {field}: {option}\n"))?;
        fails(&render()?, "so that Helm would take it for an option", "hunter2")?;
    }
    let text = fs::read_to_string(place.path("files/app/kustomization.yaml"))?;
    place.write(
        "app/kustomization.yaml",
        &text.replace("releaseName: shop", &format!("releaseName: {option}")),
    )?;
    fails(&render()?, "so that Helm would take it for an option", "hunter2")?;
    if ran.exists() { Err("a program of the repository ran".into()) } else { Ok(()) }
}
