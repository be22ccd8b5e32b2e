//! How much of an archive is read, and what it stands for.
//!
//! Invariants: a limit stops the very read that would go beyond it; what heads of entries take is bounded, so that names
//! and extensions fill no memory.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use crate::render::{LimitError, Limits};

/// What was read so far.
pub(super) struct Meter {
    compressed: Cell<u64>,
    unpacked: Cell<u64>,
    /// Holes of sparse files, which are no bytes of the archive.
    holes: Cell<u64>,
    /// How many bytes may be read until more is allowed.
    allowance: Cell<u64>,
    /// How many zeros were read last.
    zeros: Cell<u64>,
    exceeded: RefCell<Option<LimitError>>,
    ratio: u64,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            compressed: Cell::default(),
            unpacked: Cell::default(),
            holes: Cell::default(),
            allowance: Cell::default(),
            zeros: Cell::default(),
            exceeded: RefCell::default(),
            ratio: limits.ratio,
        }
    }

    /// Allows that as many bytes are read, and no more.
    pub(super) fn allow(&self, bytes: u64) {
        self.allowance.set(bytes);
    }

    /// Counts what a file has beyond the bytes of the archive.
    pub(super) fn add_holes(&self, bytes: u64) -> Result<(), LimitError> {
        self.holes.set(self.holes.get().saturating_add(bytes));
        self.check_ratio()
    }

    /// Returns how many zeros were read last.
    pub(super) fn zeros(&self) -> u64 {
        self.zeros.get()
    }

    /// Returns the limit that stopped a read.
    pub(super) fn exceeded(&self) -> Option<LimitError> {
        self.exceeded.borrow_mut().take()
    }

    fn check_ratio(&self) -> Result<(), LimitError> {
        let bytes = self.unpacked.get().saturating_add(self.holes.get());
        if bytes <= FREE || bytes <= self.compressed.get().saturating_mul(self.ratio) {
            return Ok(());
        }
        Err(LimitError {
            what: "the archive".to_owned(),
            name: "ratio",
            limit: self.ratio,
            unit: "times as many bytes as it has",
        })
    }

    fn count(&self, bytes: &[u8]) -> Result<(), LimitError> {
        self.unpacked.set(self.unpacked.get() + bytes.len() as u64);
        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let before = if zeros == bytes.len() { self.zeros.get() } else { 0 };
        self.zeros.set(before + zeros as u64);
        let Some(rest) = self.allowance.get().checked_sub(bytes.len() as u64) else {
            return Err(LimitError {
                what: "the head of an entry of the archive".to_owned(),
                name: "headBytes",
                limit: HEAD,
                unit: "bytes",
            });
        };
        self.allowance.set(rest);
        self.check_ratio()
    }
}

/// The compressed bytes.
pub(super) struct Compressed<'a, R> {
    pub(super) bytes: R,
    pub(super) meter: &'a Meter,
}

impl<R: Read> Read for Compressed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.read(buffer)?;
        self.meter.compressed.set(self.meter.compressed.get() + length as u64);
        Ok(length)
    }
}

/// The bytes of the archive.
pub(super) struct Unpacked<'a, R> {
    pub(super) bytes: R,
    pub(super) meter: &'a Meter,
}

impl<R: Read> Read for Unpacked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.bytes.read(buffer)?;
        match self.meter.count(&buffer[..length]) {
            Ok(()) => Ok(length),
            Err(error) => {
                let told = io::Error::other("a limit is exceeded");
                *self.meter.exceeded.borrow_mut() = Some(error);
                Err(told)
            }
        }
    }
}

/// How many bytes may stand between the contents of two files: heads, long names, extensions, and what fills blocks up.
pub(super) const HEAD: u64 = 128 << 10;

/// How many bytes an archive may stand for, however few it has.
const FREE: u64 = 1 << 20;
