//! Merges that are clean, whatever lines they touch.

use libtest_mimic::Failed;

use super::lab::Lab;

/// Three versions, and what comes of them.
pub struct Case {
    pub name: &'static str,
    pub path: &'static str,
    pub base: &'static str,
    pub ours: &'static str,
    pub theirs: &'static str,
    pub merged: &'static str,
}

impl Case {
    /// Merges the versions by Git.
    pub fn run(&self, lab: &Lab) -> Result<(), Failed> {
        lab.encrypt(self.path, self.base)?;
        lab.commit("base")?;
        // Written as sops writes it, or the first edit would change all of its lines.
        lab.git(&["checkout", "-q", "-b", "theirs"])?;
        lab.edit(self.path, self.theirs)?;
        lab.commit("theirs")?;
        lab.git(&["checkout", "-q", "main"])?;
        lab.edit(self.path, self.ours)?;
        lab.commit("ours")?;
        lab.git(&["merge", "-q", "--no-edit", "theirs"])?;
        lab.check_unmerged(self.path, false)?;
        lab.check(self.path, self.merged)
    }
}

/// The cases. Every secret value starts alike, so that it is found where it must not be.
pub const CASES: &[Case] = &[
    Case {
        name: "adjacent_lines",
        path: "db.yaml",
        base: "a: hidden-1\nb: hidden-2\nc: hidden-3\n",
        ours: "a: hidden-ours\nb: hidden-2\nc: hidden-3\n",
        theirs: "a: hidden-1\nb: hidden-theirs\nc: hidden-3\n",
        merged: "a: hidden-ours\nb: hidden-theirs\nc: hidden-3\n",
    },
    Case {
        name: "both_add_a_key",
        path: "db.yaml",
        base: "a: hidden-1\n",
        ours: "a: hidden-1\nours: hidden-2\n",
        theirs: "a: hidden-1\ntheirs: hidden-3\n",
        merged: "a: hidden-1\nours: hidden-2\ntheirs: hidden-3\n",
    },
    Case {
        name: "one_removes_one_changes",
        path: "apps/a b/db ü.yaml",
        base: "a: hidden-1\nb: hidden-2\nc: hidden-3\n",
        ours: "b: hidden-2\nc: hidden-3\n",
        theirs: "a: hidden-1\nb: hidden-2\nc: hidden-theirs\n",
        merged: "b: hidden-2\nc: hidden-theirs\n",
    },
    Case {
        name: "comments",
        path: "db.yaml",
        base: "a: hidden-1\nb: hidden-2\n",
        ours: "# hidden-of ours\na: hidden-1\nb: hidden-2\n",
        theirs: "a: hidden-1\nb: hidden-theirs\n",
        merged: "# hidden-of ours\na: hidden-1\nb: hidden-theirs\n",
    },
    Case {
        name: "types",
        path: "db.yaml",
        base: "a: 1\nb: true\nc: hidden-3\n",
        ours: "a: 2\nb: true\nc: hidden-3\n",
        theirs: "a: 1\nb: false\nc: hidden-3\n",
        merged: "a: 2\nb: false\nc: hidden-3\n",
    },
    Case {
        name: "json",
        path: "db.json",
        base: "{\n\t\"a\": \"hidden-1\",\n\t\"b\": \"hidden-2\"\n}\n",
        ours: "{\n\t\"a\": \"hidden-ours\",\n\t\"b\": \"hidden-2\"\n}\n",
        theirs: "{\n\t\"a\": \"hidden-1\",\n\t\"b\": \"hidden-theirs\"\n}\n",
        merged: "{\n\t\"a\": \"hidden-ours\",\n\t\"b\": \"hidden-theirs\"\n}\n",
    },
    Case {
        name: "dotenv",
        path: "db.env",
        base: "A=hidden-1\nB=hidden-2\n",
        ours: "A=hidden-ours\nB=hidden-2\n",
        theirs: "A=hidden-1\nB=hidden-theirs\n",
        merged: "A=hidden-ours\nB=hidden-theirs\n",
    },
    Case {
        name: "ini",
        path: "db.ini",
        base: "[one]\na = hidden-1\nb = hidden-2\n",
        ours: "[one]\na = hidden-ours\nb = hidden-2\n",
        theirs: "[one]\na = hidden-1\nb = hidden-theirs\n",
        merged: "[one]\na = hidden-ours\nb = hidden-theirs\n",
    },
    Case {
        name: "several_documents",
        path: "db.yaml",
        base: "a: hidden-1\n---\nb: hidden-2\n",
        ours: "a: hidden-ours\n---\nb: hidden-2\n",
        theirs: "a: hidden-1\n---\nb: hidden-theirs\n",
        merged: "a: hidden-ours\n---\nb: hidden-theirs\n",
    },
    Case {
        name: "both_do_the_same",
        path: "db.yaml",
        base: "a: hidden-1\nb: hidden-2\n",
        ours: "a: hidden-new\nb: hidden-2\n",
        theirs: "a: hidden-new\nb: hidden-2\n",
        merged: "a: hidden-new\nb: hidden-2\n",
    },
];
