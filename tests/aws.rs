//! Keys of AWS KMS when something is wrong, with a server of our own in place of AWS.
//!
//! What happens with a server that works is told in `live/aws.rs`.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

/// A folder to work in, with our programs and no configuration of AWS but the test's own.
pub struct Workplace {
    folder: tempfile::TempDir,
    url: String,
}

/// A server on this machine that writes down what it is asked.
pub struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A request, as far as the tests look at it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The lines of the head.
    pub head: String,
    /// The body.
    pub body: String,
}

pub fn tests() -> Vec<Trial> {
    let mut tests: Vec<_> = CASES.iter().map(|case| case.test()).collect();
    tests.push(Trial::test("aws::without_credentials_it_says_so_soon", without_credentials));
    tests.push(Trial::test("aws::many_keys_look_for_credentials_once", many_keys));
    tests.push(Trial::test("aws::what_needs_no_key_asks_nobody", asks_nobody));
    tests.push(Trial::test("aws::a_region_that_is_no_name_is_not_asked", no_region));
    tests
}

/// An answer, and what people are told of it.
struct Case {
    name: &'static str,
    answer: fn() -> Answer,
    detail: &'static str,
    remedy: &'static str,
}

enum Answer {
    /// Bytes, then the end.
    Bytes(Vec<u8>),
    /// Nothing for longer than anybody waits.
    None,
}

const CASES: &[Case] = &[
    Case {
        name: "denied",
        answer: || error("AccessDeniedException", "User: arn:aws:iam::1:user/x is not authorized"),
        detail: "AWS KMS in eu-west-1 denies kms:Decrypt: User: arn:aws:iam::1:user/x is not authorized",
        remedy: "allow kms:Decrypt on arn:aws:kms:eu-west-1:111122223333:key/1",
    },
    Case {
        name: "expired",
        answer: || error("ExpiredTokenException", "The security token included in the request is expired"),
        detail: "the credentials of AWS have expired: ExpiredTokenException",
        remedy: "run `aws sso login`",
    },
    Case {
        name: "of_unknown_credentials",
        answer: || error("UnrecognizedClientException", "The security token is invalid"),
        detail: "AWS KMS in eu-west-1 does not take the credentials: UnrecognizedClientException",
        remedy: "run `aws sso login`",
    },
    Case {
        name: "of_a_wrong_signature",
        answer: || error("InvalidSignatureException", "does not match"),
        detail: "AWS KMS in eu-west-1 does not take the credentials: InvalidSignatureException",
        remedy: "AWS_SECRET_ACCESS_KEY",
    },
    Case {
        name: "of_an_unknown_key",
        answer: || error("NotFoundException", "Key '1' does not exist"),
        detail: "AWS KMS in eu-west-1 does not know the key",
        remedy: "check the region and the account in arn:aws:kms:eu-west-1:111122223333:key/1",
    },
    Case {
        name: "of_a_disabled_key",
        answer: || error("DisabledException", "arn:aws:kms:eu-west-1:111122223333:key/1 is disabled."),
        detail: "the key cannot be used: DisabledException: ",
        remedy: "aws kms describe-key --region eu-west-1 --key-id arn:aws:kms:eu-west-1:111122223333:key/1",
    },
    Case {
        name: "of_a_key_that_is_deleted",
        answer: || error("KMSInvalidStateException", "key/1 is pending deletion."),
        detail: "the key cannot be used: KMSInvalidStateException: key/1 is pending deletion.",
        remedy: "aws kms describe-key",
    },
    Case {
        name: "of_another_ciphertext",
        answer: || error("InvalidCiphertextException", ""),
        detail: "not wrapped with this key under this encryption context, or was changed: InvalidCiphertextException",
        remedy: "",
    },
    Case {
        name: "of_another_key",
        answer: || error("IncorrectKeyException", "The key ID in the request does not identify a CMK"),
        detail: "not wrapped with this key under this encryption context, or was changed: IncorrectKeyException",
        remedy: "",
    },
    Case {
        name: "of_too_many_requests",
        answer: || error("ThrottlingException", "Rate exceeded"),
        detail: "AWS KMS in eu-west-1 gets too many requests: ThrottlingException",
        remedy: "try again later",
    },
    Case {
        name: "of_another_failure",
        answer: || error("ValidationException", "1 validation error detected"),
        detail: "AWS KMS in eu-west-1 answers ValidationException: 1 validation error detected",
        remedy: "",
    },
    Case {
        name: "of_another_server",
        answer: || http("502 Bad Gateway", "text/html", "<html>no</html>"),
        detail: "the answer is not one of AWS KMS in eu-west-1: its status is 502",
        remedy: "",
    },
    Case {
        name: "that_is_malformed",
        answer: || http("200 OK", "application/x-amz-json-1.1", "{\"Plaintext\":"),
        detail: "the answer is not one of AWS KMS in eu-west-1: ",
        remedy: "",
    },
    Case {
        name: "without_what_was_asked_for",
        answer: || http("200 OK", "application/x-amz-json-1.1", "{}"),
        detail: "the answer is not one of AWS KMS in eu-west-1: what was asked for is not in it",
        remedy: "",
    },
    Case {
        name: "that_is_no_data_key",
        answer: || http("200 OK", "application/x-amz-json-1.1", "{\"Plaintext\":\"AQ==\"}"),
        detail: "",
        remedy: "",
    },
    Case {
        name: "that_is_too_long",
        answer: || http("200 OK", "application/x-amz-json-1.1", &" ".repeat((1 << 20) + 1)),
        detail: "the answer is not one of AWS KMS in eu-west-1: the answer has more than 1024 KiB",
        remedy: "",
    },
    Case {
        name: "that_breaks_off",
        answer: || Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{".to_vec()),
        detail: "AWS KMS in eu-west-1",
        remedy: "",
    },
    Case {
        name: "that_never_comes",
        answer: || Answer::None,
        detail: "AWS KMS in eu-west-1: there was no answer within 1 s",
        remedy: "--key-timeout",
    },
];

impl Case {
    fn test(&'static self) -> Trial {
        Trial::test(format!("aws::an_answer_{}", self.name), || {
            let server = Server::start(|_| (self.answer)())?;
            let work = Workplace::new(&server.url)?;
            work.write("a.yaml", &document(ARN, "AQID"))?;
            let run = |program: &str, arguments: &str| {
                let mut command = work.ours(program, arguments);
                command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret-text");
                command.output()
            };
            let native = run("kubectl-seal", "decrypt --key-timeout 1 a.yaml")?;
            let native = refused(&native)?;
            must_contain(&native, &["a.yaml", ARN, self.detail, self.remedy])?;
            if self.name != "that_never_comes" {
                must_contain(&refused(&run("sops", "decrypt a.yaml")?)?, &[ARN, self.detail])?;
            }
            // Nothing is written, and nothing of what is secret is told.
            let is_same = work.read("a.yaml")? == document(ARN, "AQID");
            (is_same && !native.contains("secret-text")).then_some(()).ok_or_else(|| native.into())
        })
    }
}

fn without_credentials() -> Result<(), Failed> {
    let server = Server::start(|_| Answer::None)?;
    let work = Workplace::new("http://127.0.0.1:1")?;
    work.write("a.yaml", &document(ARN, "AQID"))?;
    let started = Instant::now();
    // A machine whose metadata service does not answer.
    let mut command = work.ours("kubectl-seal", "decrypt a.yaml");
    command.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.url);
    let said = refused(&command.output()?)?;
    if started.elapsed() > Duration::from_secs(8) {
        return Err(format!("it took {:?}", started.elapsed()).into());
    }
    must_contain(&said, &[ARN, "there are no credentials of AWS", "run `aws sso login`"])?;
    let said = refused(&work.ours("kubectl-seal", "decrypt a.yaml").env("AWS_PROFILE", "absent").output()?)?;
    must_contain(&said, &["there are no credentials of AWS: profile `absent` was not defined"])
}

/// Programs that print credentials may ask a person, and metadata services are slow to be absent.
fn many_keys() -> Result<(), Failed> {
    let work = Workplace::new("http://127.0.0.1:1")?;
    for name in 0..20 {
        work.write(&format!("{name}.yaml"), &document(ARN, &format!("AQID{name:04}")))?;
    }
    let count = work.path("count");
    work.write(
        "home/config",
        &format!("[default]\ncredential_process = sh -c \"echo x >>{}; exit 1\"\n", count.display()),
    )?;
    let said = refused(&work.ours("kubectl-seal", "decrypt --in-place .").output()?)?;
    must_contain(
        &said,
        &["0.yaml", "19.yaml", "the credentials of AWS cannot be had", "aws sts get-caller-identity"],
    )?;
    let count = work.read("count")?.lines().count();
    (count == 1).then_some(()).ok_or_else(|| format!("{count} attempts").into())
}

fn asks_nobody() -> Result<(), Failed> {
    let server = Server::start(|_| Answer::Bytes(Vec::new()))?;
    let work = Workplace::new(&server.url)?;
    work.write("a.yaml", &document(ARN, "AQID"))?;
    work.write(".sops.yaml", &format!("creation_rules:\n  - kms: {ARN}\n"))?;
    for arguments in ["status a.yaml", "explain a.yaml", "keys a.yaml", "updatekeys --check a.yaml"] {
        let mut command = work.ours("kubectl-seal", arguments);
        command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &server.url).env_remove("AWS_EC2_METADATA_DISABLED");
        let output = command.output()?;
        if !server.requests().is_empty() {
            return Err(format!("{arguments}: {:?} {output:?}", server.requests()).into());
        }
    }
    Ok(())
}

fn no_region() -> Result<(), Failed> {
    let server = Server::start(|_| Answer::Bytes(Vec::new()))?;
    let work = Workplace::new(&server.url)?;
    let arn = "arn:aws:kms:evil.example.com/:111122223333:key/1";
    work.write("a.yaml", &document(arn, "AQID"))?;
    let mut command = work.ours("kubectl-seal", "decrypt a.yaml");
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    must_contain(&refused(&command.output()?)?, &[arn, "is not the ARN of a key of AWS KMS"])?;
    server.requests().is_empty().then_some(()).ok_or_else(|| "it was asked".into())
}

/// A document whose key nobody has.
fn document(arn: &str, wrapped: &str) -> String {
    format!(
        "a: ENC[AES256_GCM,data:AA==,iv:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]\n\
         sops:\n  kms:\n    - arn: {arn}\n      aws_profile: \"\"\n      created_at: \"2026-01-01T00:00:00Z\"\n      \
         enc: {wrapped}\n  lastmodified: \"2026-01-01T00:00:00Z\"\n  \
         mac: ENC[AES256_GCM,data:AA==,iv:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]\n  \
         version: 3.13.3\n"
    )
}

fn error(code: &str, message: &str) -> Answer {
    http(
        "400 Bad Request",
        "application/x-amz-json-1.1",
        &format!("{{\"__type\":\"{code}\",\"message\":\"{message}\"}}"),
    )
}

fn http(status: &str, kind: &str, body: &str) -> Answer {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Answer::Bytes(format!("{head}{body}").into_bytes())
}

impl Workplace {
    /// Returns an empty one. `url` is where AWS is.
    pub fn new(url: &str) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        for name in ["bin", "home"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let program = std::env::current_exe()?;
        for name in ["kubectl-seal", "sops"] {
            symlink(&program, folder.path().join("bin").join(name))?;
        }
        Ok(Self { folder, url: url.to_owned() })
    }

    /// Returns the path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &str) -> Result<(), Failed> {
        Ok(fs::write(self.path(name), content)?)
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.path(name))?)
    }

    /// Returns a command of one of our programs; the arguments are separated by spaces.
    pub fn ours(&self, program: &str, arguments: &str) -> Command {
        self.command(&self.path("bin").join(program), arguments)
    }

    /// Returns a command of any program; the arguments are separated by spaces.
    pub fn command(&self, program: &Path, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("home"));
        command.env("SOPS_DISABLE_VERSION_CHECK", "true").env("AWS_ENDPOINT_URL", &self.url);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_CONFIG_FILE", self.path("home/config"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.path("home/credentials"));
        command
    }
}

impl Server {
    /// Starts a server that answers so. It ends with the test program.
    fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (log, answer) = (Arc::clone(&requests), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut stream = stream;
                    let Some(request) = Request::read(&mut stream) else { return };
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    match answer(&request) {
                        // Whoever asked may have gone.
                        Answer::Bytes(bytes) => drop(stream.write_all(&bytes)),
                        Answer::None => drop(stream.read(&mut [0])),
                    }
                });
            }
        });
        Ok(Self { url, requests })
    }

    /// Starts a server that passes all requests on to another one.
    pub fn before(other: &str) -> Result<Self, Failed> {
        let other = other.trim_start_matches("http://").to_owned();
        Self::start(move |request| Answer::Bytes(request.forward(&other).unwrap_or_default()))
    }

    /// Returns where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns what it was asked.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Request {
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or_default()];
        stream.read_exact(&mut body).ok()?;
        Some(Self { head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Sends the request to another server and returns the answer.
    fn forward(&self, other: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(other).ok()?;
        let head = self.head.strip_suffix("\r\n")?;
        stream.write_all(format!("{head}Connection: close\r\n\r\n{}", self.body).as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

/// Returns what was said by a program that failed.
pub fn refused(output: &Output) -> Result<String, Failed> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() || !output.stdout.is_empty() {
        true => Err(format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr)).into()),
        false => Ok(text(&output.stderr)),
    }
}

/// Fails unless a text contains all of the others, however its lines are broken.
pub fn must_contain(text: &str, parts: &[&str]) -> Result<(), Failed> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let in_one_line = words(text);
    match parts.iter().find(|part| !in_one_line.contains(&words(part))) {
        Some(part) => Err(format!("there is no {part:?} in\n{text}").into()),
        None => Ok(()),
    }
}

const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";
