//! Puts the page together: what wasm-bindgen makes of the compiled library, with the markup, style and script of the
//! folder `page`, in one file.
//!
//! usage: `selkie-browser-bundle WASM PAGE_FOLDER VERSION OUTPUT HOME`
//!
//! Invariants: the same input gives the same bytes; the page may run its own script and use its own style alone, and
//! reach nothing; no folder of the machine that it was made on is in it.

use std::env;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wasm, page, version, output, home] = arguments.as_slice() else {
        eprintln!("usage: selkie-browser-bundle WASM PAGE_FOLDER VERSION OUTPUT HOME");
        return ExitCode::from(2);
    };
    match bundle(Path::new(wasm), Path::new(page), version, Path::new(output), home) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {output} cannot be made: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bundle(wasm: &Path, page: &Path, version: &str, output: &Path, home: &str) -> Result<(), Box<dyn Error>> {
    let (glue, code) = bind(fs::read(wasm)?)?;
    if let Some(folder) = folder_in(&code, home) {
        return Err(
            format!("the code holds {folder:?}, which is of this machine: remap it in build.sh").into()
        );
    }
    let read = |name: &str| {
        fs::read_to_string(page.join(name)).map_err(|error| format!("{}/{name}: {error}", page.display()))
    };
    let script = format!("{glue}\n{}", read("page.js")?);
    let style = read("page.css")?;
    for (text, end) in [(&script, "</script"), (&script, "<!--"), (&style, "</style")] {
        if text.contains(end) {
            return Err(format!("{end:?} in the script or the style would end it").into());
        }
    }
    let parts = [
        ("policy", policy(&script, &style)),
        ("style", style),
        ("version", version.to_owned()),
        ("wasm", STANDARD.encode(deflate(&code)?)),
        ("script", script),
    ];
    let text = fill(&read("page.html")?, &parts)?;
    let part = output.with_extension("part");
    fs::write(&part, &text)?;
    fs::rename(&part, output)?;
    println!("{}  {}", hex(&Sha256::digest(&text)), output.display());
    Ok(())
}

/// Returns the code that calls the compiled library, and the library with what only tools need taken out.
fn bind(wasm: Vec<u8>) -> Result<(String, Vec<u8>), Box<dyn Error>> {
    let mut output = Bindgen::new()
        .input_bytes("selkie", wasm)
        .no_modules(true)?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()?;
    let glue = output.js().to_owned();
    Ok((glue, output.wasm_mut().emit_wasm()))
}

/// Returns what tells of the machine in the code; `home` is the folder of the user.
fn folder_in<'a>(code: &[u8], home: &'a str) -> Option<&'a str> {
    let home = home.trim_end_matches('/');
    let holds = |text: &str| code.windows(text.len()).any(|part| part == text.as_bytes());
    if holds("registry/src/") {
        return Some("registry/src/");
    }
    (!home.is_empty() && holds(&format!("{home}/"))).then_some(home)
}

/// Returns what the page may do.
fn policy(script: &str, style: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    [
        "default-src 'none'".to_owned(),
        format!("script-src {} 'wasm-unsafe-eval'", hash(script)),
        format!("style-src {}", hash(style)),
        "img-src data:".to_owned(),
        "connect-src 'none'".to_owned(),
        "form-action 'none'".to_owned(),
        "base-uri 'none'".to_owned(),
        "require-trusted-types-for 'script'".to_owned(),
        "trusted-types 'none'".to_owned(),
    ]
    .join("; ")
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Puts each part in the place of its name; what is put in is not looked at again.
fn fill(template: &str, parts: &[(&str, String)]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or("a name in the markup has no end")?;
        let part = parts.iter().find(|(known, _)| *known == name);
        text.push_str(before);
        text.push_str(&part.ok_or_else(|| format!("there is no part {name:?}"))?.1);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_in_once_and_not_looked_at_again() {
        let parts = [("a", "{{b}}".to_owned()), ("b", "x".to_owned())];
        assert_eq!(fill("<{{a}}> <{{b}}>", &parts).as_deref(), Ok("<{{b}}> <x>"));
        assert_eq!(fill("{{c}}", &parts).expect_err("no such part"), "there is no part \"c\"");
    }

    #[test]
    fn folders_of_the_machine_are_found() {
        assert_eq!(folder_in(b"x /home/me/y", "/home/me/"), Some("/home/me"));
        assert_eq!(folder_in(b"/cargo/registry/src/a", "/root"), Some("registry/src/"));
        assert_eq!(folder_in(b"/crates/a", "/"), None);
        assert_eq!(folder_in(b"/rooted", "/root"), None);
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_by_their_hashes() {
        let policy = policy("", "a");
        assert!(policy.starts_with(
            "default-src 'none'; script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "
        ));
        assert!(policy.contains("style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='; "));
    }
}
