//! Nothing leaves the page, and nothing stays in it that was cleared.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::driver::Browser;
use super::{data, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("nothing_is_asked_for_but_the_page_itself", &[], requests),
        test("the_policy_refuses_every_connection", &[], policy),
        test("nothing_is_left_after_clearing", &[], clearing),
    ]
}

/// Uses all that the page can do, and looks at what the browser asked for.
fn requests(browser: &Browser) -> Result<(), Failed> {
    use_all(browser)?;
    let asked = browser.requests()?;
    // The browser has a start page of its own.
    let own = ["file:", "data:", "blob:", "chrome:", "chrome-untrusted:"];
    let is_own = |address: &String| own.iter().any(|scheme| address.starts_with(scheme));
    let pages = asked.iter().filter(|address| address.starts_with("file:")).count();
    if pages != 1 || !asked.iter().all(is_own) {
        let others: Vec<_> = asked.iter().filter(|address| !is_own(address)).collect();
        return Err(format!("it asked for {pages} pages, and {others:?}").into());
    }
    let entries = browser.script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name.slice(0, 100))",
        Vec::new(),
    )?;
    let kept = browser.script(
        "let kept = document.cookie.length; try { kept += localStorage.length + sessionStorage.length } catch {}
         return [kept, window.refused]",
        Vec::new(),
    )?;
    let entries = entries.as_array().cloned().unwrap_or_default();
    if entries
        .iter()
        .any(|name| !name.as_str().is_some_and(|name| name.starts_with("data:") || name.starts_with("blob:")))
    {
        return Err(format!("it loaded {entries:?}").into());
    }
    if kept != json!([0, []]) {
        return Err(format!("it kept something, or was refused something: {kept}").into());
    }
    Ok(())
}

/// Even code that got into the page could not send anything.
fn policy(browser: &Browser) -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    browser.command(
        "Network.emulateNetworkConditions",
        json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}),
    )?;
    let wanted = ["connect-src", "img-src", "frame-src", "style-src-elem", "script-src-elem", "form-action"];
    let refused = browser.script_async(TRIES, vec![address.to_string().into(), json!(wanted)])?;
    let refused: Vec<&str> =
        refused.as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    for directive in wanted {
        if !refused.contains(&directive) {
            return Err(format!("{directive} was not refused, only {refused:?}").into());
        }
    }
    // Chromium connects ahead for frames and forms before it looks at the policy; it then has nothing to say.
    loop {
        match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok((mut stream, _)) => {
                stream.set_nonblocking(true)?;
                let mut sent = [0; 1000];
                match stream.read(&mut sent) {
                    Ok(length) if length > 0 => {
                        return Err(format!("it sent {}", String::from_utf8_lossy(&sent[..length])).into());
                    }
                    // Nothing, or the end.
                    _ => {}
                }
            }
        }
    }
}

fn clearing(browser: &Browser) -> Result<(), Failed> {
    use_all(browser)?;
    if !holds(browser, "hunter2")?.contains("fields") {
        return Err("the test does not see what is typed".into());
    }
    browser.click("#clear")?;
    let left = holds(browser, "hunter2")?;
    if !left.is_empty() {
        return Err(format!("it is still in the {left}").into());
    }
    let state = browser.script(
        "return [...document.querySelectorAll('main input, main textarea')]
           .filter((field) => field.value && !['radio', 'checkbox'].includes(field.type)).map((field) => field.id)",
        Vec::new(),
    )?;
    // The name of a file that is there from the start.
    if state != json!(["file-name"]) {
        return Err(format!("these are not empty: {state}").into());
    }
    browser.command(
        "Input.dispatchKeyEvent",
        json!({"type": "keyDown", "modifiers": 2, "key": "z", "code": "KeyZ", "commands": ["undo"]}),
    )?;
    let left = holds(browser, "hunter2")?;
    if left.is_empty() { Ok(()) } else { Err(format!("undoing brings it back into the {left}").into()) }
}

/// Seals a form and a manifest, and encrypts a document, each with the same value.
fn use_all(browser: &Browser) -> Result<(), Failed> {
    browser.paste_into("certificate", &data("cert.pem")?)?;
    browser.type_into("name", "db")?;
    browser.type_into("namespace", "shop")?;
    browser.type_into("key-1", "a")?;
    browser.type_into("value-1", "hunter2")?;
    browser.click("#seal")?;
    browser.wait_for("#seal-result:not([hidden])")?;
    browser.click("[name=mode][value=manifest]")?;
    let manifest =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\nstringData: {a: hunter2}\n";
    browser.paste_into("manifest", manifest)?;
    browser.click("#seal")?;
    browser.wait_for("#seal-result:not([hidden])")?;
    browser.click("#tab-encrypt")?;
    browser.paste_into("recipients", "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun")?;
    browser.paste_into("text", "password: hunter2\n")?;
    browser.click("#encrypt")?;
    browser.wait_for("#encrypt-result:not([hidden])")
}

/// Returns where a text is to be found: in fields, in the markup, in the memory of the compiled code.
fn holds(browser: &Browser, text: &str) -> Result<String, Failed> {
    let found = browser.script(HOLDS, vec![text.into()])?;
    let found = found.as_array().ok_or("there is an answer")?;
    Ok(found.iter().filter_map(|place| place.as_str()).collect::<Vec<_>>().join(", "))
}

const HOLDS: &str = "
    const text = arguments[0];
    const found = [];
    const fields = [...document.querySelectorAll('input, textarea')];
    if (fields.some((field) => field.value.includes(text))) found.push('fields');
    if (document.documentElement.outerHTML.includes(text)) found.push('markup');
    const memory = new TextDecoder('latin1').decode(window.memory.buffer);
    if (memory.length < 65536) found.push('memory, which is too small to be that of the page');
    if (memory.includes(text)) found.push('memory');
    return found;";

/// Tries to send something in every way that a script has, and returns what was refused.
const TRIES: &str = "
    const [address, wanted, done] = arguments;
    const url = `http://${address}/`;
    const tries = [
      () => fetch(url, { mode: 'no-cors' }),
      () => new XMLHttpRequest().open('GET', url),
      () => navigator.sendBeacon(url, 'x'),
      () => new WebSocket(`ws://${address}/`),
      () => new EventSource(url),
      () => { new Image().src = url; },
      () => { const e = document.createElement('iframe'); e.src = url; document.body.append(e); },
      () => { const e = document.createElement('link'); e.rel = 'stylesheet'; e.href = url; document.head.append(e); },
      () => { const e = document.createElement('link'); e.rel = 'prefetch'; e.href = url; document.head.append(e); },
      () => { const e = document.createElement('form'); e.action = url; document.body.append(e); e.submit(); },
      () => { const e = document.createElement('script'); e.type = 'module'; e.textContent = `import '${url}'`; document.head.append(e); },
      () => import(url),
    ];
    Promise.allSettled(tries.map(async (one) => one())).then(() => {
      const wait = () => {
        const refused = [...new Set(window.refused)];
        if (wanted.every((one) => refused.includes(one)) || performance.now() > 60000) done(refused); else setTimeout(wait, 50);
      };
      wait();
    });";
