//! A process that answers as an API server with a controller of Sealed Secrets behind it does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value as Json, json};

/// A running server. It ends when it is dropped.
pub struct Api {
    address: String,
    ends: Arc<AtomicBool>,
}

impl Api {
    /// Starts a server whose controller gives out this certificate.
    pub fn start(cert: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let ends = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ends);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let cert = cert.clone();
                // Whoever asked may have gone.
                thread::spawn(move || drop(answer(stream, &cert)));
            }
        });
        Ok(Self { address, ends })
    }

    /// Returns a kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n\
             current-context: x\n",
            self.address
        )
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the thread that waits.
        drop(TcpStream::connect(&self.address));
    }
}

fn answer(stream: TcpStream, cert: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap_or(0);
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, body) = route(first.split(' ').nth(1).unwrap_or_default(), &body, cert);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(body.as_bytes())
}

fn route(path: &str, body: &[u8], cert: &str) -> (&'static str, String) {
    let services = "/api/v1/namespaces/kube-system/services/";
    let object: Json = serde_json::from_slice(body).unwrap_or_default();
    match path.strip_prefix(services) {
        Some("sealed-secrets-controller") => {
            let spec = json!({"ports": [{"name": "http", "port": 8080}]});
            let metadata = json!({"name": "sealed-secrets-controller", "namespace": "kube-system"});
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
            ("200 OK", service.to_string())
        }
        Some("http:sealed-secrets-controller:http/proxy/v1/cert.pem") => ("200 OK", cert.to_owned()),
        Some("http:sealed-secrets-controller:http/proxy/v1/verify") => {
            let is_bad = object["metadata"]["name"] == "bad";
            (if is_bad { "409 Conflict" } else { "200 OK" }, String::new())
        }
        Some("http:sealed-secrets-controller:http/proxy/v1/rotate") => {
            ("200 OK", rotated(&object).to_string())
        }
        _ => {
            let status = json!({"apiVersion": "v1", "kind": "Status", "code": 404, "reason": "NotFound", "status": "Failure",
                "message": "services \"x\" not found"});
            ("404 Not Found", status.to_string())
        }
    }
}

/// Returns what a controller makes of an object: it knows its name, and the Secret that it stands for.
fn rotated(object: &Json) -> Json {
    let metadata = json!({"name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"]});
    let items = object["spec"]["encryptedData"].as_object().into_iter().flatten();
    let items: Json =
        items.map(|(key, _)| (key.clone(), Json::from("AAFST1RBVEVEUk9UQVRFRFJPVEFU"))).collect();
    json!({"metadata": metadata, "spec": {"template": {"metadata": metadata}, "encryptedData": items}})
}
