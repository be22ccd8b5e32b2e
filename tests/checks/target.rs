//! The checks of any bytes: they end, nothing panics, and nothing that they say holds a value.
//!
//! The fuzz target in `fuzz/` and the tests in `mutilated.rs` run this.

use selkie::check::baseline::Baseline;
use selkie::check::config::Config;
use selkie::check::{Checker, Context, Files, Finding, Mode, Policies, Snapshot};
use time::Date;

/// Looks at a file, with what was there before, a configuration and a baseline: the first byte chooses its path, the
/// parts behind it are divided by [`DIVIDER`].
pub fn check(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let mut parts = data.split(|&byte| byte == DIVIDER);
    let mut new = parts.next().unwrap_or_default().to_vec();
    let (old, config, baseline) = (parts.next(), parts.next(), parts.next());
    new.extend_from_slice(PLANTED.replace('@', VALUE).as_bytes());
    let path = PATHS[usize::from(choice) % PATHS.len()];
    let config = config.map(Config::parse);
    let baseline = baseline.map(Baseline::parse);
    let mut told = Vec::new();
    told.extend(config.iter().filter_map(|config| config.as_ref().err().map(ToString::to_string)));
    told.extend(baseline.iter().filter_map(|baseline| baseline.as_ref().err().map(ToString::to_string)));
    let config = config.and_then(Result::ok).unwrap_or_default();
    let baseline = baseline.and_then(Result::ok).unwrap_or_default();

    let files = [(path, new.clone()), (".sops.yaml", RULES.as_bytes().to_vec())];
    let after: Files = files.into_iter().collect();
    let before: Files = old.into_iter().map(|old| (path, old.to_vec())).collect();
    let policies = Policies::new(&after);
    let today = Date::from_ordinal_date(2026, 300).expect("a day");
    let before = old.map(|_| &before as &dyn Snapshot);
    let context = Context { after: &after, before, config: &config, policies: &policies, keys: None, today };
    let checker = Checker::new(context, baseline);
    let mode = if choice >= 0xf0 { Mode::Link } else { Mode::File };
    let checked = checker.file(path, mode, &new, old);
    let together = checker.finish(&[checked.facts]);
    for finding in checked.findings.iter().chain(&together) {
        assert!(finding.start <= finding.end, "{finding:?}");
        told.extend(texts(finding));
    }
    for text in &told {
        assert!(!text.contains(VALUE), "a value is told");
    }
}

/// All that a finding says.
fn texts(finding: &Finding) -> [String; 5] {
    let Finding { path, object, pointer, remedy, .. } = finding;
    [format!("{finding:?}"), path.clone(), object.clone(), pointer.clone(), remedy.clone()]
}

/// What no text holds stands between two of them.
pub const DIVIDER: u8 = 0xFF;

/// What no file says by itself.
const VALUE: &str = "q7Zr+Kd0Xw3u";

/// Behind every file, there is a Secret.
const PLANTED: &str =
    "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: planted}\nstringData:\n  password: @\n";

const RULES: &str = "creation_rules:\n  - path_regex: enc\n    encrypted_regex: ^(data|stringData)$\n    age: age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun\n";

/// Each has rules of its own.
const PATHS: &[&str] = &[
    "a.yaml",
    "a.json",
    "a.enc.yaml",
    "a.enc.json",
    "prod.env",
    "a.ini",
    "a.txt",
    "README.md",
    "chart/templates/secret.yaml",
    "chart/values.yaml",
    "kustomization.yaml",
    "kubeconfig",
    "config.json",
    ".sops.yaml",
    ".seal-check.yaml",
    ".seal-baseline",
    "a.dec.yaml",
    "prod.tfvars",
    "setup.sh",
    "tls.key",
];
