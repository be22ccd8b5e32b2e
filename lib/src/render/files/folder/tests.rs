use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::{Strategy, prop};
use proptest::{prop_assert, proptest};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// A folder `in`, beside a file `secret`, that goes when it is dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("selkie-folder-{}-{number}", std::process::id()));
        fs::create_dir_all(place.join("in")).expect("a folder");
        fs::write(place.join("secret"), "outside").expect("a file");
        Self(place)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join("in").join(path)
    }

    fn file(&self, path: &str, content: &str) {
        fs::create_dir_all(self.path(path).parent().expect("a folder")).expect("a folder");
        fs::write(self.path(path), content).expect("a file");
    }

    fn link(&self, path: &str, target: &str) {
        fs::create_dir_all(self.path(path).parent().expect("a folder")).expect("a folder");
        symlink(target, self.path(path)).expect("a link");
    }

    fn open(&self) -> Folder {
        Folder::open(&self.path(""), &Limits::default()).expect("it can be opened")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn text(folder: &Folder, path: &str) -> String {
    let content = folder.read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(content.expose_secret()).into_owned()
}

fn refused(folder: &Folder, path: &str) -> FilesError {
    folder.read(path).err().unwrap_or_else(|| panic!("{path} was read"))
}

#[test]
fn files_and_links_inside_are_read() {
    let place = Place::new();
    place.file("b/c.yaml", "c");
    place.file("a.yaml", "a");
    place.file(".git/config", "x");
    place.file("module/.git", "x");
    place.link("link.yaml", "b/c.yaml");
    place.link("b/up.yaml", "../a.yaml");
    place.link("copy", "b");
    let folder = place.open();
    assert_eq!(
        folder.paths(),
        ["a.yaml", "b/c.yaml", "b/up.yaml", "copy/c.yaml", "copy/up.yaml", "link.yaml"]
    );
    for (path, expected) in [("link.yaml", "c"), ("copy/c.yaml", "c"), ("copy/up.yaml", "a"), ("a.yaml", "a")]
    {
        assert_eq!(text(&folder, path), expected);
    }
    assert!(matches!(refused(&folder, "none"), FilesError::Missing { path } if path == "none"));
    assert!(matches!(refused(&folder, "b"), FilesError::Special { .. }));
}

#[test]
fn nothing_outside_is_read() {
    let place = Place::new();
    let outside = place.0.join("secret").display().to_string();
    for (number, target) in
        ["../secret", &outside, "a/../../secret", "/proc/self/root/etc/passwd"].iter().enumerate()
    {
        place.link(&format!("l{number}"), target);
    }
    place.link("a/chain", "../l0");
    place.link("folder", "..");
    let folder = place.open();
    assert_eq!(folder.paths(), ["a/chain", "folder", "l0", "l1", "l2", "l3"]);
    for path in folder.paths().iter().map(String::as_str).chain([
        "../secret",
        &outside,
        "a/../../secret",
        "folder/secret",
    ]) {
        assert!(
            matches!(refused(&folder, path), FilesError::Outside { path: named } if named == path),
            "{path}"
        );
    }
}

#[test]
fn magic_links_are_not_followed() {
    // Links of the system to anywhere: those of a process that does nothing, as threads of this one come and go.
    let mut quiet = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat starts");
    let place = format!("/proc/{}", quiet.id());
    let folder = Folder::open(Path::new(&place), &Limits { files: 1_000_000, ..Limits::default() });
    let folder = folder.expect("it can be opened");
    assert!(folder.paths().iter().all(|path| !path.starts_with("cwd/") && !path.starts_with("root/")));
    for path in ["cwd/Cargo.toml", "root/etc/passwd", "exe"] {
        let error = refused(&folder, path);
        let is_loop = |source: &std::io::Error| source.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        assert!(matches!(&error, FilesError::Io { source, .. } if is_loop(source)), "{path}: {error:?}");
    }
    drop(quiet.stdin.take());
    quiet.wait().expect("cat ends");
}

#[test]
fn circles_are_cut() {
    let place = Place::new();
    place.file("a/f", "f");
    place.link("a/here", ".");
    place.link("a/up", "..");
    place.link("x", "y");
    place.link("y", "x");
    let folder = place.open();
    assert_eq!(folder.paths(), ["a/f", "x", "y"]);
    assert!(matches!(refused(&folder, "x"), FilesError::Io { .. }));
    for step in 0..64 {
        place.link(&format!("many/d{step}/l"), &format!("../d{}", step + 1));
        place.link(&format!("many/d{step}/m"), &format!("../d{}", step + 1));
    }
    place.file("many/d64/f", "");
    let many = Folder::open(&place.path("many"), &Limits { files: 1000, ..Limits::default() });
    assert!(matches!(many, Err(FilesError::Limit(error)) if error.name == "files"));
}

#[test]
fn what_is_no_file_is_not_opened() {
    let place = Place::new();
    let fifo = place.path("fifo.yaml");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    assert!(fs::metadata(&fifo).expect("it is there").file_type().is_fifo());
    let listener = UnixListener::bind(place.path("socket")).expect("a socket");
    place.link("to-fifo", "fifo.yaml");
    let folder = place.open();
    for path in ["fifo.yaml", "socket", "to-fifo"] {
        assert!(matches!(refused(&folder, path), FilesError::Special { .. }), "{path}");
    }
    drop(listener);
    let device = Folder::open(Path::new("/dev"), &Limits::default()).expect("it can be opened");
    assert!(matches!(refused(&device, "zero"), FilesError::Special { .. }));
}

#[test]
fn names_are_text() {
    let place = Place::new();
    fs::write(place.path("").join(std::ffi::OsStr::from_bytes(b"a\xff.yaml")), "").expect("a file");
    let error = Folder::open(&place.path(""), &Limits::default()).err().expect("it is refused");
    assert!(matches!(error, FilesError::Io { path, .. } if path == "a\u{fffd}.yaml"));
}

#[test]
fn limits_hold() {
    let place = Place::new();
    place.file("a", "1234");
    place.file("b", "12345");
    place.file("c", "123");
    let limits = Limits { files: 3, file_bytes: 4, total_bytes: 6, ..Limits::default() };
    let folder = Folder::open(&place.path(""), &limits).expect("it is within");
    for _ in 0..2 {
        assert_eq!(text(&folder, "a"), "1234");
    }
    assert!(matches!(refused(&folder, "b"), FilesError::Limit(error) if error.name == "fileBytes"));
    assert!(matches!(refused(&folder, "c"), FilesError::Limit(error) if error.name == "totalBytes"));
    fs::create_dir(place.path("d")).expect("a folder");
    let more = Folder::open(&place.path(""), &limits);
    assert!(matches!(more, Err(FilesError::Limit(error)) if error.name == "files"));
    // What the system makes up as it is read has no size.
    let made_up = Path::new("/proc/sys/kernel/random");
    let made_up = Folder::open(made_up, &Limits { file_bytes: 4, ..Limits::default() });
    let error = refused(&made_up.expect("it can be opened"), "uuid");
    assert!(matches!(error, FilesError::Limit(error) if error.name == "fileBytes"));
}

#[test]
fn a_system_that_is_too_old_is_told() {
    let told = failed("apps", Errno::NOSYS).to_string();
    assert_eq!(told, "apps: cannot be read safely on this system; a folder is read with Linux 5.6 or later");
}

#[test]
fn what_is_swapped_after_it_was_listed_leads_nowhere() {
    let place = Place::new();
    place.file("a/f", "inside");
    place.file("b", "inside");
    let folder = place.open();
    fs::remove_file(place.path("b")).expect("it goes");
    place.link("b", "../secret");
    fs::rename(place.path("a"), place.path("away")).expect("it goes");
    fs::create_dir(place.0.join("elsewhere")).expect("a folder");
    fs::write(place.0.join("elsewhere/f"), "outside").expect("a file");
    place.link("a", "../elsewhere");
    for path in ["b", "a/f"] {
        assert!(matches!(refused(&folder, path), FilesError::Outside { .. }), "{path}");
    }
}

#[test]
fn a_folder_that_changes_all_the_time_leads_nowhere() {
    let place = Place::new();
    place.file("real/f", "inside");
    fs::create_dir(place.0.join("elsewhere")).expect("a folder");
    fs::write(place.0.join("elsewhere/f"), "outside").expect("a file");
    place.link("fake", "../elsewhere");
    place.link("a", "real");
    let folder = place.open();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                for target in ["fake", "real"] {
                    drop(symlink(target, place.path("next")));
                    drop(fs::rename(place.path("next"), place.path("a")));
                }
            }
        });
        for _ in 0..2000 {
            if let Ok(content) = folder.read("a/f") {
                assert_eq!(content.expose_secret(), b"inside");
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
}

fn target() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "..", ".", "secret", "elsewhere"]), 1..6)
        .prop_map(|names| names.join("/"))
}

proptest! {
    #[test]
    fn no_path_escapes(links in prop::collection::vec((target(), target()), 1..10)) {
        let place = Place::new();
        place.file("a/b/f", "inside");
        place.file("c", "inside");
        for (path, target) in &links {
            let path = place.path(path);
            // Only what is made inside: the tests must not write elsewhere either.
            if path.components().any(|name| name.as_os_str() == "..") {
                continue;
            }
            if path.parent().is_some_and(|parent| parent.canonicalize().is_ok_and(|parent| parent.starts_with(place.path("")))) {
                drop(symlink(target, path));
            }
        }
        if let Ok(folder) = Folder::open(&place.path(""), &Limits { files: 5000, ..Limits::default() }) {
            for path in folder.paths() {
                if let Ok(content) = folder.read(&path) {
                    prop_assert!(content.expose_secret() == b"inside", "{path}");
                }
            }
        }
    }
}
