//! How much a template may take, and has taken.

use std::cell::Cell;
use std::rc::Rc;

/// What a template may take. A template that needs more is refused with
/// [`TemplateError::Limit`](crate::template::TemplateError::Limit).
#[derive(Clone, Debug)]
pub struct Limits {
    /// How deep things may be in one another: actions, parentheses, templates that run templates, and
    /// lists and maps of values. Default: 100. A level takes some kilobytes of the stack.
    pub depth: usize,
    /// How many bytes may be rendered. Default: 1 MiB, which is what a Kubernetes Secret can hold.
    pub output_bytes: usize,
    /// How many bytes the source may have. Default: 1 MiB.
    pub source_bytes: usize,
    /// How many steps it may take. Default: 1 000 000. An action, a function call, an iteration of a loop
    /// and an item of a list are a step each, and so are 64 bytes that a function reads or writes. A
    /// new elliptic key takes 20 000, a password hash or a new RSA key of 2048 bits 50 000, a derived
    /// password 150 000, an RSA key of 4096 bits 250 000, and a DSA key 900 000 steps. A step is about a
    /// microsecond, or ten for these keys.
    pub steps: u64,
    /// How many bytes a single value may have. Default: 4 MiB.
    pub value_bytes: usize,
    /// How many variables there may be at a place, each assignment counted. Default: 10 000.
    pub variables: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 100,
            output_bytes: 1 << 20,
            source_bytes: 1 << 20,
            steps: 1_000_000,
            value_bytes: 4 << 20,
            variables: 10_000,
        }
    }
}

/// A limit of [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::output_bytes`].
    OutputBytes,
    /// [`Limits::source_bytes`].
    SourceBytes,
    /// [`Limits::steps`].
    Steps,
    /// [`Limits::value_bytes`].
    ValueBytes,
    /// [`Limits::variables`].
    Variables,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Depth => "nesting deeper than",
            Self::OutputBytes => "more bytes of output than",
            Self::SourceBytes => "more bytes of source than",
            Self::Steps => "more steps than",
            Self::ValueBytes => "more bytes in a value than",
            Self::Variables => "more variables than",
        })
    }
}

/// What is left.
pub struct Budget {
    limits: Limits,
    /// Those of all templates that share them.
    steps: Rc<Cell<u64>>,
    depth: usize,
}

impl Budget {
    /// Returns all of it.
    pub fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), steps: Rc::new(Cell::new(limits.steps)), depth: 0 }
    }

    /// Returns what is left for another template, which takes its steps from the same ones.
    pub fn share(&self) -> Self {
        Self { limits: self.limits.clone(), steps: Rc::clone(&self.steps), depth: 0 }
    }

    /// Takes steps.
    pub fn steps(&mut self, steps: usize) -> Result<(), Limit> {
        self.steps.set(self.steps.get().checked_sub(steps as u64).ok_or(Limit::Steps)?);
        Ok(())
    }

    /// Takes the steps for a name that is compared with so many others.
    pub fn names(&mut self, names: usize) -> Result<(), Limit> {
        self.steps(names / NAMES_PER_STEP)
    }

    /// Checks how many variables there are.
    pub fn fits_variables(&self, variables: usize) -> Result<(), Limit> {
        if variables > self.limits.variables { Err(Limit::Variables) } else { Ok(()) }
    }

    /// Takes the steps for bytes that are read or written.
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Limit> {
        self.steps(bytes / BYTES_PER_STEP)
    }

    /// Takes the steps for a value of so many bytes, which must not be too large.
    pub fn value(&mut self, bytes: usize) -> Result<(), Limit> {
        if bytes > self.limits.value_bytes {
            return Err(Limit::ValueBytes);
        }
        self.bytes(bytes)
    }

    /// Goes a level deeper.
    pub fn enter(&mut self) -> Result<(), Limit> {
        self.depth += 1;
        self.fits_depth(self.depth)
    }

    /// Comes back from a level.
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Checks a depth that is not that of what runs.
    pub fn fits_depth(&self, depth: usize) -> Result<(), Limit> {
        if depth > self.limits.depth { Err(Limit::Depth) } else { Ok(()) }
    }

    /// Returns the limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

const BYTES_PER_STEP: usize = 64;
const NAMES_PER_STEP: usize = 64;
