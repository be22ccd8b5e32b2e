use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_oneof, proptest};
use tar::{Builder, Header};

use super::*;

/// Returns an archive of entries: their kind, path, link and content.
fn tar(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, link, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        // As an attacker would, who asks nobody for permission.
        for (name, extension, place) in [(path, b'L', 0), (link, b'K', 157)] {
            if name.len() > 100 {
                let mut long = Header::new_gnu();
                long.set_entry_type(EntryType::new(extension));
                long.set_size(name.len() as u64 + 1);
                long.set_cksum();
                builder.append(&long, [name.as_bytes(), b"\0"].concat().as_slice()).expect("it is written");
            } else {
                header.as_mut_bytes()[place..place + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        header.set_cksum();
        builder.append(&header, *content).expect("it is written");
    }
    builder.into_inner().expect("it is written")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("it is written");
    encoder.finish().expect("it is written")
}

fn unpack(entries: &[(EntryType, &str, &str, &[u8])]) -> Result<Archive, FilesError> {
    unpack_within(entries, &Limits::default())
}

fn unpack_within(entries: &[(EntryType, &str, &str, &[u8])], limits: &Limits) -> Result<Archive, FilesError> {
    Archive::unpack(gzip(&tar(entries)).as_slice(), limits)
}

fn text(archive: &Archive, path: &str) -> String {
    let content = archive.read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(content.expose_secret()).into_owned()
}

fn told(result: Result<Archive, FilesError>) -> String {
    result.err().expect("it is refused").to_string()
}

const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;
const HARD: EntryType = EntryType::Link;
const LINK: EntryType = EntryType::Symlink;

#[test]
fn files_folders_and_links_come_out() {
    let archive = unpack(&[
        (FOLDER, "./", "", b""),
        (FOLDER, "base/", "", b""),
        (FILE, "./base/a.yaml", "", b"a"),
        (LINK, "b.yaml", "base/a.yaml", b""),
        (LINK, "deep/c.yaml", "../b.yaml", b""),
        (LINK, "copy", "base", b""),
        (LINK, "dangling.yaml", "base/none.yaml", b""),
        (HARD, "d.yaml", "base/a.yaml", b""),
        (FILE, "module/.git", "", b"gitdir: elsewhere"),
        (FILE, ".git/config", "", b"x"),
    ])
    .expect("it is sound");
    let paths =
        ["b.yaml", "base/a.yaml", "copy/a.yaml", "d.yaml", "dangling.yaml", "deep/c.yaml"].map(str::to_owned);
    assert_eq!(archive.paths(), paths);
    for path in paths.iter().filter(|path| *path != "dangling.yaml") {
        assert_eq!(text(&archive, path), "a");
    }
    assert!(matches!(archive.read("dangling.yaml"), Err(FilesError::Missing { .. })));
    assert!(matches!(archive.read(".git/config"), Err(FilesError::Missing { .. })));
}

#[test]
fn nothing_leads_out() {
    let long = format!("{}../../x", "a/../".repeat(40));
    for entry in [
        (FILE, "../x", "", b"" as &[u8]),
        (FILE, "a/../../x", "", b""),
        (FILE, "a/../x", "", b""),
        (FILE, "/etc/passwd", "", b""),
        (FILE, long.as_str(), "", b""),
        (FOLDER, "../", "", b""),
        (LINK, "x", "/etc/passwd", b""),
        (LINK, "x", "../x", b""),
        (LINK, "a/x", "../../a/x", b""),
        (LINK, "x", "none/../../x", b""),
        (HARD, "x", "../../etc/passwd", b""),
        (HARD, "x", "/etc/passwd", b""),
    ] {
        let result = unpack(&[(FOLDER, "a", "", b""), entry]);
        assert!(matches!(result, Err(FilesError::Outside { .. })), "{entry:?}");
    }
    // `..` is above what a link leads to, not above where it is written.
    let through =
        [(FILE, "a/b/f", "", b"" as &[u8]), (LINK, "l", "a/b", b""), (LINK, "m", "l/../../..", b"")];
    assert!(matches!(unpack(&through), Err(FilesError::Outside { path }) if path == "m"));
}

#[test]
fn nothing_is_written_through_a_link() {
    for entries in [
        [(LINK, "a", "b", b"" as &[u8]), (FILE, "a/x", "", b"")],
        [(LINK, "a", "b", b""), (FILE, "a", "", b"")],
        [(FILE, "a", "", b""), (FILE, "a/x", "", b"")],
        [(FILE, "a/x", "", b""), (FILE, "a", "", b"")],
        [(FOLDER, "a", "", b""), (LINK, "a", "b", b"")],
    ] {
        let error = told(unpack(&entries));
        assert_eq!(error, "the archive cannot be read: a is there twice, as different things");
    }
    let twice = unpack(&[(FILE, "a", "", b"one"), (FILE, "a", "", b"two")]).expect("the last counts");
    assert_eq!(text(&twice, "a"), "two");
}

#[test]
fn circles_are_cut() {
    let archive = unpack(&[
        (FILE, "a/f", "", b"f"),
        (LINK, "a/up", "..", b""),
        (LINK, "x", "y", b""),
        (LINK, "y", "x", b""),
    ])
    .expect("it is sound");
    assert_eq!(archive.paths(), ["a/f", "x", "y"]);
    let error = archive.read("x").err().expect("it cannot be read");
    assert!(matches!(error, FilesError::Io { .. }), "{error}");
}

#[test]
fn links_that_multiply_are_beyond_the_limit() {
    let names: Vec<_> =
        (0..64).map(|number| (format!("d{number:02}"), format!("d{:02}", number + 1))).collect();
    let mut owned = Vec::new();
    for (folder, next) in &names {
        for link in ["l", "m"] {
            owned.push((format!("{folder}/{link}"), format!("../{next}")));
        }
    }
    let mut entries: Vec<(EntryType, &str, &str, &[u8])> =
        owned.iter().map(|(path, target)| (LINK, path.as_str(), target.as_str(), b"" as &[u8])).collect();
    entries.push((FOLDER, "d64", "", b""));
    assert!(matches!(unpack(&entries), Err(FilesError::Limit(error)) if error.name == "files"));
}

#[test]
fn what_is_no_file_is_refused() {
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block] {
        assert!(matches!(unpack(&[(kind, "x", "", b"")]), Err(FilesError::Special { path }) if path == "x"));
    }
    let error = told(unpack(&[(EntryType::new(b'M'), "x", "", b"")]));
    assert_eq!(error, "the archive cannot be read: x is of a kind that no archive of files has");
    assert_eq!(
        told(unpack(&[(HARD, "x", "later", b""), (FILE, "later", "", b"")])),
        "the archive cannot be read: x is a link to what is no file before it"
    );
}

#[test]
fn names_may_be_long_but_not_too_long() {
    let long = format!("{}/f", "n".repeat(200));
    let archive = unpack(&[(FILE, &long, "", b"x"), (LINK, "l", &long, b"")]).expect("it is sound");
    assert_eq!((text(&archive, &long), text(&archive, "l")), ("x".to_owned(), "x".to_owned()));
    let too_long = "n/".repeat(2100);
    assert!(told(unpack(&[(FOLDER, &too_long, "", b"")])).contains("a path is longer than 4096 bytes: n/"));
    let endless = "n".repeat(200 << 10);
    assert!(
        matches!(unpack(&[(FILE, &endless, "", b"")]), Err(FilesError::Limit(error)) if error.name == "headBytes")
    );
}

#[test]
fn extensions_of_posix_are_read() {
    let mut builder = Builder::new(Vec::new());
    let path = "é".repeat(90);
    let extensions: [(&str, &[u8]); 2] = [("path", path.as_bytes()), ("size", b"3")];
    builder.append_pax_extensions(extensions).expect("it is written");
    let mut header = Header::new_ustar();
    header.set_entry_type(FILE);
    header.set_path("short").expect("a path");
    header.set_size(3);
    header.set_cksum();
    builder.append(&header, b"abc".as_slice()).expect("it is written");
    let archive =
        Archive::unpack(gzip(&builder.into_inner().expect("it is written")).as_slice(), &Limits::default())
            .expect("it is sound");
    assert_eq!(text(&archive, &path), "abc");

    for (key, value) in [("path", "../out"), ("GNU.sparse.major", "1")] {
        let mut builder = Builder::new(Vec::new());
        builder.append_pax_extensions([(key, value.as_bytes())]).expect("it is written");
        builder.append(&header, b"abc".as_slice()).expect("it is written");
        let bytes = gzip(&builder.into_inner().expect("it is written"));
        assert!(Archive::unpack(bytes.as_slice(), &Limits::default()).is_err(), "{key}");
    }
}

#[test]
fn names_are_text() {
    let mut header = Header::new_gnu();
    header.set_entry_type(FILE);
    header.set_size(0);
    header.as_mut_bytes()[..3].copy_from_slice(b"a\xff.");
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, [].as_slice()).expect("it is written");
    let bytes = gzip(&builder.into_inner().expect("it is written"));
    let error = told(Archive::unpack(bytes.as_slice(), &Limits::default()));
    assert_eq!(error, "the archive cannot be read: a path is not UTF-8: a\u{fffd}.");
}

#[test]
fn limits_hold() {
    let few = Limits { files: 3, file_bytes: 4, total_bytes: 6, ..Limits::default() };
    let file = |path| (FILE, path, "", b"" as &[u8]);
    unpack_within(&[file("a"), file("b"), file("c")], &few).expect("it is within");
    // A folder counts as well.
    for paths in [["a", "b", "c", "d"], ["a/b/c/d", "a", "a", "a"]] {
        let limits = Limits { files: 3, ..Limits::default() };
        let result = unpack_within(&paths.map(file), &limits);
        assert!(matches!(result, Err(FilesError::Limit(error)) if error.name == "files"), "{paths:?}");
    }
    let large =
        unpack_within(&[(FILE, "a", "", b"12345"), (FILE, "b", "", b"1234")], &few).expect("it is within");
    assert!(matches!(large.read("a"), Err(FilesError::Limit(error)) if error.name == "fileBytes"));
    assert_eq!(text(&large, "b"), "1234");
    let all = [(FILE, "a", "", b"1234" as &[u8]), (FILE, "b", "", b"123")];
    assert!(matches!(unpack_within(&all, &few), Err(FilesError::Limit(error)) if error.name == "totalBytes"));
    // As often as it is there.
    let linked = [(FILE, "a", "", b"1234" as &[u8]), (LINK, "b", "a", b"")];
    assert!(
        matches!(unpack_within(&linked, &few), Err(FilesError::Limit(error)) if error.name == "totalBytes")
    );
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = vec![0; 4 << 20];
    for path in ["a", ".git/a"] {
        let result = unpack(&[(FILE, path, "", &zeros)]);
        assert!(matches!(result, Err(FilesError::Limit(error)) if error.name == "ratio"), "{path}");
    }
    let generous = Limits { ratio: 10_000, ..Limits::default() };
    assert_eq!(
        text(&unpack_within(&[(FILE, "a", "", &zeros)], &generous).expect("it is within"), "a").len(),
        4 << 20
    );
    // Behind the end, too.
    let mut bytes = tar(&[(FILE, "a", "", b"a")]);
    bytes.extend(&zeros);
    let result = Archive::unpack(gzip(&bytes).as_slice(), &Limits::default());
    assert!(matches!(result, Err(FilesError::Limit(error)) if error.name == "ratio"));
}

/// Returns an archive with a sparse file of four bytes behind a hole.
fn sparse(hole: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path("s").expect("a path");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(4);
    let fields = header.as_gnu_mut().expect("a header of GNU");
    let octal =
        |field: &mut [u8; 12], number: u64| field.copy_from_slice(format!("{number:011o}\0").as_bytes());
    octal(&mut fields.sparse[0].offset, hole);
    octal(&mut fields.sparse[0].numbytes, 4);
    octal(&mut fields.realsize, hole + 4);
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, b"data".as_slice()).expect("it is written");
    gzip(&builder.into_inner().expect("it is written"))
}

#[test]
fn sparse_files_are_filled_within_limits() {
    let limits = Limits::default();
    let archive = Archive::unpack(sparse(1024).as_slice(), &limits).expect("it is sound");
    assert_eq!(text(&archive, "s"), "\0".repeat(1024) + "data");
    let bomb = Archive::unpack(sparse(8 << 20).as_slice(), &limits);
    assert!(matches!(bomb, Err(FilesError::Limit(error)) if error.name == "ratio"));
    let huge = Archive::unpack(sparse(1 << 32).as_slice(), &limits).expect("it is passed over");
    assert!(matches!(huge.read("s"), Err(FilesError::Limit(error)) if error.name == "fileBytes"));
}

#[test]
fn damage_is_seen() {
    let noise: Vec<u8> =
        (0..5000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let bytes = tar(&[(FILE, "a", "", &noise), (FILE, "b", "", b"b")]);
    let packed = gzip(&bytes);
    let limits = Limits::default();
    Archive::unpack(packed.as_slice(), &limits).expect("it is sound");
    for length in (0..packed.len()).step_by(97) {
        assert!(Archive::unpack(&packed[..length], &limits).is_err(), "{length}");
    }
    for length in (0..bytes.len()).step_by(512) {
        assert!(Archive::unpack(gzip(&bytes[..length]).as_slice(), &limits).is_err(), "{length}");
    }
    for (rest, inside) in [(b"x" as &[u8], false), (b"\x1f\x8b\x08", false), (b"x", true), (b"\0", false)] {
        let bytes = if inside { gzip(&[&bytes, rest].concat()) } else { [&packed, rest].concat() };
        assert!(Archive::unpack(bytes.as_slice(), &limits).is_err(), "{rest:?}");
    }
    for place in (10..packed.len()).step_by(501) {
        let mut changed = packed.clone();
        changed[place] ^= 1;
        assert!(Archive::unpack(changed.as_slice(), &limits).is_err(), "{place}");
    }
    assert!(told(Archive::unpack(b"".as_slice(), &limits)).contains("cut short"));
    assert!(told(Archive::unpack(b"not gzip at all".as_slice(), &limits)).contains("damaged"));
}

#[test]
fn what_is_inside_is_not_told() {
    let mut bytes = tar(&[(FILE, "a", "", b"canary canary canary")]);
    // What would be a head is the content.
    bytes.drain(..512);
    bytes[100..124].copy_from_slice(b"canary canary canary can");
    let error = Archive::unpack(gzip(&bytes).as_slice(), &Limits::default()).err().expect("it is damaged");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "..", ".", "", ".git"]), 1..5)
        .prop_map(|names| names.join("/"))
}

proptest! {
    #[test]
    fn no_path_escapes(entries in prop::collection::vec(
        (prop_oneof![4 => prop::sample::select(vec![FILE, FOLDER, LINK]), 1 => prop::sample::select(vec![HARD])], name(), name()),
        1..12,
    )) {
        let entries: Vec<_> = entries.iter()
            .map(|(kind, path, link)| (*kind, path.as_str(), link.as_str(), b"x" as &[u8]))
            .map(|(kind, path, link, content)| (kind, path, link, if kind == FILE { content } else { b"" }))
            .collect();
        if let Ok(archive) = unpack(&entries) {
            for path in archive.paths() {
                prop_assert!(path.split('/').all(|name| !matches!(name, "" | "." | ".." | ".git")), "{path}");
                if let Ok(content) = archive.read(&path) {
                    prop_assert!(content.expose_secret() == b"x");
                }
            }
        }
    }

    #[test]
    fn hostile_bytes_do_no_harm(
        mut blocks in prop::collection::vec(any::<u8>(), 0..3000),
        places in prop::collection::vec((0_usize..1024, any::<u8>()), 0..8),
    ) {
        let mut bytes = tar(&[(FILE, "a", "", b"one"), (LINK, "b", "a", b"")]);
        for (place, byte) in places {
            bytes[place] = byte;
        }
        drop(Archive::unpack(gzip(&bytes).as_slice(), &Limits::default()));
        drop(Archive::unpack(gzip(&blocks).as_slice(), &Limits::default()));
        blocks.splice(0..0, [0x1f, 0x8b, 8, 0]);
        drop(Archive::unpack(blocks.as_slice(), &Limits::default()));
    }
}
