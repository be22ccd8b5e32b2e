//! What is expected in place of what was recorded.

use super::Outcome;

/// A case, and what changes its outcome.
type Difference = (&'static str, fn(&mut Outcome));

/// Changes what was recorded to what we do: each of these is a row of `docs/compatibility.md`.
pub fn of_ours(name: &str, outcome: &mut Outcome) {
    apply(OURS, name, outcome);
}

/// Changes what was recorded to what version 0.40 does.
pub fn of_later_version(name: &str, outcome: &mut Outcome) {
    apply(LATER, name, outcome);
}

/// Returns the names of all cases with a difference.
pub fn names() -> impl Iterator<Item = &'static str> {
    OURS.iter().chain(LATER).map(|(name, _)| *name)
}

/// Returns whether the real program, which looks at the clock, will do something else one day.
pub fn depends_on_the_date(name: &str) -> bool {
    matches!(name, "not yet valid cert accepted" | "EC cert")
}

fn apply(table: &[Difference], name: &str, outcome: &mut Outcome) {
    for (_, change) in table.iter().filter(|(known, _)| *known == name) {
        change(outcome);
    }
}

static OURS: &[Difference] = &[];

static LATER: &[Difference] =
    &[("version", |outcome| outcome.stdout = "kubeseal version: v0.40.0\n".to_owned())];

/// A file with comments and a further document.
pub const M4: &str = "# head\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: mysec # name\n  \
                      namespace: myns\n  labels: {keep: me}\nspec:\n  encryptedData:\n    a: b\nstatus: {}\n---\n\
                      kind: ConfigMap\n";

/// A file without values.
pub const M5: &str = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: mysec, namespace: myns}\n\
                      spec:\n  template: {}\n";
