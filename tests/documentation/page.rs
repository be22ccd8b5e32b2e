//! What a page of the documentation has for a test: its blocks, and what its comments say about them.
//!
//! | in the page | what it does |
//! |---|---|
//! | a block of `sh` | is run |
//! | a block of `text` right behind one | is what that block prints, stdout and stderr; `…` stands for any text of a line, a line `...` for any lines |
//! | `<!-- lab: NAME -->` | once for each page: where it is run; without it, in `files` |
//! | `<!-- setup` and commands in the lines below, `-->` | commands that a reader does not see |
//! | `<!-- does: WORDS -->` | the lab does by itself what it takes these words for |
//! | `<!-- fails: N -->` | the next block ends with this exit code, and what it says is shown behind it |
//! | `<!-- typed: WORD -->` | the next block is run in a terminal, where this is typed at a prompt; again for the next prompt |
//! | `<!-- file: PATH -->` | the next block, whatever its language, is put there as a file |
//! | `<!-- not run: REASON -->` | the next block is not run |
//!
//! A block that would pass over a failure of its own is refused ([`swallowed`]), and one in a language that is not known.
//! Any other comment is a mistake, and so is one that has no block to be about: a directive that is misspelt would pass
//! for a test.

use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::swallowed;

/// A page, read.
pub struct Page {
    /// Where it is, for messages.
    pub name: String,
    /// In which lab it is run.
    pub lab: String,
    /// What is done, in the order of the page.
    pub steps: Vec<Step>,
}

/// A part of the page with something to do.
pub struct Step {
    /// The line of the page that its text begins at.
    pub line: usize,
    /// What to do.
    pub what: What,
}

/// Something to do.
pub enum What {
    /// Commands that a reader sees.
    Commands(Commands),
    /// The lab does something by itself.
    Does(String),
    /// A file is put in place.
    File { path: String, text: String },
    /// Nothing is done.
    NotRun { commands: String },
    /// Commands that a reader does not see.
    Setup(String),
}

/// Commands that a reader sees.
#[derive(Default)]
pub struct Commands {
    /// What a reader types.
    pub text: String,
    /// The exit code that they end with.
    pub exit: i32,
    /// What they print, and at which line of the page it begins, if that is shown.
    pub output: Option<(usize, String)>,
    /// What is typed at prompts.
    pub typed: Vec<String>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// If it cannot be read, or a comment of it means nothing.
    pub fn read(path: &Path) -> Result<Self, Failed> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.strip_prefix(super::top()).unwrap_or(path).display().to_string();
        Self::parse(&name, &text)
    }

    /// Reads the text of a page.
    ///
    /// # Errors
    /// If a comment of it means nothing.
    pub fn parse(name: &str, text: &str) -> Result<Self, Failed> {
        let mut reader = Reader {
            name,
            text,
            lab: None,
            steps: Vec::new(),
            directives: Vec::new(),
            open: None,
            is_behind_commands: false,
        };
        for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
            reader.take(&event, range.start)?;
        }
        reader.nothing_is_left(text.len())?;
        let Reader { lab, steps, .. } = reader;
        Ok(Self { name: name.to_owned(), lab: lab.unwrap_or_else(|| "files".to_owned()), steps })
    }

    /// Returns whether something of it is run.
    pub fn is_run(&self) -> bool {
        self.steps.iter().any(|step| !matches!(step.what, What::NotRun { .. }))
    }
}

/// Returns what of Markdown the pages use.
pub fn options() -> Options {
    Options::ENABLE_TABLES
}

/// Returns the number of the line that an offset is in.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    lab: Option<String>,
    steps: Vec<Step>,
    /// What comments say about the block that is to come.
    directives: Vec<Directive>,
    open: Option<Open>,
    /// Whether nothing that is read by people stands between a block of commands and what comes now.
    is_behind_commands: bool,
}

/// What is being read.
enum Open {
    Block { language: String, line: usize, text: String },
    Comment { line: usize, text: String },
}

enum Directive {
    Fails(i32),
    File(String),
    NotRun(String),
    Typed(String),
}

impl Reader<'_> {
    fn take(&mut self, event: &Event<'_>, offset: usize) -> Result<(), Failed> {
        let line = line_of(self.text, offset);
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let is_output = self.is_behind_commands && &**language == "text";
                let language = if is_output { "output".to_owned() } else { language.to_string() };
                self.open = Some(Open::Block { language, line: line + 1, text: String::new() });
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                return Err(self.says(line, "a block without fences has no language"));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some(Open::Block { language, line, text }) = self.open.take() {
                    self.block(&language, line, text)?;
                }
            }
            Event::Text(text) => {
                if let Some(Open::Block { text: block, .. }) = &mut self.open {
                    *block += text;
                }
            }
            Event::Start(Tag::HtmlBlock) => {
                self.open = Some(Open::Comment { line, text: String::new() });
            }
            Event::Html(text) => {
                if let Some(Open::Comment { text: comment, .. }) = &mut self.open {
                    *comment += text;
                }
            }
            Event::End(TagEnd::HtmlBlock) => {
                if let Some(Open::Comment { line, text }) = self.open.take() {
                    self.comments(line, &text)?;
                }
            }
            Event::InlineHtml(_) => return Err(self.says(line, "a comment stands in a line of its own")),
            Event::Start(Tag::Heading { .. } | Tag::Paragraph | Tag::List(_) | Tag::Table(_)) => {
                self.is_behind_commands = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes comments, of which several may follow each other.
    fn comments(&mut self, line: usize, text: &str) -> Result<(), Failed> {
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("<!--") {
            let Some((comment, after)) = from.split_once("-->") else {
                return Err(self.says(line, "the comment does not end"));
            };
            let offset = text.len() - rest.len() + before.len();
            self.comment(line + line_of(text, offset) - 1, comment)?;
            rest = after;
        }
        if rest.trim().is_empty() { Ok(()) } else { Err(self.says(line, "this is HTML, and no comment")) }
    }

    fn comment(&mut self, line: usize, comment: &str) -> Result<(), Failed> {
        let comment = comment.trim();
        if let Some(("setup", commands)) = comment.split_once('\n') {
            self.tells_failures(line + 1, commands)?;
            self.steps.push(Step { line: line + 1, what: What::Setup(commands.to_owned()) });
            return Ok(());
        }
        let Some((word, rest)) = comment.split_once(':') else {
            return Err(self.says(line, "this comment says nothing to the tests"));
        };
        let rest = rest.trim().to_owned();
        match word {
            "does" => self.steps.push(Step { line, what: What::Does(rest) }),
            "fails" => {
                let exit = rest.parse().map_err(|_| self.says(line, "an exit code is a number"))?;
                self.directives.push(Directive::Fails(exit));
            }
            "file" => self.directives.push(Directive::File(rest)),
            "lab" if self.lab.is_none() => self.lab = Some(rest),
            "not run" => self.directives.push(Directive::NotRun(rest)),
            "typed" => self.directives.push(Directive::Typed(rest)),
            _ => return Err(self.says(line, "this comment says nothing to the tests")),
        }
        Ok(())
    }

    fn block(&mut self, language: &str, line: usize, text: String) -> Result<(), Failed> {
        let directives = std::mem::take(&mut self.directives);
        self.is_behind_commands = language == "sh";
        if language == "output" && directives.is_empty() {
            // What a reader does not see may stand between.
            let mut shown = self.steps.iter_mut().rev().map(|step| &mut step.what);
            return match shown.find(|what| !matches!(what, What::Does(_) | What::Setup(_))) {
                Some(What::Commands(commands)) => {
                    commands.output = Some((line, text));
                    Ok(())
                }
                // What it would print, if it were run.
                _ => Ok(()),
            };
        }
        if language == "sh" {
            let what = self.commands(line, text, directives)?;
            self.steps.push(Step { line, what });
            return Ok(());
        }
        if !language.is_empty() && !LANGUAGES.contains(&language) {
            return Err(self.says(line, &format!("{language:?} is no language here; commands are of sh")));
        }
        match directives.as_slice() {
            [] if language.is_empty() => Err(self.says(line, "the block says no language")),
            [] => Ok(()),
            [Directive::File(path)] => {
                let what = What::File { path: path.clone(), text };
                self.steps.push(Step { line, what });
                Ok(())
            }
            _ => Err(self.says(line, "the comment in front is not about such a block")),
        }
    }

    fn commands(&self, line: usize, text: String, directives: Vec<Directive>) -> Result<What, Failed> {
        let mut commands = Commands { text, ..Commands::default() };
        let mut is_run = true;
        for directive in directives {
            match directive {
                Directive::Fails(exit) => commands.exit = exit,
                Directive::File(path) => {
                    let text = std::mem::take(&mut commands.text);
                    return Ok(What::File { path, text });
                }
                Directive::NotRun(reason) if reason.is_empty() => {
                    return Err(self.says(line, "nothing says why the block is not run"));
                }
                Directive::NotRun(_) => is_run = false,
                Directive::Typed(word) => commands.typed.push(word),
            }
        }
        if !is_run {
            return Ok(What::NotRun { commands: commands.text });
        }
        self.tells_failures(line, &commands.text)?;
        Ok(What::Commands(commands))
    }

    fn tells_failures(&self, line: usize, block: &str) -> Result<(), Failed> {
        match swallowed::first(block) {
            Some((at, why)) => Err(self.says(line + at - 1, why)),
            None => Ok(()),
        }
    }

    fn nothing_is_left(&self, end: usize) -> Result<(), Failed> {
        if !self.directives.is_empty() {
            return Err(self.says(line_of(self.text, end), "a comment has no block behind it"));
        }
        // It could fail for another reason than the one that is meant.
        for step in &self.steps {
            if let What::Commands(commands) = &step.what
                && commands.exit != 0
                && commands.output.is_none()
            {
                return Err(self.says(step.line, "the block fails, and what it says is not shown behind it"));
            }
        }
        Ok(())
    }

    fn says(&self, line: usize, what: &str) -> Failed {
        format!("{}:{line}: {what}", self.name).into()
    }
}

/// Languages of blocks, beside `sh`; `output` is that of a text behind commands.
const LANGUAGES: &[&str] = &["json", "output", "rust", "rust,ignore", "text", "toml", "yaml"];
