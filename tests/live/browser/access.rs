//! Everybody can use the page: axe-core finds no fault in any state, and nothing is cut off where there is little room.

use std::fs;

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::driver::Browser;
use super::{data, test};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    vec![
        test("axe_core_finds_no_fault", &[Peer::AxeCore], faults),
        test("nothing_is_cut_off_where_there_is_little_room", &[], room),
    ]
}

fn faults(browser: &Browser) -> Result<(), Failed> {
    let axe = fs::read_to_string(Peer::AxeCore.path().ok_or("axe-core is not there")?)?;
    browser.script(&axe, Vec::new())?;
    states(browser, |state| {
        for scheme in ["light", "dark"] {
            let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
            browser.command("Emulation.setEmulatedMedia", json!({"features": features}))?;
            browser.picture(&format!("access-{state}-{scheme}"))?;
            let found = browser.script_async(LOOK, Vec::new())?;
            if found != json!([]) {
                return Err(format!("{state}, {scheme}: {found:#}").into());
            }
        }
        Ok(())
    })
}

fn room(browser: &Browser) -> Result<(), Failed> {
    states(browser, |state| {
        // A small telephone, and a screen on which all is twice as large.
        for (width, scale, text) in [(320, 1, "100%"), (640, 2, "100%"), (640, 1, "200%")] {
            let size = json!({"width": width, "height": 800, "deviceScaleFactor": scale, "mobile": false});
            browser.command("Emulation.setDeviceMetricsOverride", size)?;
            browser.script("document.documentElement.style.fontSize = arguments[0]", vec![text.into()])?;
            let found = browser.script(OVERFLOW, Vec::new())?;
            browser.picture(&format!("room-{state}-{width}-{scale}-{}", text.trim_end_matches('%')))?;
            if found != json!([]) {
                return Err(format!("{state}, {width} wide, text of {text}: {found} is cut off").into());
            }
        }
        Ok(())
    })
}

/// Brings the page into each of its states.
fn states(browser: &Browser, look: impl Fn(&str) -> Result<(), Failed>) -> Result<(), Failed> {
    look("start")?;
    browser.click("#seal")?;
    browser.wait_for("#seal-problem p")?;
    look("problem")?;
    browser.paste_into("certificate", &data("cli/exp.crt")?)?;
    browser.wait_for("#expired-choice:not([hidden])")?;
    look("expired")?;
    browser.click("#expired")?;
    browser.type_into("name", "db")?;
    browser.type_into("namespace", "shop")?;
    browser.type_into("key-1", "a")?;
    browser.click("#add")?;
    browser.type_into("key-2", "a-rather-long-key-of-a-value.that-is-long.too")?;
    browser.click("[aria-label='Value 2'] .reveal")?;
    browser.click("#seal")?;
    browser.wait_for("#seal-result:not([hidden])")?;
    look("sealed")?;
    browser.click("[name=mode][value=manifest]")?;
    look("manifest")?;
    browser.click("#tab-encrypt")?;
    look("encrypt")?;
    let text = "password: b\nuser_unencrypted: c\n";
    browser.paste_into("text", text)?;
    browser.choose("rule", "unencrypted_regex")?;
    browser.type_into("rule-text", "^user_")?;
    look("preview")?;
    browser.click("#encrypt")?;
    browser.wait_for("#encrypt-problem p")?;
    look("no-recipient")?;
    browser.paste_into("recipients", "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun")?;
    browser.click("#encrypt")?;
    browser.wait_for("#encrypt-result:not([hidden])")?;
    look("encrypted")
}

/// Returns what is wrong by the rules of WCAG 2.2 AA and of good practice.
const LOOK: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(
      ({ violations }) => done(violations.map(({ id, nodes }) => ({ id, at: nodes.map((node) => [node.target, node.failureSummary]) }))),
      (error) => done(String(error)),
    );";

/// Returns what reaches beyond the width of the window, but for what only screen readers see.
const OVERFLOW: &str = "
    const width = document.documentElement.clientWidth;
    const isOut = (element) => {
      const box = element.getBoundingClientRect();
      return box.width > 1 && box.left >= 0 && box.right > width + 1;
    };
    return [...document.querySelectorAll('body *')].filter(isOut).map((element) => element.id || element.outerHTML.slice(0, 60));";
