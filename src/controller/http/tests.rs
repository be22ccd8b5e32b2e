//! Connections to the server, well behaved and not.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::test_kit::{context, keys, settings};
use super::*;

/// A server on the loopback, and how to end it.
struct Running {
    api: SocketAddr,
    metrics: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn started(settings: HttpSettings) -> Running {
    let context = context(keys(), settings);
    let server = HttpServer::bind(&context.settings).await.expect("ports of the loopback");
    let (api, metrics) = server.addresses().expect("addresses");
    let (end, ended) = oneshot::channel();
    let task = tokio::spawn(server.run(context, async { ended.await.expect("somebody ends it") }));
    Running { api, metrics, end, task }
}

impl Running {
    async fn stop(self) {
        self.end.send(()).expect("it runs");
        self.task.await.expect("it does not panic");
    }
}

async fn connected(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("somebody listens")
}

/// Sends something, and returns all that comes back until the connection ends.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connected(address).await;
    stream.write_all(request).await.expect("it is taken");
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut off has said what it said.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first line of an answer.
fn status(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

const PROBE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn both_addresses_are_served_until_the_end() {
    let server = started(settings()).await;
    let (api, metrics) = (server.api, server.metrics);
    assert_eq!(status(&exchange(api, PROBE).await), "HTTP/1.1 200 OK");
    assert_eq!(status(&exchange(metrics, PROBE).await), "HTTP/1.1 200 OK");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(metrics, request).await.contains("sealed_secrets_controller_build_info"));
    server.stop().await;
    for address in [api, metrics] {
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = holder.local_addr().expect("an address");
    let settings = HttpSettings { listen: address, ..settings() };
    let error = HttpServer::bind(&settings).await.err().expect("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
}

#[tokio::test]
async fn a_request_that_is_under_way_is_answered_before_the_end() {
    let server = started(settings()).await;
    let mut idle = connected(server.api).await;
    let mut busy = connected(server.api).await;
    let head = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    busy.write_all(head).await.expect("it is taken");
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).await.expect("it is asked for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let stopping = tokio::spawn(server.stop());
    assert_eq!(rest(&mut idle).await, "", "who asks nothing is not waited for");
    busy.write_all(b"null").await.expect("it is taken");
    assert_eq!(status(&rest(&mut busy).await), "HTTP/1.1 500 Internal Server Error");
    stopping.await.expect("it ends");
}

#[tokio::test]
async fn callers_who_hang_up_harm_nobody() {
    let server = started(settings()).await;
    let heads: [&[u8]; 4] = [
        b"",
        b"POST /v1/ver",
        b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{",
        b"POST /v1/rotate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{",
    ];
    for head in heads {
        for _ in 0..20 {
            connected(server.api).await.write_all(head).await.expect("it is taken");
        }
    }
    assert_eq!(status(&exchange(server.api, PROBE).await), "HTTP/1.1 200 OK");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = started(settings()).await;
    let large = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(80 << 10));
    let many = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: x\r\n".repeat(200));
    for request in [large, many] {
        let answer = exchange(server.api, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    for request in ["\x16\x03\x01\x02\r\n\r\n", "GET /healthz\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = exchange(server.api, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(status(&exchange(server.api, PROBE).await), "HTTP/1.1 200 OK");
    server.stop().await;
}

// With the clock that jumps to the next alarm as soon as nobody has anything else to do.
#[tokio::test(start_paused = true)]
async fn callers_who_take_their_time_are_given_up() {
    let server = started(settings()).await;
    assert_eq!(exchange(server.api, b"GET /healthz HT").await, "");
    let head = b"POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n{";
    assert_eq!(status(&exchange(server.api, head).await), "HTTP/1.1 408 Request Timeout");
    server.stop().await;
}
