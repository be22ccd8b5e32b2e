//! A page, run from its beginning to its end.
//!
//! Each block is a run of Bash, which stops at the first command that fails. The folder and the exported variables are
//! those that the block before left, as in one session. Whatever a page left running is ended with it, and so is a block that does
//! not come to its end.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::process::{Pid, Signal, kill_process_group};

use super::labs::{Kind, Lab};
use super::matching;
use super::page::{Commands, Page, What};
use super::place::Place;

/// Runs a page in a lab of its own.
///
/// # Errors
/// If a block does not do what the page says.
pub fn run(page: &Page, kind: &Kind) -> Result<(), Failed> {
    let place = Place::new()?;
    let lab = (kind.start)(&place)?;
    let mut story = Story { page, place, lab, groups: Vec::new() };
    for step in &page.steps {
        match &step.what {
            What::Commands(commands) => story.commands(step.line, commands)?,
            What::Does(words) => {
                story.lab.does(words, &story.place).map_err(|failed| story.at(step.line, &failed))?;
            }
            What::File { path, text } => story.write(path, text)?,
            What::NotRun { .. } => {}
            What::Setup(text) => {
                story.commands(step.line, &Commands { text: text.clone(), ..Commands::default() })?;
            }
        }
    }
    Ok(())
}

struct Story<'a> {
    page: &'a Page,
    place: Place,
    lab: Box<dyn Lab>,
    /// The process groups of what was started: something of a block may run on behind it.
    groups: Vec<u32>,
}

/// What came of a block.
struct Ran {
    status: ExitStatus,
    output: String,
    /// The line of the block that failed, the first being 1.
    line: usize,
}

impl Story<'_> {
    fn commands(&mut self, line: usize, commands: &Commands) -> Result<(), Failed> {
        let begin = Instant::now();
        let ran = self.bash(commands).map_err(|failed| self.at(line, &failed))?;
        if begin.elapsed() >= LONGEST {
            return Err(self.says(line, &format!("did not end within {} s", LONGEST.as_secs()), &ran.output));
        }
        if ran.status.code() != Some(commands.exit) {
            let what = format!("{}, not {}", ran.status, commands.exit);
            let line = if commands.exit == 0 { line + ran.line.saturating_sub(1) } else { line };
            return Err(self.says(line, &what, &ran.output));
        }
        if let Some((line, shown)) = &commands.output
            && !matching::is_shown(shown, &ran.output)
        {
            return Err(self.says(*line, "something else came out than the page shows", &ran.output));
        }
        self.lab.after(&commands.text, &self.place).map_err(|failed| self.at(line, &failed))
    }

    /// Runs commands and returns what they print, stdout and stderr, in the order in which it comes.
    fn bash(&mut self, commands: &Commands) -> Result<Ran, Failed> {
        let (script, output) = (self.kept("block"), self.kept("output"));
        fs::write(&script, &commands.text)?;
        fs::write(self.kept("line"), "")?;
        let mut command = self.lab.command(Path::new("/bin/bash"))?;
        command.arg("-c").arg(SESSION).arg("bash").arg(self.place.beside("story"));
        if !commands.typed.is_empty() {
            command = self.in_terminal(&command)?;
        }
        command.env_clear().envs(self.place.variables()).envs(self.lab.variables());
        command.current_dir(self.place.work()).process_group(0);
        let status = if commands.typed.is_empty() {
            let file = File::create(&output)?;
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
            let mut child = command.spawn()?;
            self.groups.push(child.id());
            let _deadline = Deadline::of(child.id());
            child.wait()?
        } else {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            self.groups.push(child.id());
            let _deadline = Deadline::of(child.id());
            let printed = converse(&mut child, &commands.typed)?;
            fs::write(&output, printed)?;
            child.wait()?
        };
        let output = String::from_utf8_lossy(&fs::read(output)?).replace("\r\n", "\n");
        let line = fs::read_to_string(self.kept("line"))?.trim().parse().unwrap_or(1);
        Ok(Ran { status, output, line })
    }

    /// Returns a command whose input and output are a terminal of its own.
    fn in_terminal(&self, command: &Command) -> Result<Command, Failed> {
        let mut words = vec![command.get_program().to_str().ok_or("it is text")?];
        for argument in command.get_args() {
            words.push(argument.to_str().ok_or("it is text")?);
        }
        let mut script = self.lab.command(Path::new("/usr/bin/script"))?;
        script.args(["--quiet", "--return", "--flush", "--command"]);
        let words: Vec<_> = words.into_iter().map(quoted).collect();
        script.arg(words.join(" ")).arg("/dev/null");
        Ok(script)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        // In the folder that the commands are in by now.
        let folder = fs::read_to_string(self.kept("folder")).unwrap_or_default();
        let folder = if folder.is_empty() { self.place.work() } else { PathBuf::from(folder.trim_end()) };
        let path = match path.strip_prefix("~/") {
            Some(path) => self.place.home().join(path),
            None => folder.join(path),
        };
        fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Returns where something is kept from block to block.
    fn kept(&self, name: &str) -> PathBuf {
        let folder = self.place.beside("story");
        // If it cannot be made, writing to it says so.
        drop(fs::create_dir_all(&folder));
        folder.join(name)
    }

    fn at(&self, line: usize, failed: &Failed) -> Failed {
        self.says(line, failed.message().unwrap_or("failed"), "")
    }

    fn says(&self, line: usize, what: &str, output: &str) -> Failed {
        format!("{}:{line}: {what}\n{output}", self.page.name).into()
    }
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        for group in &self.groups {
            kill(*group);
        }
    }
}

/// Ends a process group if this is there for too long: what waits for it then goes on.
struct Deadline {
    /// When this is dropped, the thread that waits ends.
    _over: mpsc::Sender<()>,
}

impl Deadline {
    fn of(group: u32) -> Self {
        let (over, is_over) = mpsc::channel();
        thread::spawn(move || {
            if is_over.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                kill(group);
            }
        });
        Self { _over: over }
    }
}

/// Ends a process group, if it is there.
fn kill(group: u32) {
    if let Some(group) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // It is gone, as a rule.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Types one word at each prompt, which is what is printed without the end of a line, and returns all that is printed.
fn converse(child: &mut Child, words: &[String]) -> Result<Vec<u8>, Failed> {
    let mut input = child.stdin.take().ok_or("it has an input")?;
    let mut output = child.stdout.take().ok_or("it has an output")?;
    let (mut printed, mut words) = (Vec::new(), words.iter());
    let mut buffer = [0; 1024];
    loop {
        let length = output.read(&mut buffer)?;
        if length == 0 {
            return Ok(printed);
        }
        printed.extend_from_slice(&buffer[..length]);
        if printed.ends_with(b": ")
            && let Some(word) = words.next()
        {
            writeln!(input, "{word}")?;
            input.flush()?;
        }
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// How long a block may take: much more than any does on a slow machine.
const LONGEST: Duration = Duration::from_secs(600);

/// What runs a block, which is in a folder, as if it were typed in one session with those before. The trap of errors is
/// not for what is inside of functions: a block has none of its own.
const SESSION: &str = r#"
story=$1
if [ -e "$story/variables" ]; then . "$story/variables"; fi
if [ -e "$story/folder" ]; then cd "$(cat "$story/folder")"; fi
trap 'status=$?; declare -px > "$story/variables"; pwd > "$story/folder"; exit $status' EXIT
trap 'echo "$LINENO" > "$story/line"' ERR
set -e -o pipefail
. "$story/block"
"#;
