//! All that a Redis holds.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use libtest_mimic::Failed;

use crate::live::sync_engine::tool;
use crate::peer::piped;

/// Returns every value of what is kept, by its key. What is compressed is unpacked; of what has several parts, as a list
/// has, there are all parts and names of parts, one after the other.
pub fn dump(host: &str, port: u16) -> Result<BTreeMap<String, Vec<u8>>, Failed> {
    let mut connection = Connection::open(host, port)?;
    let mut all = BTreeMap::new();
    for key in connection.ask(&[b"KEYS", b"*"])? {
        let kind = connection.ask(&[b"TYPE", &key])?.concat();
        let command: &[&[u8]] = match kind.as_slice() {
            b"string" => &[b"GET", &key],
            b"hash" => &[b"HGETALL", &key],
            b"list" => &[b"LRANGE", &key, b"0", b"-1"],
            b"set" => &[b"SMEMBERS", &key],
            b"zset" => &[b"ZRANGE", &key, b"0", b"-1"],
            b"stream" => &[b"XRANGE", &key, b"-", b"+"],
            // It is gone by now.
            b"none" => continue,
            other => return Err(format!("a kind of value: {}", String::from_utf8_lossy(other)).into()),
        };
        let mut value = Vec::new();
        for part in connection.ask(command)? {
            value.extend(unpacked(part)?);
            value.push(b'\n');
        }
        all.insert(String::from_utf8_lossy(&key).into_owned(), value);
    }
    Ok(all)
}

fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, Failed> {
    if bytes.starts_with(b"\x1f\x8b") { piped(tool("gzip").args(["-d", "-c"]), &bytes) } else { Ok(bytes) }
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(host: &str, port: u16) -> Result<Self, Failed> {
        let stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command, and returns all strings of the answer.
    fn ask(&mut self, words: &[&[u8]]) -> Result<Vec<Vec<u8>>, Failed> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).into_bytes());
            request.extend([word, &b"\r\n"[..]].concat());
        }
        self.0.get_mut().write_all(&request)?;
        let mut strings = Vec::new();
        let mut left = 1;
        while left > 0 {
            left -= 1;
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            let line = line.trim_end();
            let (kind, rest) = line.split_at_checked(1).ok_or("there is no answer")?;
            match kind {
                "+" | ":" => strings.push(rest.as_bytes().to_vec()),
                "*" => left += rest.parse::<i64>()?.max(0),
                // There is nothing.
                "$" if rest == "-1" => {}
                "$" => {
                    let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                    self.0.read_exact(&mut bytes)?;
                    bytes.truncate(bytes.len() - 2);
                    strings.push(bytes);
                }
                _ => return Err(format!("an answer: {line}").into()),
            }
        }
        Ok(strings)
    }
}
