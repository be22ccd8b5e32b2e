//! A browser with the page open, as a user has it: what is not the page's own is watched from outside.

use std::fmt::Display;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use libtest_mimic::Failed;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::peer::Peer;

/// A browser of its own, without a window, ended when it is dropped.
pub struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    session: String,
    port: u16,
    driver: Child,
    /// Kept open, as the driver ends if nobody reads what it says.
    _output: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Browser {
    /// Starts a browser and opens the page from its file, with the network cut off.
    pub fn open(page: &Path) -> Result<Self, Failed> {
        let chromedriver = Peer::Chromedriver.path().ok_or("chromedriver is not there")?;
        let chromium = Peer::Chromium.path().ok_or("chromium is not there")?;
        let folder = tempfile::tempdir()?;
        let mut driver = Command::new(chromedriver)
            .arg("--port=0")
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = BufReader::new(driver.stdout.take().ok_or("there is an output")?);
        let port = port_of(&mut output)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut browser =
            Self { runtime, client: None, session: String::new(), port, driver, _output: output, folder };
        browser.connect(&chromium)?;
        browser.command("Network.enable", json!({}))?;
        let offline = json!({"offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0});
        browser.command("Network.emulateNetworkConditions", offline)?;
        browser.command("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH}))?;
        browser.run(browser.client()?.goto(&format!("file://{}", page.display())))?;
        browser.wait_for("main:not([hidden])")?;
        Ok(browser)
    }

    /// Returns what a script returns.
    pub fn script(&self, script: &str, arguments: Vec<Json>) -> Result<Json, Failed> {
        self.run(self.client()?.execute(script, arguments))
    }

    /// Returns what a script hands to the function that is its last argument.
    pub fn script_async(&self, script: &str, arguments: Vec<Json>) -> Result<Json, Failed> {
        self.run(self.client()?.execute_async(script, arguments))
    }

    /// Types into a field, as a user does.
    pub fn type_into(&self, id: &str, text: &str) -> Result<(), Failed> {
        let client = self.client()?;
        let selector = format!("#{id}");
        self.run(async { client.find(Locator::Css(&selector)).await?.send_keys(text).await })
    }

    /// Pastes into a field: as typing, for texts that would take long to type.
    pub fn paste_into(&self, id: &str, text: &str) -> Result<(), Failed> {
        self.click(&format!("#{id}"))?;
        self.command("Input.insertText", json!({"text": text})).map(drop)
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub fn press(&self, keys: &str) -> Result<(), Failed> {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in keys.chars() {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.run(self.client()?.perform_actions(actions))
    }

    /// Clicks on what a selector finds.
    pub fn click(&self, selector: &str) -> Result<(), Failed> {
        let client = self.client()?;
        self.run(async { client.find(Locator::Css(selector)).await?.click().await })
    }

    /// Chooses an option of a field.
    pub fn choose(&self, id: &str, value: &str) -> Result<(), Failed> {
        let client = self.client()?;
        let selector = format!("#{id}");
        self.run(async { client.find(Locator::Css(&selector)).await?.select_by_value(value).await })
    }

    /// Puts a file into the field for files that a selector finds.
    pub fn choose_file(&self, selector: &str, path: &Path) -> Result<(), Failed> {
        let client = self.client()?;
        let path = path.display().to_string();
        self.run(async { client.find(Locator::Css(selector)).await?.send_keys(&path).await })
    }

    /// Waits until a selector finds something.
    pub fn wait_for(&self, selector: &str) -> Result<(), Failed> {
        let wait = self.client()?.wait().at_most(Duration::from_secs(60));
        self.run(wait.for_element(Locator::Css(selector)))
            .map(drop)
            .map_err(|error| format!("nothing is {selector}: {}", error.message().unwrap_or_default()).into())
    }

    /// Returns what is in a field.
    pub fn value(&self, id: &str) -> Result<String, Failed> {
        let value = self.script("return document.getElementById(arguments[0]).value", vec![id.into()])?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Returns what is to be read somewhere.
    pub fn text(&self, id: &str) -> Result<String, Failed> {
        let text = self.script("return document.getElementById(arguments[0]).innerText", vec![id.into()])?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Returns what has the focus: its id, or what it says.
    pub fn focused(&self) -> Result<String, Failed> {
        let script =
            "const e = document.activeElement; return e.id || e.name || e.textContent.trim() || e.type";
        Ok(self.script(script, Vec::new())?.as_str().unwrap_or_default().to_owned())
    }

    /// Gives a command to the inner side of the browser.
    pub fn command(&self, name: &str, parameters: Json) -> Result<Json, Failed> {
        self.post("goog/cdp/execute", &json!({"cmd": name, "params": parameters}))
    }

    /// Returns the addresses of all that was asked for since the browser started.
    pub fn requests(&self) -> Result<Vec<String>, Failed> {
        let entries = self.post("se/log", &json!({"type": "performance"}))?;
        let messages = entries.as_array().into_iter().flatten().filter_map(|entry| {
            let message: Json = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().map(str::to_owned))?
        });
        Ok(messages.collect())
    }

    /// Writes what is to be seen where `SELKIE_SCREENSHOTS` says, for people to look at.
    pub fn picture(&self, name: &str) -> Result<(), Failed> {
        let Some(folder) = std::env::var_os("SELKIE_SCREENSHOTS").map(PathBuf::from) else { return Ok(()) };
        let parameters = json!({"captureBeyondViewport": true});
        let picture = self.command("Page.captureScreenshot", parameters)?;
        let data = picture["data"].as_str().unwrap_or_default();
        let data = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data)?;
        Ok(std::fs::write(folder.join(format!("{name}.png")), data)?)
    }

    /// Returns a folder that goes with the browser.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn connect(&mut self, chromium: &Path) -> Result<(), Failed> {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        let mut arguments: Vec<Json> = ARGUMENTS.iter().map(|&argument| argument.into()).collect();
        arguments.push(profile.into());
        let Json::Object(capabilities) = json!({
            "goog:chromeOptions": {"args": arguments, "binary": chromium},
            "goog:loggingPrefs": {"performance": "ALL"},
        }) else {
            return Err("there are capabilities".into());
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let address = format!("http://127.0.0.1:{}", self.port);
        let client = self.run(builder.connect(&address))?;
        self.session = self.run(client.session_id())?.ok_or("a session has a name")?;
        self.client = Some(client);
        Ok(())
    }

    fn client(&self) -> Result<&Client, Failed> {
        self.client.as_ref().ok_or_else(|| "the browser did not start".into())
    }

    fn run<T, E: Display>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Failed> {
        self.runtime.block_on(work).map_err(|error| error.to_string().into())
    }

    /// Asks for what only this kind of browser can do.
    fn post(&self, path: &str, body: &Json) -> Result<Json, Failed> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let (session, body) = (&self.session, body.to_string());
        write!(
            stream,
            "POST /session/{session}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        let mut answer: Json = serde_json::from_slice(&answer)?;
        let value = answer["value"].take();
        if value["error"].is_string() { Err(value.to_string().into()) } else { Ok(value) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // The driver ends the browser; if it cannot, it is ended itself.
            let _ = self.runtime.block_on(client.close());
        }
        // It may have ended by itself.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Reads where the driver listens.
fn port_of(output: &mut impl BufRead) -> Result<u16, Failed> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some((_, port)) =
            line.trim_end().trim_end_matches('.').rsplit_once("started successfully on port ")
        {
            return Ok(port.parse()?);
        }
        line.clear();
    }
    Err("chromedriver does not tell its port".into())
}

/// Nothing that a browser does of its own accord.
const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,1400",
];

/// What is in place before the page: it notes what the policy refuses, and gets hold of the memory of the code.
const WATCH: &str = "
    window.refused = [];
    document.addEventListener('securitypolicyviolation', (event) => {
      window.refused.push(event.effectiveDirective);
    });
    const instantiate = WebAssembly.instantiate;
    WebAssembly.instantiate = async (...given) => {
      const made = await instantiate(...given);
      window.memory = (made.instance ?? made).exports.memory;
      return made;
    };";
