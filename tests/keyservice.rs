//! Key services: the program as the one who asks and as the one who is asked, each in a process of its own.

mod place;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use libtest_mimic::{Failed, Trial};
use selkie::keys::age::{AgeService, Identities};
use selkie::keys::{Effort, KeyFuture, KeyService, MasterKey, Remote};
use selkie::keyservice::{KeyServer, Listener, Open};
use selkie::secret::SecretBytes;

pub use place::{Place, Service, free_port, text};

type Test = fn() -> Result<(), Failed>;

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 10] = [
        ("a_socket_serves_whoever_runs_it", a_socket_serves_whoever_runs_it),
        ("a_living_service_is_not_replaced", a_living_service_is_not_replaced),
        ("peers_cannot_have_tokens_sent_anywhere", peers_cannot_have_tokens_sent_anywhere),
        ("other_machines_are_served_on_request_alone", other_machines_are_served_on_request_alone),
        ("who_is_asked_first_may_refuse", who_is_asked_first_may_refuse),
        ("nobody_has_to_answer", nobody_has_to_answer),
        ("failures_name_the_key_and_what_helps", failures_name_the_key_and_what_helps),
        ("local_keys_can_be_left_out", local_keys_can_be_left_out),
        ("many_files_wait_together", many_files_wait_together),
        ("equal_questions_are_asked_once", equal_questions_are_asked_once),
    ];
    let tests = tests.into_iter().map(|(name, test)| Trial::test(format!("keyservice::{name}"), test));
    let with_users = Trial::test("keyservice::other_users_are_turned_away", other_users_are_turned_away);
    tests.chain([with_users.with_ignored_flag(!can_be_nobody())]).collect()
}

fn a_socket_serves_whoever_runs_it() -> Result<(), Failed> {
    let place = Place::new()?;
    let socket = place.work("keys.sock");
    let service = place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock"])?;
    let mode = fs::metadata(&socket)?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let address = service.address.clone();
    let elsewhere = place.stranger();
    place.write("a.yaml", "a: one\n")?;
    let run = |words: &str| {
        let words: Vec<_> = words.split(' ').collect();
        place.succeeds(elsewhere.command("kubectl-seal").args(words).args(["--keyservice", &address]))
    };
    run("encrypt -i a.yaml --enable-local-keyservice=false")?;
    assert_eq!(run("view a.yaml")?, "a: one\n");
    run("rotate a.yaml")?;
    assert_eq!(run("decrypt a.yaml")?, "a: one\n");
    let by_variable =
        elsewhere.command("sops").args(["decrypt", "a.yaml"]).env("SOPS_KEYSERVICE", &address).output()?;
    assert_eq!(text(&by_variable.stdout), "a: one\n", "{}", text(&by_variable.stderr));
    let log = service.end()?;
    let line = format!(": decrypt with age {}: done", place.recipient);
    assert!(log.contains(&line) && log.contains(" process "), "{log}");
    assert!(!socket.exists(), "the socket goes with the service");
    Ok(())
}

fn a_living_service_is_not_replaced() -> Result<(), Failed> {
    let place = Place::new()?;
    let service = place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock"])?;
    let second = place.command("kubectl-seal").args(["keyservice", "--listen", "unix:keys.sock"]).output()?;
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("another key service listens at unix://"),
        "{}",
        text(&second.stderr)
    );
    let first = place.serve("sops", &["keyservice", "--verbose", "--addr", "127.0.0.1:0"])?;
    let address = first.address.trim_start_matches("tcp://");
    assert!(!address.ends_with(":0"), "{address}");
    let second = place.command("sops").args(["keyservice", "--addr", address]).output()?;
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("msg=\"listen tcp {address}: bind: address already in use\"");
    assert!(text(&second.stderr).contains(&expected), "{}", text(&second.stderr));
    let log = first.end()?;
    assert!(log.contains("msg=\"Caught signal terminated: shutting down.\""), "{log}");
    // A service that ended without a word leaves its socket behind.
    service.kill()?;
    assert!(place.work("keys.sock").exists());
    place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock"])?.end()?;
    Ok(())
}

/// Returns whether this user can become another one, who gets to the program: only root can.
fn can_be_nobody() -> bool {
    let run = |place: Place| Ok(place.as_nobody("kubectl-seal", &["--version"]).output()?.status.success());
    Place::new().and_then(run).unwrap_or(false)
}

fn other_users_are_turned_away() -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command("kubectl-seal").args(["encrypt", "-i", "a.yaml"]))?;
    let ask = |service: &Service, query: &str| -> Result<Output, Failed> {
        let address = format!("{}{query}", service.address);
        let words = ["decrypt", "a.yaml", "--enable-local-keyservice=false", "--keyservice", &address];
        Ok(place.as_nobody("kubectl-seal", &words).output()?)
    };
    let service = place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock"])?;
    let kept_out = ask(&service, "")?;
    let errors = text(&kept_out.stderr);
    assert!(kept_out.status.code() == Some(128) && errors.contains("Permission denied"), "{errors}");
    service.end()?;
    // Where somebody else is let in, all get through to the service, which looks at who they are.
    let service =
        place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock", "--allow-uid", "1"])?;
    let turned_away = ask(&service, "")?;
    assert_eq!(turned_away.status.code(), Some(128), "{}", text(&turned_away.stderr));
    let log = service.end()?;
    assert!(log.contains("of user 65534; --allow-uid 65534 serves that user"), "{log}");
    let service =
        place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock", "--allow-uid", "65534"])?;
    assert_eq!(text(&ask(&service, "")?.stdout), "a: one\n");
    service.end()?;
    // Root is trusted; nobody is not, unless that is said.
    let socket = place.work("nobody/keys.sock");
    let service =
        place.serve_as_nobody(&["keyservice", "--listen", &format!("unix://{}", socket.display())])?;
    let words = |query: &str| {
        let address = format!("{}{query}", service.address);
        let words = ["decrypt", "a.yaml", "--enable-local-keyservice=false", "--keyservice", &address];
        place.command("kubectl-seal").args(words).output()
    };
    let refused = words("")?;
    assert_eq!(refused.status.code(), Some(128));
    let errors = text(&refused.stderr);
    assert!(errors.contains("is run by user 65534, whom nobody said to trust"), "{errors}");
    assert!(errors.contains(&format!("{}?uid=65534", service.address)), "{errors}");
    let trusted = words("?uid=65534")?;
    assert_eq!(text(&trusted.stdout), "a: one\n", "{}", text(&trusted.stderr));
    service.end()?;
    Ok(())
}

/// Whoever asks a key service names a server, and the token of whoever runs it goes there only if they agree.
fn peers_cannot_have_tokens_sent_anywhere() -> Result<(), Failed> {
    let place = Place::new()?;
    let heard = Arc::new(Mutex::new(String::new()));
    let thief = listening(Arc::clone(&heard))?;
    let created = "\"created_at\": \"2026-01-01T00:00:00Z\"";
    let key = format!(
        r#"{{"vault_address": "{thief}", "engine_path": "transit", "key_name": "k", {created}, "enc": "vault:v1:x"}}"#
    );
    place.write(
        "a.json",
        &format!(
            r#"{{"a": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]", "sops": {{"hc_vault": [{key}],
            "lastmodified": "2026-01-01T00:00:00Z", "mac": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]",
            "version": "3.13.3"}}}}"#
        ),
    )?;
    let faces = [
        ("kubectl-seal", &["keyservice", "--listen", "tcp://127.0.0.1:0"][..]),
        ("sops", &["keyservice", "--verbose", "--addr", "127.0.0.1:0"]),
    ];
    for (program, words) in faces {
        for (allowlist, is_sent) in [(None, false), (Some("https://other"), false), (Some(&*thief), true)] {
            let mut command = place.command(program);
            command.args(words).env("VAULT_TOKEN", "token-of-the-user");
            command.envs(allowlist.map(|list| ("SOPS_HC_VAULT_ALLOWLIST", list)));
            let service = Service::start(&mut command)?;
            heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let asks = ["decrypt", "--enable-local-keyservice=false", "--keyservice", &service.address];
            let failed = place.command("kubectl-seal").args(asks).arg("a.json").output()?;
            let (errors, log) = (text(&failed.stderr), service.end()?);
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
            assert_eq!(failed.status.code(), Some(128), "{errors}");
            assert_eq!(heard.contains("token-of-the-user"), is_sent, "{program} {allowlist:?}: {heard}");
            assert_eq!(errors.contains("no token was sent to "), !is_sent, "{errors}");
            assert_eq!(log.contains("whoever is on the way can read it"), is_sent, "{log}");
        }
    }
    Ok(())
}

fn other_machines_are_served_on_request_alone() -> Result<(), Failed> {
    let place = Place::new()?;
    let listen = ["keyservice", "--listen", "tcp://0.0.0.0:0"];
    let refused = place.command("kubectl-seal").args(listen).output()?;
    assert_eq!(refused.status.code(), Some(1));
    let errors = text(&refused.stderr);
    assert!(errors.contains("error: whoever reaches tcp://0.0.0.0:0 could use your keys"), "{errors}");
    assert!(errors.contains("--insecure-network"), "{errors}");
    let service = place.serve("kubectl-seal", &[&listen[..], &["--insecure-network"]].concat())?;
    assert!(service.end()?.contains("warning: whoever reaches this address can use your keys"));
    let service = place.serve("kubectl-seal", &["keyservice", "--listen", "tcp://127.0.0.1:0"])?;
    assert!(service.end()?.contains("warning: every user of this machine can use your keys"));
    Ok(())
}

fn who_is_asked_first_may_refuse() -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command("kubectl-seal").args(["encrypt", "-i", "a.yaml"]))?;
    let before = place.read("a.yaml")?;
    let mut service =
        place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock", "--prompt"])?;
    let address = service.address.clone();
    let elsewhere = place.stranger();
    let mut ask = |words: &[&str], answer: &str| -> Result<Output, Failed> {
        service.say(answer)?;
        Ok(elsewhere.command("kubectl-seal").args(words).args(["--keyservice", &address]).output()?)
    };
    let refused = ask(&["rotate", "a.yaml"], "n\n")?;
    assert_eq!(refused.status.code(), Some(128));
    let errors = text(&refused.stderr);
    assert!(errors.contains(&place.recipient), "{errors}");
    assert!(errors.contains("refused: Request rejected by user"), "{errors}");
    assert_eq!(place.read("a.yaml")?, before, "nothing is written");
    let allowed = ask(&["view", "a.yaml"], "y\n")?;
    assert_eq!(text(&allowed.stdout), "a: one\n", "{}", text(&allowed.stderr));
    let log = service.end()?;
    let question = format!(": decrypt with age {}: allow it? [y/N] ", place.recipient);
    assert!(log.contains(&question), "{log}");
    assert!(log.contains(": refused") && log.contains(": done"), "{log}");
    Ok(())
}

fn nobody_has_to_answer() -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command("kubectl-seal").args(["encrypt", "-i", "a.yaml"]))?;
    let elsewhere = place.stranger();
    // Whoever asked has gone by the time that the service is to end.
    let service = place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock", "--prompt"])?;
    let words = ["view", "a.yaml", "--key-timeout=1", "--keyservice", &service.address];
    let late = elsewhere.command("kubectl-seal").args(words).output()?;
    assert_eq!(late.status.code(), Some(128));
    assert!(text(&late.stderr).contains("--key-timeout"), "{}", text(&late.stderr));
    service.end()?;
    assert!(!place.work("keys.sock").exists());
    // Where there is nobody to ask any more, the answer is no.
    let socket = place.work("s.sock").display().to_string();
    let words = ["keyservice", "--verbose", "--prompt", "--net", "unix", "--addr", &socket];
    let mut service = place.serve("sops", &words)?;
    service.hush();
    let refused =
        elsewhere.command("sops").args(["decrypt", "--keyservice", &service.address, "a.yaml"]).output()?;
    assert_eq!(refused.status.code(), Some(128));
    // Reports break lines.
    let errors = text(&refused.stderr).replace('|', " ");
    let errors = errors.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(errors.contains("Request rejected by user"), "{errors}");
    let log = service.end()?;
    assert!(log.contains("Received decrypt request using age key") && log.contains("(y/n): "), "{log}");
    Ok(())
}

fn failures_name_the_key_and_what_helps() -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command("kubectl-seal").args(["encrypt", "-i", "a.yaml"]))?;
    let before = place.read("a.yaml")?;
    let garbage = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
    let silent = answering(b"")?;
    let denied = place.serve("kubectl-seal", &["keyservice", "--listen", "unix:keys.sock"])?;
    // It has no identities.
    let useless = place.stranger().serve("kubectl-seal", &["keyservice", "--listen", "unix:other.sock"])?;
    drop(denied);
    for (address, what, hint) in [
        ("tcp://127.0.0.1:1", "cannot be reached: Connection refused", "see whether the key service runs"),
        (garbage.as_str(), "does not speak gRPC", "see what listens at the address"),
        // Whichever of client and connection looks at the clock first.
        (silent.as_str(), "within 1 s|did not answer in time", "--key-timeout"),
        (
            useless.address.as_str(),
            "cannot use the key: no identity matched the key",
            "give the key service identities",
        ),
    ] {
        let words = [
            "rotate",
            "a.yaml",
            "--enable-local-keyservice=false",
            "--key-timeout=1",
            "--keyservice",
            address,
        ];
        let failed = place.command("kubectl-seal").args(words).output()?;
        let errors = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(128), "{errors}");
        assert!(errors.contains(&format!("{}: the key service {address}", place.recipient)), "{errors}");
        assert!(what.split('|').any(|what| errors.contains(what)), "{errors}");
        assert!(errors.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{errors}");
        assert_eq!(place.read("a.yaml")?, before, "nothing is written");
        place.write("new.yaml", "a: one\n")?;
        let words = [
            "encrypt",
            "-i",
            "new.yaml",
            "--enable-local-keyservice=false",
            "--key-timeout=1",
            "--keyservice",
            address,
        ];
        let wrapped = place.command("kubectl-seal").args(words).output()?;
        let is_useless = address == useless.address;
        assert_eq!(wrapped.status.success(), is_useless, "{}", text(&wrapped.stderr));
        assert_eq!(place.read("new.yaml")? == "a: one\n", !is_useless);
    }
    useless.end()?;
    Ok(())
}

fn local_keys_can_be_left_out() -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    for (flag, variable) in [("--enable-local-keyservice=false", "true"), ("--quiet", "F")] {
        let command = &mut place.command("kubectl-seal");
        command.args(["encrypt", "-i", "a.yaml", flag]).env("SOPS_ENABLE_LOCAL_KEYSERVICE", variable);
        let failed = command.output()?;
        assert_eq!(failed.status.code(), Some(1));
        assert!(text(&failed.stderr).contains("no key service is left to ask"), "{}", text(&failed.stderr));
    }
    let command = &mut place.command("kubectl-seal");
    place.succeeds(command.args(["encrypt", "-i", "a.yaml"]).env("SOPS_ENABLE_LOCAL_KEYSERVICE", "1"))?;
    let command = &mut place.command("kubectl-seal");
    let failed = command.args(["view", "a.yaml"]).env("SOPS_KEYSERVICE", "tcp://h:1, http://x").output()?;
    assert!(
        text(&failed.stderr).contains("SOPS_KEYSERVICE: \"http://x\" is not the address"),
        "{}",
        text(&failed.stderr)
    );
    Ok(())
}

fn many_files_wait_together() -> Result<(), Failed> {
    let place = Place::new()?;
    let service = Counted::new(TOGETHER);
    let address = service.start()?;
    let count = 2 * TOGETHER;
    for index in 0..count {
        place.write(&format!("all/{index:03}.yaml"), &format!("a: {index}\n"))?;
    }
    let ask = |words: &[&str]| {
        service.begin();
        let given = ["--enable-local-keyservice=false", "--key-timeout=60", "--keyservice", &address];
        let printed = place.succeeds(place.command("kubectl-seal").args(words).args(given))?;
        Ok::<_, Failed>((printed, service.counts()))
    };
    // Each waits until as many as there may be are under way: alone it would wait without end.
    assert_eq!(ask(&["encrypt", "-i", "all"])?.1, Counts { wrapped: count, unwrapped: 0 });
    assert_eq!(ask(&["rotate", "all"])?.1, Counts { wrapped: count, unwrapped: count });
    let (printed, counts) = ask(&["view", "all"])?;
    assert_eq!(counts, Counts { wrapped: 0, unwrapped: count });
    let shown: Vec<_> = printed.lines().filter(|line| line.starts_with("a: ")).map(str::to_owned).collect();
    assert_eq!(shown, (0..count).map(|index| format!("a: {index}")).collect::<Vec<_>>());
    place.write(".sops.yaml", &format!("creation_rules:\n  - age: {},{}\n", place.recipient, place.other))?;
    // Two keys in each file now.
    assert_eq!(ask(&["updatekeys", "--yes", "all"])?.1, Counts { wrapped: 2 * count, unwrapped: count });
    // Both may be asked, as both are elsewhere.
    let (_, counts) = ask(&["decrypt", "-i", "all"])?;
    assert!((count..=2 * count).contains(&counts.unwrapped), "{counts:?}");
    assert_eq!(place.read("all/007.yaml")?, "a: 7\n");
    Ok(())
}

fn equal_questions_are_asked_once() -> Result<(), Failed> {
    let place = Place::new()?;
    let service = Counted::new(1);
    let address = service.start()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command("kubectl-seal").args(["encrypt", "-i", "a.yaml"]))?;
    let text = place.read("a.yaml")?;
    for index in 0..200 {
        place.write(&format!("copies/{index:03}.yaml"), &text)?;
    }
    let words = ["decrypt", "-i", "copies", "--enable-local-keyservice=false", "--keyservice", &address];
    place.succeeds(place.command("kubectl-seal").args(words))?;
    assert_eq!(place.read("copies/123.yaml")?, "a: one\n");
    assert_eq!(service.counts(), Counts { wrapped: 0, unwrapped: 1 });
    Ok(())
}

/// Starts what answers everybody with the same bytes; returns its address.
fn answering(answer: &'static [u8]) -> Result<String, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("tcp://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    Ok(address)
}

/// Starts a server that writes down what it hears and denies everything; returns its address.
fn listening(heard: Arc<Mutex<String>>) -> Result<String, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // As if it was on another machine: people are told of requests there that are not encrypted.
    let address = format!("http://0.0.0.0:{}", listener.local_addr()?.port());
    thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).unwrap_or_default();
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text(&chunk[..length]));
            let _ =
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    Ok(address)
}

/// Uses keys of age, counts that, and lets the first answers wait until some questions are there.
#[derive(Clone)]
pub struct Counted(Arc<Counter>);

struct Counter {
    service: AgeService,
    together: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    counts: Counts,
    under_way: usize,
    met: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub wrapped: usize,
    pub unwrapped: usize,
}

impl Counted {
    pub fn new(together: usize) -> Self {
        let identities = SecretBytes::from(include_str!("../testdata/sops-cli/identities.txt"));
        let identities = Identities::parse("identities", &identities).expect("identities");
        let service = AgeService::new(identities);
        Self(Arc::new(Counter { service, together, state: Mutex::default(), changed: Condvar::new() }))
    }

    /// Serves until the process ends; returns the address.
    pub fn start(&self) -> Result<String, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let server = KeyServer::new(vec![Box::new(self.clone())], Open);
        thread::spawn(move || {
            let remote = Remote::default();
            let served = server.serve(Listener::Tcp(listener), std::future::pending());
            remote.runtime().map(|runtime| runtime.block_on(served))
        });
        Ok(address)
    }

    /// Counts from nothing.
    fn begin(&self) {
        *self.state() = State::default();
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: fn(&mut Counts)) {
        let mut state = self.state();
        count(&mut state.counts);
        state.under_way += 1;
        state.met |= state.under_way >= self.0.together;
        self.0.changed.notify_all();
        while !state.met {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.under_way -= 1;
    }
}

impl KeyService for Counted {
    fn name(&self) -> String {
        "counted".to_owned()
    }

    fn effort(&self, _: &MasterKey) -> Effort {
        Effort::Remote
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        self.count(|counts| counts.wrapped += 1);
        self.0.service.wrap(key, secret)
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        self.count(|counts| counts.unwrapped += 1);
        self.0.service.unwrap(key)
    }
}

/// How many files are worked on at once.
const TOGETHER: usize = 64;
