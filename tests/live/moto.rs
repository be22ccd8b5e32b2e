//! moto, which answers as KMS, S3 and STS of AWS do, on a port of this machine.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use libtest_mimic::Failed;
use serde_json::{Value as Json, json};

/// A server for all tests of a run. It ends with the test program, as its input ends then.
pub struct Moto {
    port: u16,
    driver: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Moto {
    /// Returns the server, which starts when it is asked for first. `modules` is the folder of the peer.
    pub fn shared(modules: &Path) -> Result<&'static Self, Failed> {
        static SHARED: OnceLock<Result<Moto, String>> = OnceLock::new();
        let shared = SHARED
            .get_or_init(|| Self::start(modules).map_err(|why| why.message().unwrap_or_default().to_owned()));
        shared.as_ref().map_err(|why| format!("moto did not start: {why}").into())
    }

    /// Returns the address, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Calls a service as its API is called from Python; bytes are base64 texts.
    pub fn call(
        &self,
        region: &str,
        service: &str,
        operation: &str,
        parameters: Json,
    ) -> Result<Json, Failed> {
        let call = json!({
            "service": service, "region": region, "operation": operation, "parameters": parameters,
        });
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(driver.0, "{call}")?;
        let mut answer = String::new();
        driver.1.read_line(&mut answer)?;
        let mut answer: Json = serde_json::from_str(&answer)?;
        match answer.get("error") {
            None => Ok(answer["answer"].take()),
            Some(code) => Err(format!("{operation}: {code}").into()),
        }
    }

    fn start(modules: &Path) -> Result<Self, Failed> {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/moto-driver.py");
        let mut command = Command::new("python3");
        command.arg(driver).env("PYTHONPATH", modules).env("PYTHONDONTWRITEBYTECODE", "1");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (stdin, stdout) = (child.stdin.ok_or("an input")?, child.stdout.ok_or("an output")?);
        let mut stdout = BufReader::new(stdout);
        let mut port = String::new();
        stdout.read_line(&mut port)?;
        Ok(Self { port: port.trim().parse()?, driver: Mutex::new((stdin, stdout)) })
    }
}
