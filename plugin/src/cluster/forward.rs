//! Plain HTTP through a port that the API server forwards to a Pod.

use http::header;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use serde::Deserialize;

use super::controller::Controller;
use super::{Answer, Asked, ClusterError, Question, error, read, retry_after, segment};

impl Controller<'_> {
    /// Returns what a Pod of the Service answers.
    pub(super) fn forward(&self, question: Question) -> Result<Answer, ClusterError> {
        let (pod, port) = self.pod()?;
        let asked = Asked::one("create", "pods/portforward", &self.namespace, &pod);
        self.cluster.wait(&asked, async {
            let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
            let mut forwarder = pods
                .portforward(&pod, &[port])
                .await
                .map_err(|error| error::from_client(&error, &asked, &self.cluster.server))?;
            let broken =
                |error: hyper::Error| ClusterError::Broken { asked: asked.clone(), why: error::tell(&error) };
            let stream = forwarder
                .take_stream(port)
                .ok_or_else(|| ClusterError::NoPod(format!("there is no stream of port {port}")))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            // Whether it ends well is seen by what is read of it.
            tokio::spawn(async { connection.await.map_or((), |()| ()) });
            let greatest = question.greatest;
            let mut request = question.into_request::<Bytes>()?;
            request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
            let request = request.map(Full::new);
            let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body = read(body, &asked, greatest).await?;
            Ok(Answer { status: parts.status, retry_after: retry_after(&parts.headers), body })
        })
    }

    /// Returns a Pod of the Service that is ready, and the port that it listens on.
    fn pod(&self) -> Result<(String, u16), ClusterError> {
        let spec = self.service.spec.as_ref();
        let selector = spec.and_then(|spec| spec.selector.as_ref()).filter(|labels| !labels.is_empty());
        let port = spec.and_then(|spec| spec.ports.as_ref()?.first());
        let (Some(selector), Some(port)) = (selector, port) else {
            return Err(ClusterError::NoPod("the Service selects no Pods, or has no port".to_owned()));
        };
        let labels: Vec<_> = selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let pods = self.pods(&labels.join(","))?;
        let ready = pods.into_iter().find(is_ready);
        let pod = ready.ok_or_else(|| ClusterError::NoPod("no Pod of the Service is ready".to_owned()))?;
        let number = number(port, &pod)
            .ok_or_else(|| ClusterError::NoPod("the Pod has no port of that name".to_owned()))?;
        Ok((pod.metadata.name.unwrap_or_default(), number))
    }

    fn pods(&self, selector: &str) -> Result<Vec<Pod>, ClusterError> {
        let asked = Asked::many("list", "pods", Some(&self.namespace));
        let (namespace, selector) = (segment(&self.namespace)?, segment(selector)?);
        let path = format!("/api/v1/namespaces/{namespace}/pods?limit=100&labelSelector={selector}");
        let answer = self.cluster.ask(&asked, Question::get(path))?;
        let list: Pods =
            serde_json::from_slice(answer.expose_secret()).map_err(|_| ClusterError::Malformed { asked })?;
        Ok(list.items)
    }
}

#[derive(Deserialize)]
struct Pods {
    items: Vec<Pod>,
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready" && condition.status == "True");
    pod.metadata.deletion_timestamp.is_none() && ready.next().is_some()
}

/// Returns the port of a Pod to which a port of its Service leads.
fn number(port: &ServicePort, pod: &Pod) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use serde_json::json;
    use tungstenite::Message;
    use tungstenite::handshake::server::{Request, Response};

    use super::super::{Cluster, ClusterError, Overrides, Verdict};
    use crate::session::{Environment, Input, Output, Session};

    #[test]
    fn a_pod_is_asked_where_the_proxy_is_forbidden() {
        let cluster = cluster(&json!([pod("starting", "False", 1), pod("ready", "True", 8080)]));
        let controller = cluster.controller("ns", "name").expect("there is a Service");
        assert_eq!(controller.fetch_cert().expect("the Pod answers"), b"GET /v1/cert.pem");
        // The way is known by now.
        assert_eq!(controller.verify(b"{}").expect("the Pod answers"), Verdict::Unsealable);
    }

    #[test]
    fn a_pod_that_is_not_ready_is_not_asked() {
        let cluster = cluster(&json!([pod("starting", "False", 8080)]));
        let error = cluster.controller("ns", "name").expect("there is a Service").fetch_cert();
        let Err(ClusterError::Controller { proxy, forward, .. }) = error else { panic!("{error:?}") };
        assert!(matches!(*proxy, ClusterError::Forbidden { .. }), "{proxy}");
        assert!(matches!(*forward, ClusterError::NoPod(_)), "{forward}");
    }

    fn pod(name: &str, ready: &str, port: u16) -> serde_json::Value {
        json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "a", "ports": [{"name": "web", "containerPort": port}]}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    /// Returns a cluster in which nothing but a forwarded port leads to a controller.
    fn cluster(pods: &serde_json::Value) -> Cluster {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a port");
        let server = format!("http://{}", listener.local_addr().expect("it has an address"));
        let pods = json!({"items": pods}).to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pods = pods.clone();
                thread::spawn(move || serve(stream, &pods));
            }
        });
        let session = Session {
            environment: Environment::default(),
            directory: "/".into(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: time::OffsetDateTime::now_utc,
            audit: "/nonexistent".into(),
        };
        let overrides = Overrides { server: Some(server), ..Overrides::default() };
        Cluster::connect(&overrides, &session).expect("it is configured")
    }

    /// Answers one request as the API server does.
    fn serve(mut stream: TcpStream, pods: &str) {
        let mut head = [0; 1024];
        let length = stream.peek(&mut head).expect("it is asked");
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match path {
            "/api/v1/namespaces/ns/services/name" => {
                ("200 OK", r#"{"spec":{"selector":{"app":"x"},"ports":[{"port":80,"targetPort":"web"}]}}"#)
            }
            "/api/v1/namespaces/ns/pods?limit=100&labelSelector=app%3Dx" => ("200 OK", pods),
            path if path.starts_with("/api/v1/namespaces/ns/pods/ready/portforward") => {
                return forward(stream);
            }
            _ => ("403 Forbidden", r#"{"kind":"Status","message":"no"}"#),
        };
        let _ = stream.read(&mut [0; 1024]).expect("it is asked");
        let answer =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).expect("the answer is read");
    }

    /// Forwards a port: frames begin with the number of their channel, 0 for what is sent and 1 for errors.
    #[expect(clippy::result_large_err, reason = "what a callback returns is not ours to choose")]
    fn forward(stream: TcpStream) {
        let protocol = |request: &Request, mut response: Response| {
            let offered = request.headers().get("sec-websocket-protocol").and_then(|text| text.to_str().ok());
            let first = offered.and_then(|text| text.split(',').next()).unwrap_or_default();
            response
                .headers_mut()
                .insert("sec-websocket-protocol", first.trim().parse().expect("it is a header"));
            Ok(response)
        };
        let mut socket = tungstenite::accept_hdr(stream, protocol).expect("it is a WebSocket");
        let send = |bytes: &[u8], socket: &mut tungstenite::WebSocket<TcpStream>| {
            socket.send(Message::binary(bytes.to_vec())).expect("it is read");
        };
        let [low, high] = 8080_u16.to_le_bytes();
        send(&[0, low, high], &mut socket);
        send(&[1, low, high], &mut socket);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && !request.ends_with(b"{}") {
            if let Message::Binary(bytes) = socket.read().expect("it is asked") {
                request.extend_from_slice(bytes.get(1..).unwrap_or_default());
            }
        }
        let line = String::from_utf8_lossy(&request);
        let line = line.split(" HTTP").next().unwrap_or_default();
        let answer = format!("\0HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len());
        send(answer.as_bytes(), &mut socket);
        // Until the other side has enough.
        while socket.read().is_ok() {}
    }
}
