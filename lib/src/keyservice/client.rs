//! Asking a key service.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::failure::error_of;
use super::message::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, Key};
use super::{Address, DECRYPT, ENCRYPT, MAX_MESSAGE, connection};
use crate::keys::{Cause, Effort, KeyError, KeyFuture, KeyService, KeySetup, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// A key service elsewhere, by its address. All keys are its business: whether it can use one, it must say.
///
/// All requests go through one connection, which is made with the first of them.
pub struct RemoteKeyService {
    address: Address,
    setup: KeySetup,
    channel: Arc<OnceLock<Channel>>,
}

impl RemoteKeyService {
    /// Returns the service at an address. Nobody is asked yet.
    #[must_use]
    pub fn new(address: Address, setup: &KeySetup) -> Self {
        Self { address, setup: setup.clone(), channel: Arc::default() }
    }

    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, KeyError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (address, channel) = (self.address.clone(), Arc::clone(&self.channel));
        if is_exposed(&address) {
            self.setup.warn(&format!(
                "data keys go to the key service {address} and back as they are: whoever is on the way can read them"
            ));
        }
        let limit = self.setup.remote.limit();
        let answer = self.setup.remote.run(async move {
            // Here, as it needs a runtime.
            let channel = channel.get_or_init(|| open(&address)).clone();
            let mut request = Request::new(question);
            request.set_timeout(limit);
            let mut client = Grpc::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE);
            let failed = |status: &Status| KeyError::from(error_of(&address, status));
            client.ready().await.map_err(|error| failed(&Status::from_error(error.into())))?;
            let answer = client.unary(request, PathAndQuery::from_static(path), ProstCodec::default());
            Ok(answer.await.map_err(|status| failed(&status))?.into_inner())
        });
        answer.await.map_err(|error| self.named(error))
    }

    /// Says who did not answer in time.
    fn named(&self, error: KeyError) -> KeyError {
        match error {
            KeyError::Service(error) if !error.detail.contains(&self.name()) => {
                let detail = format!("the key service {}: {}", self.address, error.detail);
                ServiceError { detail, ..error }.into()
            }
            error => error,
        }
    }

    fn malformed(&self, what: &str) -> KeyError {
        let detail = format!("the key service {} answered with {what}", self.address);
        ServiceError::new(Cause::Answer, detail).into()
    }
}

impl KeyService for RemoteKeyService {
    fn name(&self) -> String {
        self.address.to_string()
    }

    fn effort(&self, _: &MasterKey) -> Effort {
        Effort::Elsewhere
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        let question = EncryptRequest { key: Some(Key::of(key)), plaintext: secret.expose_secret().to_vec() };
        Box::pin(async move {
            let answer: Result<EncryptResponse, _> = self.ask(ENCRYPT, question).await;
            Some(answer.and_then(|answer| match String::from_utf8(answer.ciphertext) {
                Ok(text) if !text.is_empty() => Ok(text),
                Ok(_) => Err(self.malformed("nothing")),
                Err(_) => Err(self.malformed("what is no text")),
            }))
        })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        let question =
            DecryptRequest { key: Some(Key::of(key)), ciphertext: key.wrapped().as_bytes().to_vec() };
        Box::pin(async move {
            let answer: Result<DecryptResponse, _> = self.ask(DECRYPT, question).await;
            Some(answer.and_then(|answer| match answer.plaintext.as_slice() {
                [] => Err(self.malformed("nothing")),
                plaintext => Ok(plaintext.into()),
            }))
        })
    }
}

/// Returns whether others than this machine can read what goes to an address.
fn is_exposed(address: &Address) -> bool {
    match address {
        Address::Tcp { host, .. } => {
            !host.eq_ignore_ascii_case("localhost")
                && !host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
        }
        Address::Unix { .. } => false,
    }
}

/// Returns what connects with the first request, and anew when the connection is lost.
fn open(address: &Address) -> Channel {
    let address = address.clone();
    let connect = service_fn(move |_: Uri| {
        let address = address.clone();
        async move { connection::connect(&address).await.map(TokioIo::new) }
    });
    // The host of the requests, which no server looks at.
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::keys::{Remote, age};

    fn client(address: &str) -> RemoteKeyService {
        let mut setup = KeySetup::new(|_| None);
        setup.remote = Arc::new(Remote::new(Duration::from_secs(5)));
        RemoteKeyService::new(address.parse().expect("an address"), &setup)
    }

    fn failure(address: &str) -> ServiceError {
        let mut key = MasterKey::parse_list(&age::KIND, RECIPIENT).expect("a recipient").remove(0);
        key.set_wrapped("enc".to_owned(), "");
        match pollster::block_on(client(address).unwrap(&key)) {
            Some(Err(KeyError::Service(error))) => error,
            Some(Err(error)) => panic!("{error}"),
            _ => panic!("there is an answer"),
        }
    }

    /// Starts what answers one connection with bytes, once it has read these; returns its address.
    fn server(answer: Vec<u8>, question: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
            while !read.windows(question.len()).any(|window| window == question) {
                let length = stream.read(&mut chunk).expect("a question");
                read.extend_from_slice(&chunk[..length]);
            }
            let _ = stream.write_all(&answer);
            // Until the client is done with it.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        address
    }

    #[test]
    fn nobody_at_the_address_is_unreachable() {
        let failure = failure("tcp://127.0.0.1:1");
        assert_eq!(failure.cause, Cause::Unreachable);
        assert_eq!(failure.detail, "the key service tcp://127.0.0.1:1 cannot be reached: Connection refused");
        let remedy = failure.remedy.unwrap_or_default();
        assert!(remedy.contains("`kubectl seal keyservice --listen tcp://127.0.0.1:1`"), "{remedy}");
    }

    #[test]
    fn people_are_told_that_others_can_listen() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let mut setup = KeySetup::new(|_| None)
            .with_warnings(move |text| log.lock().expect("no panic").push(text.to_owned()));
        setup.remote = Arc::new(Remote::new(Duration::from_millis(100)));
        let mut key = MasterKey::parse_list(&age::KIND, RECIPIENT).expect("a recipient").remove(0);
        key.set_wrapped("enc".to_owned(), "");
        // The last stands for other machines: nobody can know where it leads.
        for address in ["tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://localhost:1", "tcp://0.0.0.0:1"] {
            let service = RemoteKeyService::new(address.parse().expect("an address"), &setup);
            assert_eq!(*told.lock().expect("no panic"), [""; 0], "{address}");
            for _ in 0..2 {
                assert!(matches!(pollster::block_on(service.unwrap(&key)), Some(Err(_))));
            }
        }
        let told = told.lock().expect("no panic");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("data keys go to the key service tcp://0.0.0.0:1"), "{told:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_that_is_not_there_is_unreachable() {
        let failure = failure("unix:///nonexistent/socket");
        assert_eq!(failure.cause, Cause::Unreachable);
        assert!(failure.detail.contains("unix:///nonexistent/socket"), "{failure}");
    }

    #[test]
    fn what_speaks_another_language_is_no_answer() {
        for answer in [
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            b"220 mail.example.com ESMTP\r\n",
            &[0xff; 4096],
        ] {
            let failure = failure(&server(answer.to_vec(), b"HTTP/2.0"));
            assert_eq!(failure.cause, Cause::Answer, "{failure}");
            assert!(failure.detail.ends_with("does not speak gRPC, or not any more"), "{failure}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_refused() {
        // As the protocol has it: settings, headers, and a message that says it is longer than it may be.
        let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
            let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
            [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
        };
        // `:status: 200`, and `content-type: application/grpc` without compression.
        let content_type = [&[0x0f, 16, 16][..], b"application/grpc"].concat();
        let headers = [&[0x88][..], &content_type].concat();
        let length = u32::try_from(MAX_MESSAGE + 1).expect("a length").to_be_bytes();
        let message = [&[0][..], &length].concat();
        let answer =
            [frame(4, 0, 0, &[]), frame(4, 1, 0, &[]), frame(1, 4, 1, &headers), frame(0, 0, 1, &message)];
        let failure = failure(&server(answer.concat(), RECIPIENT.as_bytes()));
        assert_eq!(failure.cause, Cause::Answer, "{failure}");
        assert!(failure.detail.contains("too large"), "{failure}");
    }

    const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
}
