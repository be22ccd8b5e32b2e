//! The plugins and the wrapper, used by the real Helm.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libtest_mimic::Failed;

use super::CANARY;
use super::kit::{Kit, Test, objects, same};
use crate::peer::output;

pub const TESTS: &[Test] = &[
    ("the_getter_fetches_what_addresses_name", the_getter_fetches),
    ("the_getter_refuses_what_is_not_encrypted_or_elsewhere", the_getter_refuses),
    ("the_post_renderer_decrypts_what_was_rendered", the_post_renderer_decrypts),
    ("the_post_renderer_refuses_to_lose_everything", the_post_renderer_refuses),
    ("the_wrapper_hands_values_over_in_memory", the_wrapper_hands_over),
];

/// Returns a chart that shows its values.
fn chart(helm: &Path) -> Result<Kit, Failed> {
    let kit = Kit::new(helm)?;
    let template = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: {{ .Values.a | quote }}, b: {{ .Values.b | quote }}}\n";
    kit.both("values.yaml", "a: none\nb: none\n")?;
    kit.both("templates/t.yaml", template)?;
    kit.encrypted("secrets.yaml", &format!("a: {CANARY}\n"))?;
    kit.encrypted("files/b.txt", CANARY)?;
    let mut install = kit.ours();
    install.args(["helm", "install-plugins", "--plugins"]).arg(kit.path("plugins"));
    output(with_helm(&mut install, &kit))?;
    Ok(kit)
}

fn with_helm<'a>(command: &'a mut Command, kit: &Kit) -> &'a mut Command {
    command.arg("--helm-program").arg(kit.helm_path())
}

/// Returns a Helm with our plugins and our key.
fn helm(kit: &Kit) -> Command {
    let mut command = kit.helm();
    command.env("HELM_PLUGINS", kit.path("plugins")).env("SOPS_AGE_KEY_FILE", kit.path("key.txt"));
    command.args(["template", "shop", ".", "--namespace", "sea"]);
    command
}

fn the_getter_fetches(helm_path: &Path) -> Result<(), Failed> {
    let kit = chart(helm_path)?;
    let expected = kit.expected(&["-f", "secrets.yaml", "--set-file", "b=files/b.txt"])?;
    let literal = BASE64_STANDARD.encode(fs::read(kit.path("demo/secrets.yaml"))?);
    let key = kit.path("key.txt").display().to_string();
    let kubeconfig = served_secret(&kit, &key)?;
    for address in [
        "secrets://secrets.yaml".to_owned(),
        "secrets://./secrets.yaml".to_owned(),
        format!("secrets+literal://{literal}"),
        format!("secrets+age-import://{key}?secrets.yaml"),
        "secrets+age-import-kubernetes://ns/keys#age.txt?secrets.yaml".to_owned(),
    ] {
        let mut command = helm(&kit);
        if address.contains("import") {
            command.env_remove("SOPS_AGE_KEY_FILE").env("KUBECONFIG", &kubeconfig);
            command.env("HELM_SECRETS_KEY_LOCATION_PREFIX", kit.around.path());
        }
        let import = if address.contains("import") {
            address.replace("secrets.yaml", "files/b.txt")
        } else {
            "secrets://files/b.txt".to_owned()
        };
        let with_key = command.args(["-f", &address, "--set-file", &format!("b={import}")]);
        let rendered = output(with_key).map_err(|failed| format!("{address}: {failed:?}"))?;
        same(&objects(&rendered)?, &expected).map_err(|failed| format!("{address}: {failed:?}"))?;
    }
    // What may be missing is missing.
    let rendered = output(helm(&kit).args(["-f", "secrets://?missing.yaml"]))?;
    same(&objects(&rendered)?, &kit.expected(&[])?)
}

/// Serves a Secret with the key, and returns the file that says where.
fn served_secret(kit: &Kit, key: &str) -> Result<std::path::PathBuf, Failed> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let data = BASE64_STANDARD.encode(fs::read(key)?);
    let body = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"keys\"}},\"data\":{{\"age.txt\":\"{data}\"}}}}"
    );
    thread::spawn(move || {
        for stream in server.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let is_asked = request[..length].starts_with(b"GET /api/v1/namespaces/ns/secrets/keys ");
            let (status, body) = if is_asked { ("200 OK", body.as_str()) } else { ("404 Not Found", "{}") };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // Whoever asked may be gone.
            stream.write_all(answer.as_bytes()).unwrap_or(());
        }
    });
    let path = kit.path("kubeconfig");
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

fn the_getter_refuses(helm_path: &Path) -> Result<(), Failed> {
    let kit = chart(helm_path)?;
    kit.put("demo/clear.yaml", format!("a: {CANARY}\n").as_bytes())?;
    kit.put("outside.yaml", &kit.sealed("x.yaml", &format!("a: {CANARY}\n"))?)?;
    symlink("../outside.yaml", kit.path("demo/link.yaml"))?;
    let absolute = format!("secrets://{}", kit.path("outside.yaml").display());
    let of_elsewhere = format!("secrets+age-import://{}?secrets.yaml", kit.path("key.txt").display());
    let of_nobody = "secrets+age-import-kubernetes://ns/keys#age.txt?secrets.yaml";
    for (address, variable, told) in [
        ("secrets://clear.yaml", Some("SELKIE_HELM_ALLOW_PLAIN"), "clear.yaml: is not encrypted"),
        (
            "secrets://../outside.yaml",
            Some("HELM_SECRETS_VALUES_ALLOW_PATH_TRAVERSAL"),
            "_ALLOW_PATH_TRAVERSAL=true",
        ),
        ("secrets://link.yaml", Some("HELM_SECRETS_VALUES_ALLOW_SYMLINKS"), "_ALLOW_SYMLINKS=true"),
        (absolute.as_str(), Some("HELM_SECRETS_VALUES_ALLOW_ABSOLUTE_PATH"), "_ALLOW_ABSOLUTE_PATH=true"),
        ("secrets://missing.yaml", None, "missing.yaml: there is no such file"),
        ("secrets://vals!secrets.yaml", None, "asks for another program"),
        (of_nobody, None, "no cluster is known"),
        (of_elsewhere.as_str(), None, "does not lie below HELM_SECRETS_KEY_LOCATION_PREFIX"),
    ] {
        let ended = helm(&kit).args(["-f", address]).output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        if ended.status.success() || !said.contains(told) || said.contains(CANARY) || !ended.stdout.is_empty()
        {
            return Err(format!("{address}: {said}").into());
        }
        let Some(variable) = variable else { continue };
        let allowed = output(helm(&kit).env(variable, "true").args(["-f", address]))?;
        if !String::from_utf8_lossy(&allowed).contains(CANARY) {
            return Err(format!("{address}: is not had with {variable}").into());
        }
    }
    Ok(())
}

/// Returns a chart with an encrypted manifest as a template, and a hook that is encrypted, too.
fn chart_with_manifests(helm: &Path) -> Result<Kit, Failed> {
    let kit = chart(helm)?;
    let manifest = |name: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n    name: {name}\n{more}stringData:\n    key: {CANARY}\n"
        )
    };
    for (path, text) in [
        ("templates/a.yaml", manifest("a", "")),
        ("templates/hook.yaml", manifest("hook", "    annotations:\n        helm.sh/hook: pre-install\n")),
    ] {
        kit.put(&format!("plain/{path}"), text.as_bytes())?;
        kit.put(&format!("demo/{path}"), &kit.sealed_rule(path, &text, "^(data|stringData)$")?)?;
    }
    Ok(kit)
}

/// Returns Helm with our post-renderer, as this version is told of it.
fn with_post_renderer(kit: &Kit, arguments: &[&str]) -> Result<Command, Failed> {
    let mut command = helm(kit);
    let version = output(kit.helm().args(["version", "--template", "{{.Version}}"]))?;
    if version.starts_with(b"v3") {
        command.arg("--post-renderer").arg(kit.path("plugins/selkie/run.sh"));
        command.arg("--post-renderer-args=post-render");
    } else {
        command.args(["--post-renderer", "selkie-post-render"]);
    }
    let key = format!("--keys={}", kit.path("key.txt").display());
    command.arg(format!("--post-renderer-args={key}"));
    command.args(arguments.iter().map(|argument| format!("--post-renderer-args={argument}")));
    Ok(command)
}

fn the_post_renderer_decrypts(helm_path: &Path) -> Result<(), Failed> {
    let kit = chart_with_manifests(helm_path)?;
    let source = format!("--source={}", kit.path("demo").display());
    let rendered = output(&mut with_post_renderer(&kit, &[&source])?)?;
    let mut ours = objects(&rendered)?;
    let mut theirs = kit.expected(&[])?;
    // Helm 3 hands no hooks over: they stay encrypted, and are named so here.
    let is_hook = |object: &serde_json::Value| object["metadata"]["name"] == "hook";
    let hooks: Vec<_> = ours.iter().filter(|object| is_hook(object)).map(ToString::to_string).collect();
    let version = output(kit.helm().args(["version", "--template", "{{.Version}}"]))?;
    if version.starts_with(b"v3") {
        if !hooks.iter().all(|hook| hook.contains("ENC[")) {
            return Err("Helm 3 hands hooks over".into());
        }
        ours.retain(|object| !is_hook(object));
        theirs.retain(|object| !is_hook(object));
    } else if String::from_utf8_lossy(&rendered).contains("postrender-filename") {
        return Err("the annotation is left".into());
    }
    let by_name = |left: &serde_json::Value, right: &serde_json::Value| {
        left["metadata"]["name"].to_string().cmp(&right["metadata"]["name"].to_string())
    };
    ours.sort_by(by_name);
    theirs.sort_by(by_name);
    same(&ours, &theirs)?;
    if version.starts_with(b"v3") {
        return Ok(());
    }
    // Helm 4 says which template a manifest is from, and runs in the folder of the chart.
    let rendered = output(&mut with_post_renderer(&kit, &[])?)?;
    let mut ours = objects(&rendered)?;
    ours.sort_by(by_name);
    same(&ours, &theirs)
}

fn the_post_renderer_refuses(helm_path: &Path) -> Result<(), Failed> {
    let kit = chart(helm_path)?;
    for path in ["plain/templates/t.yaml", "demo/templates/t.yaml"] {
        fs::write(kit.path(path), "")?;
    }
    let mut command = kit.ours();
    let ended = command.args(["helm", "post-render"]).stdin(std::process::Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() || !said.contains("nothing was rendered") {
        return Err(format!("an empty input passes: {said}").into());
    }
    // What was tampered with is refused, and nothing of it comes out.
    let kit = chart_with_manifests(helm_path)?;
    let path = kit.path("demo/templates/a.yaml");
    let text = fs::read_to_string(&path)?.replace("name: a\n", "name: b\n");
    fs::write(&path, text)?;
    let source = format!("--source={}", kit.path("demo").display());
    let ended = with_post_renderer(&kit, &[&source])?.output()?;
    let is_told = !String::from_utf8_lossy(&ended.stdout).contains(CANARY);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() || !is_told || !said.contains("post") {
        return Err(format!("what was tampered with is rendered: {said}").into());
    }
    // Helm 4 does not tell what a plugin says.
    let stream = output(kit.helm().args(["template", "shop", ".", "--namespace", "sea"]))?;
    kit.put("stream", &stream)?;
    let mut command = kit.ours();
    command.args(["helm", "post-render", &source]).stdin(fs::File::open(kit.path("stream"))?);
    let ended = command.output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    let is_refused = !ended.status.success() && said.contains("templates/a.yaml") && said.contains("MAC");
    (is_refused && ended.stdout.is_empty()).then_some(()).ok_or_else(|| said.into())
}

/// Returns a program with nothing around it.
fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

fn the_wrapper_hands_over(helm_path: &Path) -> Result<(), Failed> {
    let kit = chart(helm_path)?;
    let expected = kit.expected(&["-f", "secrets.yaml", "--set-file", "b=files/b.txt"])?;
    let template = ["template", "shop", ".", "--namespace", "sea"];
    let wrap = || {
        let mut command = kit.ours();
        with_helm(command.args(["helm", "wrap"]), &kit).arg("--").args(template);
        command
    };
    for values in [
        ["-f", "secrets.yaml", "--set-file", "b=files/b.txt"],
        [
            "--values=values.yaml,secrets.yaml",
            "-fsecrets://secrets.yaml",
            "--set-file",
            "b=secrets://files/b.txt",
        ],
    ] {
        same(&objects(&output(wrap().args(values))?)?, &expected)?;
    }
    // By the name of Helm, as a server runs it.
    let by_name = kit.path("bin/helm");
    kit.put("bin/x", b"")?;
    symlink(env!("CARGO_BIN_EXE_selkie-decryptor"), &by_name)?;
    let mut command = Command::new(&by_name);
    command.env_clear().env("SELKIE_HELM_BIN", kit.helm_path()).env("SOPS_AGE_KEY_FILE", kit.path("key.txt"));
    command.env("HOME", kit.around.path()).current_dir(kit.path("demo")).args(template);
    let rendered = output(command.args(["-f", "secrets.yaml", "--set-file", "b=files/b.txt"]))?;
    same(&objects(&rendered)?, &expected)?;
    let ended = wrap().args(["-xf", "secrets.yaml"]).output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() || String::from_utf8_lossy(&ended.stdout).contains("ENC[") {
        return Err(format!("ciphertext is taken for values: {said}").into());
    }
    let ended = wrap().args(["secrets.yaml"]).output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() || !said.contains("secrets.yaml: is encrypted, and named where Helm") {
        return Err(said.into());
    }
    let ended = command_of(&by_name).env("SELKIE_HELM_BIN", &by_name).args(template).output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() || !said.contains("is this program") {
        return Err(said.into());
    }
    // Its exit code and what it says are Helm's; what is refused never comes to it.
    let ended = wrap().args(["--set-file"]).output()?;
    if ended.status.code() != Some(1) {
        return Err(format!("{}", ended.status).into());
    }
    let ended = wrap().args(["-f", "secrets://values.yaml"]).output()?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    (!ended.status.success() && said.contains("is not encrypted")).then_some(()).ok_or_else(|| said.into())
}
