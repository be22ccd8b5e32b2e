//! Buckets of Google Cloud Storage, by its JSON interface.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};
use selkie::keys::gcp_kms::Credentials;
use selkie::keys::http::{Answer, Http};
use selkie::keys::{Cause, KeySetup, ServiceError, said};
use selkie::secret::SecretBytes;
use selkie::sops::config::Target;
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::told::host_of;
use super::{Arrival, Destination, PutFuture, Takes};

/// Returns the bucket that a target names, if it is one.
pub(super) fn connect(
    target: &Target,
    setup: &KeySetup,
) -> Option<Result<Arc<dyn Destination>, ServiceError>> {
    let Target::Gcs { bucket, prefix } = target else { return None };
    let (bucket, prefix) = (bucket.clone(), prefix.clone());
    Some(Endpoint::of(setup).map(|endpoint| {
        let (setup, connection) = (setup.clone(), Arc::default());
        Arc::new(Gcs { bucket, prefix, endpoint, setup, connection }) as Arc<dyn Destination>
    }))
}

/// A bucket.
struct Gcs {
    bucket: String,
    prefix: String,
    endpoint: Endpoint,
    setup: KeySetup,
    connection: Arc<OnceCell<Connection>>,
}

/// Where requests go.
#[derive(Clone, Debug)]
struct Endpoint {
    url: Url,
    /// Whether requests need credentials. Emulators know of none.
    needs_credentials: bool,
}

/// What requests are sent with.
struct Connection {
    http: Http,
    credentials: Option<Credentials>,
}

impl Destination for Gcs {
    fn takes(&self) -> Takes {
        Takes::Document
    }

    fn address(&self, name: &str) -> String {
        format!("gcs://{}/{}{name}", self.bucket, self.prefix)
    }

    fn put<'a>(&'a self, name: &'a str, content: &'a SecretBytes) -> PutFuture<'a> {
        let (connection, setup) = (Arc::clone(&self.connection), self.setup.clone());
        let (endpoint, bucket) = (self.endpoint.clone(), self.bucket.clone());
        let (name, body) = (format!("{}{name}", self.prefix), content.expose_secret().to_vec());
        Box::pin(self.setup.remote.run(async move {
            let connect = || async { Connection::new(&endpoint, &setup) };
            let connection = connection.get_or_try_init(connect).await?;
            let length = body.len();
            let url = endpoint.upload(&bucket, &name)?;
            let request = connection.http.request(Method::POST, url.as_str()).header(CONTENT_TYPE, TEXT);
            let request = match &connection.credentials {
                Some(credentials) => request.headers(credentials.headers().await?),
                None => request,
            };
            let answer = connection.http.send(request.body(body)).await;
            let answer = answer.map_err(|error| endpoint.not_reached(error))?;
            Ok(arrived(&answer, &bucket, length)?)
        }))
    }
}

impl Endpoint {
    /// Returns Google's own, or the emulator that `STORAGE_EMULATOR_HOST` names: a host with its port, or a URL.
    fn of(setup: &KeySetup) -> Result<Self, ServiceError> {
        let emulator = setup.variable(EMULATOR);
        let text = match &emulator {
            None => "https://storage.googleapis.com".to_owned(),
            Some(url) if url.contains("://") => url.clone(),
            Some(host) => format!("http://{host}"),
        };
        let unusable = || {
            ServiceError::new(Cause::Other, format!("{EMULATOR} is no address: {:?}", said(&text)))
                .with_remedy(format!("set {EMULATOR} to a host and a port, or unset it"))
        };
        let url = Url::parse(&text).ok().filter(|url| !url.cannot_be_a_base()).ok_or_else(unusable)?;
        Ok(Self { url, needs_credentials: emulator.is_none() })
    }

    /// Says which server a request did not get to.
    fn not_reached(&self, error: ServiceError) -> ServiceError {
        let detail = format!("{}: {}", host_of(self.url.as_str()), error.detail);
        let error = ServiceError { detail, ..error };
        match self.needs_credentials {
            true => error,
            false => error.with_remedy(format!("see whether {EMULATOR} names the right one, or unset it")),
        }
    }

    /// Returns the address that an object is sent to.
    fn upload(&self, bucket: &str, name: &str) -> Result<Url, ServiceError> {
        let mut url = self.url.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(["upload", "storage", "v1", "b", bucket, "o"]),
            Err(()) => return Err(ServiceError::new(Cause::Other, "the endpoint is no address")),
        };
        url.query_pairs_mut().append_pair("uploadType", "media").append_pair("name", name);
        Ok(url)
    }
}

impl Connection {
    fn new(endpoint: &Endpoint, setup: &KeySetup) -> Result<Self, ServiceError> {
        // Whoever names a token means it for whatever server they name.
        let has_token = setup.variable("GOOGLE_OAUTH_ACCESS_TOKEN").is_some();
        let credentials = match endpoint.needs_credentials || has_token {
            true => Some(Credentials::find(setup)?),
            false => None,
        };
        Ok(Self { http: Http::new()?, credentials })
    }
}

/// Returns what became of an object of this length.
fn arrived(answer: &Answer, bucket: &str, length: usize) -> Result<Arrival, ServiceError> {
    let status = answer.status;
    if status == 200 {
        let object = answer.json()?;
        let size = object.get("size").map(|size| match size {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        });
        // Whatever answers so is no storage, or keeps something else.
        return match size {
            Some(size) if size != length.to_string() => {
                let detail = format!("{size} bytes arrived in place of {length}");
                Err(ServiceError::new(Cause::Answer, detail))
            }
            _ => Ok(Arrival::Put),
        };
    }
    let message = answer.json().ok().and_then(|json| {
        let message = json.pointer("/error/message").or_else(|| json.pointer("/error_description"));
        message.and_then(Json::as_str).map(said)
    });
    let detail = match message {
        Some(message) => format!("GCS answered with status {status}: {message}"),
        None => format!("GCS answered with status {status}"),
    };
    Err(match status {
        401 => ServiceError::new(Cause::Credentials, detail).with_remedy(LOG_IN),
        403 => ServiceError::new(Cause::Denied, detail)
            .with_remedy(format!("ask for the permission storage.objects.create on the bucket {bucket}")),
        404 => ServiceError::new(Cause::Key, detail)
            .with_remedy("make the bucket, or correct gcs_bucket in the destination rule"),
        429 | 500..=599 => ServiceError::new(Cause::Other, detail).with_remedy("try again later"),
        _ => ServiceError::new(Cause::Other, detail),
    })
}

const LOG_IN: &str = "run `gcloud auth application-default login`, or set GOOGLE_CREDENTIALS to the credentials of a service account";

/// The variable of Google's own libraries.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// As sops says; every encrypted document is text.
const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use selkie::keys::KeyError;

    use super::*;

    /// Answers one request so; returns where, and what it will have been asked.
    fn server(answer: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let asked = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream);
            let (mut request, mut length) = (String::new(), 0);
            while !request.ends_with("\r\n\r\n") {
                let start = request.len();
                reader.read_line(&mut request).expect("a line");
                let line = request[start..].to_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().expect("a number");
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            reader.get_mut().write_all(answer.as_bytes()).expect("an answer");
            request + &String::from_utf8(body).expect("a text")
        });
        (host, asked)
    }

    fn put(variables: &[(&str, &str)], content: &str) -> Result<Arrival, ServiceError> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let find = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let target = Target::Gcs { bucket: "a bucket".into(), prefix: "front/".into() };
        let destination = connect(&target, &KeySetup::new(find)).expect("it is one")?;
        let put = pollster::block_on(destination.put("b&c.yaml", &content.into()));
        put.map_err(|error| match error {
            KeyError::Service(error) => error,
            error => panic!("{error}"),
        })
    }

    #[test]
    fn a_request_names_bucket_and_object_and_bears_a_token() {
        let (host, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"size\": \"5\" }");
        let arrival = put(&[(EMULATOR, &host), ("GOOGLE_OAUTH_ACCESS_TOKEN", "secret")], "a: x\n");
        assert_eq!(arrival, Ok(Arrival::Put));
        let asked = asked.join().expect("a request");
        let line =
            "POST /upload/storage/v1/b/a%20bucket/o?uploadType=media&name=front%2Fb%26c.yaml HTTP/1.1\r\n";
        assert!(asked.starts_with(line), "{asked}");
        assert!(asked.contains("authorization: Bearer secret\r\n"), "{asked}");
        assert!(asked.contains("content-type: text/plain; charset=utf-8\r\n"), "{asked}");
        assert!(asked.ends_with("\r\n\r\na: x\n"), "{asked}");
    }

    #[test]
    fn what_did_not_arrive_as_a_whole_is_told() {
        let (host, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"size\":\"4\"}");
        let error = put(&[(EMULATOR, &format!("http://{host}"))], "a: x\n").expect_err("a byte is missing");
        assert_eq!((error.cause, error.detail.as_str()), (Cause::Answer, "4 bytes arrived in place of 5"));
    }

    #[test]
    fn each_refusal_has_its_cause() {
        let cause = |answer| {
            let (host, _) = server(answer);
            put(&[(EMULATOR, &host)], "a: x\n").map_err(|error| (error.cause, error.detail))
        };
        let refused = |cause, detail: &str| Err((cause, format!("GCS answered with status {detail}")));
        assert_eq!(
            cause("HTTP/1.1 403 X\r\nContent-Length: 29\r\n\r\n{\"error\":{\"message\":\"not you\"}}"),
            refused(Cause::Denied, "403")
        );
        assert_eq!(
            cause("HTTP/1.1 401 X\r\nContent-Length: 31\r\n\r\n{\"error\":{\"message\":\"not you\"}}"),
            refused(Cause::Credentials, "401: not you")
        );
        assert_eq!(cause("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"), refused(Cause::Key, "404"));
        assert_eq!(cause("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"), refused(Cause::Other, "503"));
        // A redirect would take a token elsewhere.
        assert_eq!(
            cause("HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            refused(Cause::Other, "307")
        );
    }

    #[test]
    fn an_emulator_is_a_host_or_an_address() {
        let url = |value: &'static str| {
            Endpoint::of(&KeySetup::new(move |name| (name == EMULATOR).then(|| value.to_owned())))
                .map(|endpoint| (endpoint.url.to_string(), endpoint.needs_credentials))
        };
        assert_eq!(url("localhost:1"), Ok(("http://localhost:1/".to_owned(), false)));
        assert_eq!(url("https://a/x"), Ok(("https://a/x".to_owned(), false)));
        assert_eq!(url(""), Ok(("https://storage.googleapis.com/".to_owned(), true)));
        assert!(url("a b://").is_err());
    }
}
