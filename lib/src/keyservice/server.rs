//! Being a key service.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::connection::{Acceptor, Connection};
use super::failure::status_of;
use super::message::{DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, Key};
use super::{DECRYPT, ENCRYPT, Gate, Listener, MAX_MESSAGE, Operation, Peer, Use};
use crate::keys::{Cause, KeyError, KeyService, MasterKey, ServiceError};
use crate::secret::SecretBytes;

/// A question to a service. `None` if it is none of its business.
type Ask<'a, T> = dyn Fn(&dyn KeyService) -> Option<Result<T, KeyError>> + 'a;

/// Lets others use the keys of some services, by gRPC.
pub struct KeyServer {
    services: Vec<Box<dyn KeyService>>,
    gate: Box<dyn Gate>,
    limits: Limits,
    /// Held while a service asks a person: one question at a time.
    question: Mutex<()>,
}

/// What clients may take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many uses of keys are under way at once; further ones wait.
    pub at_once: usize,
    /// How many connections there are at once; further ones wait.
    pub connections: usize,
    /// How long a use may take, with all the waiting before it.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { at_once: 64, connections: 256, time: Duration::from_secs(300) }
    }
}

impl KeyServer {
    /// Returns a server that asks `services`, in this order, for what `gate` admits.
    #[must_use]
    pub fn new(services: Vec<Box<dyn KeyService>>, gate: impl Gate + 'static) -> Self {
        Self { services, gate: Box::new(gate), limits: Limits::default(), question: Mutex::default() }
    }

    /// Sets what clients may take.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves until `end`, and what is under way then. Must be awaited in a runtime of tokio.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub async fn serve(self, listener: Listener, end: impl Future<Output = ()>) -> io::Result<()> {
        let limits = self.limits;
        let acceptor = Acceptor::new(listener)?;
        let turns = Arc::new(Semaphore::new(limits.at_once));
        let server = Arc::new(self);
        let connections = connections(acceptor, Arc::clone(&server));
        let service = service_fn(move |request| {
            let (server, turns) = (Arc::clone(&server), Arc::clone(&turns));
            async move { Ok::<_, Infallible>(route(server, turns, request).await) }
        });
        let streams = u32::try_from(limits.at_once).unwrap_or(u32::MAX);
        Server::builder()
            .max_concurrent_streams(streams)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .serve_with_incoming_shutdown(service, connections, end)
            .await
            .map_err(io::Error::other)
    }

    /// Asks the services, one after the other, until one can use the key: all without a person first, then `asking`
    /// one.
    fn ask<T>(&self, asked: &Use<'_>, ask: &Ask<'_, T>, asking: Option<&Ask<'_, T>>) -> Result<T, Status> {
        if !asked.is_awaited() {
            return Err(Status::cancelled("nobody waits for the answer"));
        }
        let is_admitted = self.gate.admits(asked);
        if !is_admitted && asked.is_awaited() {
            self.gate.ended(asked, None);
            return Err(Status::permission_denied("Request rejected by user"));
        }
        // What nobody waits for any more is not done.
        if !asked.is_awaited() {
            return Err(Status::cancelled("nobody waits for the answer"));
        }
        let result = self.first(ask).unwrap_or_else(|| {
            let detail = format!("the key service has no means to use {} keys", asked.key.kind().name);
            Err(ServiceError::new(Cause::Key, detail).into())
        });
        let result = result.or_else(|error| match asking.and_then(|asking| self.with_help(asked, asking)) {
            // Nothing came of asking: the first attempt said as much.
            None | Some(Err(KeyError::NoIdentity(_))) => Err(error),
            Some(result) => result,
        });
        self.gate.ended(asked, Some(result.as_ref().map(drop)));
        result.map_err(|error| status_of(&error))
    }

    /// Returns the first answer of a service that can use the key, or the last failure.
    fn first<T>(&self, ask: &Ask<'_, T>) -> Option<Result<T, KeyError>> {
        let mut failure = None;
        for service in &self.services {
            match ask(&**service) {
                Some(Ok(answer)) => return Some(Ok(answer)),
                Some(Err(error)) => failure = Some(Err(error)),
                None => {}
            }
        }
        failure
    }

    /// Does the same while nobody else asks a person, unless nobody waits for it any more.
    fn with_help<T>(&self, asked: &Use<'_>, asking: &Ask<'_, T>) -> Option<Result<T, KeyError>> {
        let mut answer = None;
        let _turn = self.question.lock().unwrap_or_else(PoisonError::into_inner);
        self.gate.help(&mut || {
            answer = self.first(&|service| if asked.is_awaited() { asking(service) } else { None });
        });
        answer
    }
}

/// Returns the connections that are served, one after the other as they come.
fn connections(
    acceptor: Acceptor,
    server: Arc<KeyServer>,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let places = Arc::new(Semaphore::new(server.limits.connections));
    stream::unfold((acceptor, server, places), |(acceptor, server, places)| async move {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            match acceptor.accept().await {
                Ok(Ok((stream, peer))) => {
                    let connection = Connection { stream, peer, _place: place };
                    return Some((Ok(connection), (acceptor, server, places)));
                }
                Ok(Err(peer)) => server.gate.turned_away(&peer),
                // Too many files are open, say: later there may be less.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    })
}

async fn route(
    server: Arc<KeyServer>,
    turns: Arc<Semaphore>,
    request: http::Request<Body>,
) -> http::Response<Body> {
    match request.uri().path() {
        DECRYPT => {
            let decrypt =
                service_fn(move |request| decrypt(Arc::clone(&server), Arc::clone(&turns), request));
            method::<DecryptRequest, DecryptResponse>().unary(decrypt, request).await
        }
        ENCRYPT => {
            let encrypt =
                service_fn(move |request| encrypt(Arc::clone(&server), Arc::clone(&turns), request));
            method::<EncryptRequest, EncryptResponse>().unary(encrypt, request).await
        }
        _ => Status::unimplemented("there is no such method").into_http(),
    }
}

fn method<Q, A>() -> Grpc<ProstCodec<A, Q>>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

async fn decrypt(
    server: Arc<KeyServer>,
    turns: Arc<Semaphore>,
    request: Request<DecryptRequest>,
) -> Result<Response<DecryptResponse>, Status> {
    let peer = request.extensions().get().cloned();
    let mut request = request.into_inner();
    let wrapped = String::from_utf8(std::mem::take(&mut request.ciphertext))
        .map_err(|_| Status::invalid_argument("what is wrapped is no text"))?;
    let mut key = key_of(request.key.take())?;
    key.set_wrapped(wrapped, "");
    perform(server, turns, Operation::Decrypt, key, peer, |server, asked| {
        let alone = |service: &dyn KeyService| pollster::block_on(service.unwrap(asked.key));
        let asking = |service: &dyn KeyService| pollster::block_on(service.unwrap_asking(asked.key));
        let secret = server.ask(asked, &alone, Some(&asking))?;
        Ok(DecryptResponse { plaintext: secret.expose_secret().to_vec() })
    })
    .await
}

async fn encrypt(
    server: Arc<KeyServer>,
    turns: Arc<Semaphore>,
    request: Request<EncryptRequest>,
) -> Result<Response<EncryptResponse>, Status> {
    let peer = request.extensions().get().cloned();
    let mut request = request.into_inner();
    let secret = SecretBytes::from(std::mem::take(&mut request.plaintext));
    let key = key_of(request.key.take())?;
    perform(server, turns, Operation::Encrypt, key, peer, move |server, asked| {
        let wrap = |service: &dyn KeyService| pollster::block_on(service.wrap(asked.key, &secret));
        let wrapped = server.ask(asked, &wrap, None)?;
        Ok(EncryptResponse { ciphertext: wrapped.into_bytes() })
    })
    .await
}

fn key_of(key: Option<Key>) -> Result<MasterKey, Status> {
    let key = key.ok_or_else(|| Status::not_found("Must provide a key"))?;
    key.into_master_key().ok_or_else(|| Status::not_found("Unknown key type"))
}

/// Does work that may wait for people and programs, on a thread of its own.
async fn perform<T: Send + 'static>(
    server: Arc<KeyServer>,
    turns: Arc<Semaphore>,
    operation: Operation,
    key: MasterKey,
    peer: Option<Peer>,
    work: impl FnOnce(&KeyServer, &Use<'_>) -> Result<T, Status> + Send + 'static,
) -> Result<Response<T>, Status> {
    let caller = Caller::default();
    let limit = server.limits.time;
    let has_gone = Arc::clone(&caller.0);
    let work = async move {
        let turn = turns.acquire_owned().await.map_err(|_| Status::unavailable("the key service ends"))?;
        let work = tokio::task::spawn_blocking(move || {
            // Given back when the work ends, whether somebody still waits for it or not.
            let _turn = turn;
            let is_awaited = || !has_gone.load(Ordering::Relaxed);
            work(&server, &Use { operation, key: &key, peer: peer.as_ref(), is_awaited: &is_awaited })
        });
        work.await.map_err(|_| Status::internal("the request broke off: this is a bug"))?
    };
    let answer = tokio::time::timeout(limit, work).await;
    answer.map_err(|_| Status::deadline_exceeded("it took too long"))?.map(Response::new)
}

/// Whoever waits for an answer: gone when it is dropped.
#[derive(Default)]
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long the headers of a request may be, in bytes.
const MAX_HEADERS: u32 = 16 << 10;

/// How often a connection must show that there is still somebody at its other end.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long nobody is let in after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::{Barrier, Mutex, PoisonError, mpsc};
    use std::thread;

    use futures_util::future::join_all;
    use pollster::block_on;

    use super::*;
    use crate::keys::{KeyFuture, KeySetup, Remote, age, pgp};
    use crate::keyservice::{Open, RemoteKeyService};

    /// Wraps with `w:` in front, for keys of age alone.
    #[derive(Default)]
    struct Prefix {
        asked: Arc<Mutex<Vec<String>>>,
        /// All wait for each other.
        meeting: Option<Arc<Barrier>>,
        /// It ends when the sender is dropped.
        delay: Option<Mutex<mpsc::Receiver<()>>>,
    }

    impl KeyService for Prefix {
        fn name(&self) -> String {
            "prefix".to_owned()
        }

        fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
            let text = String::from_utf8_lossy(secret.expose_secret()).into_owned();
            let wraps = key.kind().name == "age";
            Box::pin(async move { wraps.then(|| Ok(format!("w:{text}"))) })
        }

        fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(async move {
                if key.kind().name != "age" {
                    return None;
                }
                self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(key.wrapped().to_owned());
                if let Some(meeting) = &self.meeting {
                    meeting.wait();
                }
                if let Some(delay) = &self.delay {
                    let _ = delay.lock().unwrap_or_else(PoisonError::into_inner).recv();
                }
                let denied = || ServiceError::new(Cause::Denied, "not yours\u{7}").into();
                Some(key.wrapped().strip_prefix("w:").map(SecretBytes::from).ok_or_else(denied))
            })
        }
    }

    /// A server that runs until it is dropped, and its address.
    struct Running {
        address: String,
        end: Option<tokio::sync::oneshot::Sender<()>>,
        thread: Option<thread::JoinHandle<()>>,
    }

    impl Running {
        fn start(server: KeyServer) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = format!("tcp://{}", listener.local_addr().expect("an address"));
            Self::start_at(server, Listener::Tcp(listener), address)
        }

        fn start_at(server: KeyServer, listener: Listener, address: String) -> Self {
            let (end, ended) = tokio::sync::oneshot::channel();
            let thread = thread::spawn(move || {
                let remote = Remote::default();
                let served = server.serve(listener, async move { drop(ended.await) });
                remote.runtime().expect("threads").block_on(served).expect("it serves");
            });
            Self { address, end: Some(end), thread: Some(thread) }
        }

        fn client(&self) -> RemoteKeyService {
            self.client_with(Remote::DEFAULT_LIMIT)
        }

        fn client_with(&self, limit: Duration) -> RemoteKeyService {
            let mut setup = KeySetup::new(|_| None);
            setup.remote = Arc::new(Remote::new(limit));
            RemoteKeyService::new(self.address.parse().expect("an address"), &setup)
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.end.take());
            if let Some(thread) = self.thread.take() {
                thread.join().expect("the server ends well");
            }
        }
    }

    /// Writes down who asks for what, and refuses keys that are called `age1no`.
    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<Vec<String>>>);

    impl Book {
        fn note(&self, text: String) {
            self.0.lock().expect("no panic").push(text);
        }

        fn lines(&self) -> Vec<String> {
            self.0.lock().expect("no panic").clone()
        }

        /// Waits until a line is there.
        fn wait_for(&self, line: &str) {
            while !self.lines().iter().any(|written| written == line) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    impl Gate for Book {
        fn admits(&self, asked: &Use<'_>) -> bool {
            self.note(format!("{} {}?", asked.operation, asked.key));
            asked.key.to_string() != "age1no"
        }

        fn ended(&self, asked: &Use<'_>, result: Option<Result<(), &KeyError>>) {
            let result = match result {
                None => "refused",
                Some(Ok(())) => "done",
                Some(Err(_)) => "failed",
            };
            self.note(format!("{} {} {result}", asked.operation, asked.key));
        }
    }

    /// Writes down who asks.
    #[derive(Clone, Default)]
    struct Peers(Arc<Mutex<Vec<Option<Peer>>>>);

    impl Gate for Peers {
        fn admits(&self, asked: &Use<'_>) -> bool {
            self.0.lock().expect("no panic").push(asked.peer.cloned());
            true
        }
    }

    fn key(recipient: &str, wrapped: &str) -> MasterKey {
        let fields = [("recipient".to_owned(), recipient.into())].into_iter().collect();
        let mut key = MasterKey::new(&age::KIND, fields);
        key.set_wrapped(wrapped.to_owned(), "");
        key
    }

    fn unwrap(client: &RemoteKeyService, key: &MasterKey) -> Result<String, ServiceError> {
        match block_on(client.unwrap(key)).expect("every key is its business") {
            Ok(secret) => Ok(String::from_utf8_lossy(secret.expose_secret()).into_owned()),
            Err(KeyError::Service(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        let server = Running::start(KeyServer::new(vec![Box::new(Prefix::default())], Open));
        let client = server.client();
        let wrapped = block_on(client.wrap(&key("age1a", ""), &"secret".into())).expect("its business");
        assert_eq!(wrapped, Ok("w:secret".to_owned()));
        assert_eq!(unwrap(&client, &key("age1a", "w:secret")), Ok("secret".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_serves_as_well() {
        let folder = std::env::temp_dir().join(format!("selkie-keyservice-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let server = KeyServer::new(vec![Box::new(Prefix::default())], Open);
        let listener = Listener::Unix { listener, users: Vec::new() };
        let server = Running::start_at(server, listener, format!("unix://{}", path.display()));
        assert_eq!(unwrap(&server.client(), &key("age1a", "w:secret")), Ok("secret".to_owned()));
        drop(server);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn many_requests_are_under_way_at_once() {
        let count = 64;
        let service = Prefix { meeting: Some(Arc::new(Barrier::new(count))), ..Prefix::default() };
        let peers = Peers::default();
        let server = Running::start(KeyServer::new(vec![Box::new(service)], peers.clone()));
        let client = server.client();
        let keys: Vec<_> = (0..count).map(|index| key("age1a", &format!("w:{index}"))).collect();
        let answers = block_on(join_all(keys.iter().map(|key| client.unwrap(key))));
        assert!(answers.iter().all(|answer| matches!(answer, Some(Ok(_)))));
        let mut peers = peers.0.lock().expect("no panic").clone();
        assert_eq!(peers.len(), count);
        peers.dedup();
        assert_eq!(peers.len(), 1, "they share a connection");
    }

    #[test]
    fn the_gate_is_asked_before_the_key_is_used() {
        let (book, service) = (Book::default(), Prefix::default());
        let asked = Arc::clone(&service.asked);
        let server = Running::start(KeyServer::new(vec![Box::new(service)], book.clone()));
        let client = server.client();
        let refused = unwrap(&client, &key("age1no", "w:x")).expect_err("the gate refuses");
        assert_eq!(refused.cause, Cause::Denied);
        assert_eq!(
            refused.detail,
            format!("the key service {} refused: Request rejected by user", server.address)
        );
        assert_eq!(unwrap(&client, &key("age1a", "w:y")), Ok("y".to_owned()));
        assert_eq!(*asked.lock().expect("no panic"), ["w:y"]);
        assert_eq!(
            book.lines(),
            ["decrypt age1no?", "decrypt age1no refused", "decrypt age1a?", "decrypt age1a done"]
        );
    }

    /// Asks a person, who knows the passphrase, unless two are asked at once.
    #[derive(Default)]
    struct Person {
        book: Book,
        is_busy: AtomicBool,
    }

    impl Person {
        fn answer<T>(&self, answer: T) -> T {
            assert!(!self.is_busy.swap(true, Ordering::SeqCst), "there is one question at a time");
            thread::sleep(Duration::from_millis(2));
            self.book.note("passphrase?".to_owned());
            self.is_busy.store(false, Ordering::SeqCst);
            answer
        }
    }

    impl KeyService for Person {
        fn name(&self) -> String {
            "person".to_owned()
        }

        fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(std::future::ready(None))
        }

        fn unwrap<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(std::future::ready(None))
        }

        fn unwrap_asking<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(async { Some(Ok(self.answer("secret".into()))) })
        }
    }

    #[test]
    fn a_person_is_asked_one_question_at_a_time() {
        let services: Vec<Box<dyn KeyService>> =
            vec![Box::new(Prefix::default()), Box::new(Person::default())];
        let server = Running::start(KeyServer::new(services, Open));
        let client = server.client();
        let keys: Vec<_> = (0..16).map(|index| key("age1a", &format!("{index}"))).collect();
        let answers = block_on(join_all(keys.iter().map(|key| client.unwrap(key))));
        assert!(answers.iter().all(|answer| matches!(answer, Some(Ok(_)))));
    }

    #[cfg(feature = "age")]
    impl age::Prompt for Person {
        fn passphrase(&self, _: &age::PassphraseRequest<'_>) -> Result<SecretBytes, age::PromptError> {
            Ok(self.answer("open sesame".into()))
        }
    }

    #[cfg(feature = "age")]
    #[test]
    fn identities_behind_a_passphrase_serve_after_the_gate() {
        let case = include_str!("../../../testdata/age/protected-file.case");
        let (head, rest) = case.split_once("--- identity\n").expect("an identity");
        let (identity, file) = rest.split_once("--- file\n").expect("a file");
        let recipient = head.lines().find_map(|line| line.strip_prefix("recipient: ")).expect("a recipient");
        let book = Book::default();
        let person = Person { book: book.clone(), ..Person::default() };
        let identities = age::Identities::parse("protected", &identity.into()).expect("identities");
        let service = age::AgeService::new(identities).with_prompt(Arc::new(person));
        let server = Running::start(KeyServer::new(vec![Box::new(service)], book.clone()));
        let client = server.client();
        for _ in 0..2 {
            unwrap(&client, &key(recipient, file)).expect("it opens");
        }
        let (asks, done) = (format!("decrypt {recipient}?"), format!("decrypt {recipient} done"));
        assert_eq!(book.lines(), [asks.as_str(), "passphrase?", &done, &asks, &done]);
    }

    #[test]
    fn what_a_service_says_comes_through() {
        let server = Running::start(KeyServer::new(vec![Box::new(Prefix::default())], Open));
        let denied = unwrap(&server.client(), &key("age1a", "x")).expect_err("the service refuses");
        assert_eq!(denied.cause, Cause::Denied);
        assert!(denied.detail.ends_with(" refused: not yours"), "{}", denied.detail);
        let mut other = MasterKey::parse_list(&pgp::KIND, "A").expect("a key").remove(0);
        other.set_wrapped("w:x".to_owned(), "");
        let unknown = unwrap(&server.client(), &other).expect_err("nobody knows the key");
        assert_eq!(unknown.cause, Cause::Key);
        assert!(unknown.detail.ends_with("has no means to use pgp keys"), "{}", unknown.detail);
    }

    #[test]
    fn who_waits_too_long_is_told_so() {
        let (release, delay) = mpsc::channel();
        let (service, book) =
            (Prefix { delay: Some(Mutex::new(delay)), ..Prefix::default() }, Book::default());
        let server = Running::start(
            KeyServer::new(vec![Box::new(service)], book.clone())
                .with_limits(Limits { at_once: 1, ..Limits::default() }),
        );
        thread::scope(|scope| {
            let first = scope.spawn(|| unwrap(&server.client(), &key("age1a", "w:x")));
            book.wait_for("decrypt age1a?");
            // The only place is taken, so that this one has to wait for it.
            let client = server.client_with(Duration::from_millis(100));
            let late = unwrap(&client, &key("age1b", "w:x")).expect_err("it waits too long");
            assert_eq!(late.cause, Cause::Timeout, "{late}");
            assert!(late.detail.starts_with(&format!("the key service {}", server.address)), "{late}");
            drop(release);
            assert_eq!(first.join().expect("it ends"), Ok("x".to_owned()));
        });
        assert_eq!(unwrap(&server.client(), &key("age1c", "w:x")), Ok("x".to_owned()));
    }

    #[test]
    fn a_use_that_takes_too_long_ends_for_whoever_waits() {
        let (release, delay) = mpsc::channel();
        let service = Prefix { delay: Some(Mutex::new(delay)), ..Prefix::default() };
        let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
        let server = Running::start(KeyServer::new(vec![Box::new(service)], Open).with_limits(limits));
        let late = unwrap(&server.client(), &key("age1a", "w:x")).expect_err("it takes too long");
        assert_eq!(late.cause, Cause::Timeout);
        assert!(late.detail.ends_with("it took too long"), "{late}");
        drop(release);
    }

    #[test]
    fn messages_have_a_size() {
        let server = Running::start(KeyServer::new(vec![Box::new(Prefix::default())], Open));
        let long = "w:".to_owned() + &"x".repeat(MAX_MESSAGE);
        let refused = unwrap(&server.client(), &key("age1a", &long)).expect_err("it is too long");
        assert_eq!(refused.cause, Cause::Answer, "{refused}");
        let almost = "w:".to_owned() + &"x".repeat(MAX_MESSAGE - 100);
        assert_eq!(
            unwrap(&server.client(), &key("age1a", &almost)).map(|text| text.len()),
            Ok(MAX_MESSAGE - 100)
        );
    }
}
