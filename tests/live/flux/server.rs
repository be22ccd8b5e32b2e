//! A server of files, at the address of this process that the network of a cluster reaches.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use libtest_mimic::Failed;

/// A server of the files of one folder. It ends with the process.
pub struct Server {
    url: String,
    folder: PathBuf,
}

impl Server {
    /// Starts one at a free port.
    pub fn start(host: &str, folder: &Path) -> Result<Self, Failed> {
        let listener = TcpListener::bind((host, 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let own = folder.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asked may be gone.
                let _ = answer(stream, &own);
            }
        });
        Ok(Self { url, folder: folder.to_owned() })
    }

    /// Returns the address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The request ends with an empty line.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let name = request.split(' ').nth(1).and_then(|path| path.strip_prefix('/'));
    let file = name.filter(|name| !name.contains('/')).and_then(|name| fs::read(folder.join(name)).ok());
    let (status, body) = file.map_or(("404 Not Found", Vec::new()), |file| ("200 OK", file));
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
