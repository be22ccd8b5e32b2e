//! A plaintext that is nowhere but in its Secret.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::keys::{OWN, SMALL};
use super::lab::{Deed, Lab};
use super::process::{Process, send};
use super::space::Space;
use super::{is_so, same, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("canary::text", &[], |lab| canary(lab, "canary-text", "text")),
        test("canary::json", &[], |lab| canary(lab, "canary-json", "json")),
    ]
}

fn canary(lab: &Lab, namespace: &str, format: &str) -> Result<(), Failed> {
    let account = lab.home(namespace)?;
    let traces = Collector::start(&lab.cluster.outside)?;
    let format = format!("--log-format={format}");
    let flags = [&OWN[..], &[SMALL, "--log-level=DEBUG", &format]].concat();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let controller = Process::spawn(lab, namespace, "one", &account, &flags, &variables)?;
    controller.wait_until_ready()?;
    let space = Space::new(lab, namespace, controller.certificate()?);
    // No constant: it would be in the program of the tests alone, yet who knows.
    let marker = format!(
        "canary-{:016x}-{:08x}",
        rand_core::RngCore::next_u64(&mut rand_core::OsRng),
        controller.pid()
    );
    let make = |name: &str,
                fields: serde_json::Value,
                template: serde_json::Value|
     -> Result<serde_json::Value, Failed> {
        let mut sealed = space.seal(name, fields)?;
        sealed["metadata"]["labels"] = json!({"lab": "own"});
        sealed["spec"]["template"]["data"] = template;
        space.create(&sealed)
    };
    let value =
        json!({"stringData": {"password": marker, "long": format!("{}{marker}", "x".repeat(100_000))}});
    let made = make("good", value.clone(), json!({"url": "https://{{ .password }}@host"}))?;
    space.ready("good")?;
    is_so(
        "it is in its Secret",
        space.secret("good")?.to_string().contains(&STANDARD.encode(&marker)),
        &json!(null),
    )?;
    // And all that goes wrong.
    make("failing", value.clone(), json!({"url": "{{ fail .password }}"}))?;
    space.failed("failing", "TemplateFailed")?;
    make(
        "erring",
        value.clone(),
        json!({"url": "{{ fromJson .password | required .password }}{{ .password.x.y }}"}),
    )?;
    space.failed("erring", "TemplateFailed")?;
    space.create_secret("taken", json!({"stringData": {"a": "1"}}))?;
    make("taken", value.clone(), json!(null))?;
    space.failed("taken", "Unmanaged")?;
    let mut refused = value.clone();
    refused["metadata"] = json!({"labels": {"a": "no label!"}});
    make("refused", refused, json!(null))?;
    space.failed("refused", "UpdateFailed")?;
    let mut refused = value.clone();
    refused["type"] = "kubernetes.io/dockerconfigjson".into();
    refused["stringData"][".dockerconfigjson"] = format!("{{{marker}").into();
    make("json", refused, json!(null))?;
    // What is no JSON, the API server tells by its first character.
    let message = space.failed("json", "UpdateFailed")?;
    same("what is told", message, "the API server says Invalid: data (FieldValueInvalid)".to_owned())?;
    space.patch_secret("good", json!({"data": {"password": "eA=="}}))?;
    lab.wait("it is healed", || {
        Ok((space.secret("good")?["data"]["password"] == STANDARD.encode(&marker)).then_some(()))
    })?;
    space.ready("good")?;
    for path in ["/v1/verify", "/v1/rotate"] {
        let answer = send((&lab.cluster.inside, controller.port), "POST", path, &[], &made.to_string())?;
        same(path, answer.status, 200)?;
        is_so("it is not answered", !answer.body.contains(&marker), &json!(path))?;
    }
    let forms = Forms::new(&marker);
    forms.are_not_in("the metrics", controller.metrics()?.as_bytes())?;
    for kind in ["/api/v1/namespaces/NS/events", "/apis/bitnami.com/v1alpha1/namespaces/NS/sealedsecrets"] {
        let objects = lab.act(&kind.replace("NS", namespace), Deed::Get)?;
        is_so(
            "there are some",
            objects["items"].as_array().is_some_and(|items| items.len() > 3),
            &json!(kind),
        )?;
        forms.are_not_in(kind, objects.to_string().as_bytes())?;
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", controller.pid()))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    same("core files", core.split_whitespace().nth(4), Some("0"))?;
    // What is there is found, so that what is not found is not there.
    is_so(
        "memory can be read",
        !Forms::new(namespace).in_memory(controller.pid())?.is_empty(),
        &json!(null),
    )?;
    // What is freed is wiped, and what is kept for the next request is not kept for long.
    let mut found = BTreeMap::new();
    lab.wait("nothing in memory", || {
        found = forms.in_memory(controller.pid())?;
        Ok(found.is_empty().then_some(()))
    })
    .map_err(|failed| format!("{}: {found:#?}", failed.message().unwrap_or_default()))?;
    controller.end()?;
    forms.are_not_in("the log", controller.log()?.as_bytes())?;
    let traced = traces.bytes();
    is_so("there are traces", traced.windows(9).any(|window| window == b"reconcile"), &json!(traced.len()))?;
    forms.are_not_in("the traces", &traced)
}

/// The forms in which a text may be found.
struct Forms(Vec<Vec<u8>>);

impl Forms {
    fn new(marker: &str) -> Self {
        let mut forms = vec![marker.as_bytes().to_vec()];
        // Of base64, at each offset, the part that does not depend on what is around.
        for offset in 0..3 {
            let encoded = STANDARD.encode(format!("{}{marker}", "x".repeat(offset)));
            forms.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
        }
        Self(forms)
    }

    fn are_not_in(&self, what: &str, bytes: &[u8]) -> Result<(), Failed> {
        match self.find(bytes) {
            None => Ok(()),
            Some(at) => {
                let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 100)];
                Err(format!("the plaintext is in {what}: {}", String::from_utf8_lossy(around)).into())
            }
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.0.iter().find_map(|form| find(bytes, form))
    }

    /// Returns where in the memory of a process the text is, and what is around.
    fn in_memory(&self, pid: u32) -> Result<BTreeMap<String, String>, Failed> {
        let mut found = BTreeMap::new();
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            let Some((from, to)) = range.split_once('-').filter(|_| rights.starts_with("rw")) else {
                continue;
            };
            let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            let mut bytes = vec![0; usize::try_from(to - from)?];
            // It may be gone by now.
            if memory.read_exact_at(&mut bytes, from).is_err() {
                continue;
            }
            let mut at = 0;
            while let Some(next) = self.find(&bytes[at..]) {
                let here = at + next;
                let around = &bytes[here.saturating_sub(300)..bytes.len().min(here + 60)];
                let shown: String = around
                    .iter()
                    .map(|&byte| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' })
                    .collect();
                found.insert(format!("{:x} in {line}", from + here as u64), shown);
                at = here + 1;
            }
        }
        Ok(found)
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut rest = bytes;
    // Which looks for a byte faster than a loop of a test does.
    while rest.skip_until(first).ok()? > 0 {
        let at = (bytes.len() - rest.len()).saturating_sub(1);
        if bytes[at..].starts_with(part) {
            return Some(at);
        }
    }
    None
}

/// Takes whatever traces are sent.
struct Collector {
    url: String,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    fn start(host: &str) -> Result<Self, Failed> {
        let listener = TcpListener::bind((host, 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&bytes);
        // It ends with the process.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    let mut buffer = [0; 65536];
                    let mut request = Vec::new();
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        request.extend_from_slice(&buffer[..count]);
                        if is_whole(&request) {
                            all.lock().unwrap_or_else(PoisonError::into_inner).append(&mut request);
                            // Whoever asked may be gone.
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
                        }
                    }
                });
            }
        });
        Ok(Self { url, bytes })
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = find(request, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}
