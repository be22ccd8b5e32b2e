//! What a client calls the server that it talks to, made one that can be read.
//!
//! A client such as the repo-server of Argo CD connects to the path of a socket, and Go's gRPC sends this path, percent-encoded, as the `:authority` of
//! its requests. No host is called so, for which HTTP/2 is reset here before anybody is asked. As the name says nothing
//! to us, another one takes its place.
//!
//! Invariant: the new name is as long as the old one, so that both sides keep the same table of headers (RFC 7541,
//! section 4.1); whatever cannot be read stays as it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A connection in which every `:authority` that a client spells out is another one.
pub(crate) struct Renamed<S> {
    stream: S,
    /// What has come of a frame that is not whole yet.
    begun: Vec<u8>,
    /// How many bytes of a frame, or of what comes before the first one, pass as they are.
    passing: usize,
    /// What can be read.
    ready: Vec<u8>,
    /// How much of it was.
    read: usize,
}

impl<S> Renamed<S> {
    /// Takes a connection of which nothing was read.
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, begun: Vec::new(), passing: PREFACE, ready: Vec::new(), read: 0 }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.passing > 0 {
                let passing = split(&mut bytes, self.passing);
                self.passing -= passing.len();
                self.ready.extend_from_slice(passing);
                continue;
            }
            let whole = if self.begun.len() < HEAD { HEAD } else { HEAD + length(&self.begun) };
            let more = split(&mut bytes, whole - self.begun.len());
            self.begun.extend_from_slice(more);
            if self.begun.len() < HEAD {
                continue;
            }
            let length = length(&self.begun);
            if self.begun[3] != HEADERS || length > MAX_FRAME {
                self.ready.append(&mut self.begun);
                self.passing = length;
            } else if self.begun.len() == HEAD + length {
                let frame = std::mem::take(&mut self.begun);
                self.ready.extend(renamed(&frame).unwrap_or(frame));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Renamed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.read == this.ready.len() {
            this.ready.clear();
            this.read = 0;
            let mut space = [0; SPACE];
            let mut space = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut space))?;
            if !space.filled().is_empty() {
                this.take(space.filled());
            } else if this.begun.is_empty() {
                return Poll::Ready(Ok(()));
            } else {
                this.ready.append(&mut this.begun);
            }
        }
        let rest = &this.ready[this.read..];
        let count = rest.len().min(out.remaining());
        out.put_slice(&rest[..count]);
        this.read += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Renamed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S> Connected for Renamed<S> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// Cuts off as many bytes, or all if there are fewer.
fn split<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (first, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    first
}

/// Returns the length of a frame without its head, which is there.
fn length(frame: &[u8]) -> usize {
    frame[..3].iter().fold(0, |length, &byte| (length << 8) | usize::from(byte))
}

/// Returns a frame of headers with another authority, if one is spelled out in it.
fn renamed(frame: &[u8]) -> Option<Vec<u8>> {
    let (head, payload) = frame.split_at_checked(HEAD)?;
    let is = |flag: u8| head[4] & flag != 0;
    let before = usize::from(is(PADDED)) + if is(PRIORITY) { 5 } else { 0 };
    let padding = if is(PADDED) { usize::from(*payload.first()?) } else { 0 };
    let block = payload.get(before..payload.len().checked_sub(padding)?)?;
    let (start, end) = authority(block)?;
    let name = other_name(&block[start..end])?;
    let length = payload.len() - (end - start) + name.len();
    let mut renamed = u32::try_from(length).ok()?.to_be_bytes()[1..].to_vec();
    renamed.extend_from_slice(&head[3..]);
    renamed.extend_from_slice(&payload[..before + start]);
    renamed.extend_from_slice(&name);
    renamed.extend_from_slice(&payload[before + end..]);
    Some(renamed)
}

/// Returns where in a block of headers the authority is spelled out (RFC 7541, section 6).
fn authority(block: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let (bits, is_literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let index = number(block, &mut at, bits)?;
        if is_literal {
            if index == 0 {
                pass_string(block, &mut at)?;
            }
            let start = at;
            pass_string(block, &mut at)?;
            if index == AUTHORITY {
                return Some((start, at));
            }
        }
    }
    None
}

/// Reads a number that begins with the last bits of a byte (RFC 7541, section 5.1).
fn number(block: &[u8], at: &mut usize, bits: u8) -> Option<usize> {
    let max = (1 << bits) - 1;
    let mut next = || {
        let byte = block.get(*at).copied();
        *at += 1;
        byte.map(usize::from)
    };
    let first = next()? & max;
    if first < max {
        return Some(first);
    }
    let mut number = max;
    for shift in [0, 7, 14] {
        let byte = next()?;
        number += (byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    // Longer than any frame.
    None
}

fn pass_string(block: &[u8], at: &mut usize) -> Option<()> {
    *at += number(block, at, 7)?;
    (*at <= block.len()).then_some(())
}

/// Returns a name of as many letters, and no more bytes, as a string of HPACK.
fn other_name(string: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    let length = number(string, &mut at, 7)?;
    if string[0] & HUFFMAN == 0 {
        return Some([&string[..at], &vec![b'a'; length]].concat());
    }
    let letters = letters(&string[at..])?;
    let bits = 5 * letters;
    // What is left of the last byte are ones.
    let mut coded = vec![0xff; bits.div_ceil(8)];
    for bit in 0..bits {
        if !LETTER_A[bit % 5] {
            coded[bit / 8] &= !(0x80 >> (bit % 8));
        }
    }
    let mut name = Vec::new();
    match coded.len().checked_sub(0x7f) {
        None => name.push(HUFFMAN | u8::try_from(coded.len()).ok()?),
        Some(mut rest) => {
            name.push(0xff);
            while rest >= 0x80 {
                name.push(0x80 | u8::try_from(rest & 0x7f).ok()?);
                rest >>= 7;
            }
            name.push(u8::try_from(rest).ok()?);
        }
    }
    name.extend(coded);
    Some(name)
}

/// Returns how many letters are coded, if all of them are of those that names consist of.
fn letters(coded: &[u8]) -> Option<usize> {
    let end = coded.len() * 8;
    let bit = |at: usize| at >= end || coded[at / 8] & (0x80 >> (at % 8)) != 0;
    let (mut at, mut letters) = (0, 0);
    while at < end {
        let window = (at..at + 15).fold(0_u16, |window, at| (window << 1) | u16::from(bit(at)));
        match CODES.iter().find(|(below, _)| window < *below) {
            Some((_, length)) if at + length <= end => {
                at += length;
                letters += 1;
            }
            // Seven ones or fewer are what is left of the last byte.
            _ if end - at < 8 && window == 0x7fff => return Some(letters),
            _ => return None,
        }
    }
    Some(letters)
}

/// The number of `:authority` in the table that every connection begins with.
const AUTHORITY: usize = 1;

/// For the codes of letters: below which number of fifteen bits they are, and how many bits they have (RFC 7541, appendix
/// B). Longer ones are of letters that no name has.
const CODES: [(u16, usize); 10] = [
    (0x0a << 10, 5),
    (0x2e << 9, 6),
    (0x7c << 8, 7),
    (0xfe << 7, 8),
    (0x3fd << 5, 10),
    (0x7fd << 4, 11),
    (0xffc << 3, 12),
    (0x1ffe << 2, 13),
    (0x3ffe << 1, 14),
    (0x7fff, 15),
];

/// How long the head of a frame is, and the kind of frame with headers (RFC 9113, sections 4.1 and 6.2).
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const HUFFMAN: u8 = 0x80;
const LETTER_A: [bool; 5] = [false, false, false, true, true];
/// How long a frame may be, which nobody is told otherwise.
const MAX_FRAME: usize = 1 << 14;
const PADDED: u8 = 0x8;
/// How long what a client sends first is.
const PREFACE: usize = 24;
const PRIORITY: u8 = 0x20;
const SPACE: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// `%2Ftmp%2Fx-1.sock`, as Go codes it.
    const CODED: [u8; 13] = [0x54, 0x58, 0x53, 0x4d, 0x6a, 0x8b, 0x0f, 0x95, 0x82, 0xba, 0x0e, 0x4e, 0xbf];
    const PRI: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("it is short");
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn coded(string: &[u8]) -> Vec<u8> {
        let length = 0x80 | u8::try_from(string.len()).expect("it is short");
        [&[0x83, 0x86, 0x41, length], string, &[0x44, 1, b'/']].concat()
    }

    /// Reads what a client sends, in pieces of some size.
    async fn read(sent: &[u8], size: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(size);
        let sent = sent.to_vec();
        let sending = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut client, &sent).await.expect("it is read");
        });
        let mut read = Vec::new();
        Renamed::new(server).read_to_end(&mut read).await.expect("it is sent");
        sending.await.expect("it is sent");
        read
    }

    #[tokio::test]
    async fn paths_of_sockets_become_names() {
        let a = |count: usize| vec![b'a'; count];
        let raw = |name: &[u8]| [&[0x41, u8::try_from(name.len()).expect("short")], name].concat();
        // 17 letters of 5 bits, and ones.
        let short = [0x18, 0xc6, 0x31, 0x8c, 0x63, 0x18, 0xc6, 0x31, 0x8c, 0x63, 0x1f];
        let padded = [&[2, 0, 0, 0, 0, 1], &raw(b"%2Fx")[..], &[0, 0]].concat();
        let unpadded = [&[2, 0, 0, 0, 0, 1], &raw(&a(4))[..], &[0, 0]].concat();
        let sent = [
            PRI.to_vec(),
            frame(4, 0, &[0, 3, 0, 0, 0, 100]),
            frame(HEADERS, 4, &coded(&CODED)),
            frame(0, 0, b"\x41\x01%"),
            frame(HEADERS, 4, &raw(b"%2Ftmp")),
            frame(HEADERS, 4 | PADDED | PRIORITY, &padded),
            // By now the table has it.
            frame(HEADERS, 4, &[0x83, 0xbe]),
            frame(HEADERS, 4, &[]),
        ]
        .concat();
        let expected = [
            PRI.to_vec(),
            frame(4, 0, &[0, 3, 0, 0, 0, 100]),
            frame(HEADERS, 4, &coded(&short)),
            frame(0, 0, b"\x41\x01%"),
            frame(HEADERS, 4, &raw(&a(6))),
            frame(HEADERS, 4 | PADDED | PRIORITY, &unpadded),
            frame(HEADERS, 4, &[0x83, 0xbe]),
            frame(HEADERS, 4, &[]),
        ]
        .concat();
        for size in [1, 7, 4096] {
            assert_eq!(read(&sent, size).await, expected, "{size}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_passes() {
        for payload in [
            &[0x41, 0x05, b'a'][..],
            &[0x41, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x41, 0x82, 0xff, 0xff],
            &[0x40, 0x7f],
            &[0x41],
        ] {
            let sent = [PRI, &frame(HEADERS, 4, payload), &frame(HEADERS, 4 | PADDED, &[200])].concat();
            assert_eq!(read(&sent, 3).await, sent, "{payload:?}");
            // It breaks off.
            let cut = &sent[..sent.len() - 2];
            assert_eq!(read(cut, 3).await, cut, "{payload:?}");
        }
    }
}
