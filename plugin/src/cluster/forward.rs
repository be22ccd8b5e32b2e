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
            let mut request = question.into_request::<Vec<u8>>()?;
            request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
            let request = request.map(|body| Full::new(Bytes::from(body)));
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
