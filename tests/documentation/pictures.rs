//! The pictures of the README: what the programs print in a terminal, drawn from what they print.
//!
//! `docs/pictures/make.sh` makes them anew. Otherwise a test tells whether they still show what comes out; keys, ciphertext and
//! times are others in each run, and do not count.

use std::env;
use std::fs;
use std::process::Command;

use anstyle_svg::Term;
use libtest_mimic::{Failed, Trial};

use super::place::Place;

/// One picture.
struct Picture {
    name: &'static str,
    /// What happened before, one part after the other.
    setup: &'static [&'static str],
    /// What is typed; every line is a command.
    commands: &'static str,
    /// The line that is not shown any more, nor what follows.
    until: &'static str,
}

/// Returns one test for each picture.
pub fn tests() -> Vec<Trial> {
    let test = |picture: &'static Picture| {
        Trial::test(format!("documentation::picture_{}", picture.name), || picture.test())
    };
    PICTURES.iter().map(test).collect()
}

impl Picture {
    fn test(&self) -> Result<(), Failed> {
        let picture = Term::new().render_svg(&self.take()?);
        let path = super::top().join(format!("docs/pictures/{}.svg", self.name));
        if env::var_os(WRITE).is_some() {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            return Ok(fs::write(path, picture)?);
        }
        let (kept, now) = (constant(&fs::read_to_string(&path)?), constant(&picture));
        let differs = kept.iter().zip(&now).find(|(kept, now)| kept != now);
        match differs {
            None if kept.len() == now.len() => Ok(()),
            _ => Err(format!(
                "{} shows what does not come out any more ({differs:?}); run docs/pictures/make.sh",
                path.display()
            )
            .into()),
        }
    }

    /// Returns what a terminal shows.
    fn take(&self) -> Result<String, Failed> {
        let place = Place::new()?;
        place.provide_script("kubectl", KUBECTL)?;
        run(&place, &format!("set -e\n{}", self.setup.join("\n")), 0)?;
        let mut shown = String::new();
        for command in self.commands.lines() {
            shown += &format!("\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\n{}\n", run(&place, command, 4)?);
        }
        let mut lines: Vec<_> =
            shown.trim_end().lines().take_while(|line| !line.contains(self.until)).collect();
        if lines.len() < shown.trim_end().lines().count() {
            lines.push("…");
        }
        Ok(lines.join("\n") + "\n")
    }
}

/// Runs commands of Bash that end with so much at most, and returns what they print. Findings of a check are no failure: the
/// picture is to show them.
fn run(place: &Place, commands: &str, exit: i32) -> Result<String, Failed> {
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{commands}")])
        .current_dir(place.work())
        .env_clear()
        .envs(place.variables())
        .env("COLUMNS", "110")
        .output()?;
    if output.status.code().is_none_or(|code| code > exit) {
        return Err(format!("{commands}: {}", String::from_utf8_lossy(&output.stdout)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the lines of a picture without what differs in each run.
fn constant(svg: &str) -> Vec<String> {
    let mut text = String::new();
    let mut is_tag = false;
    for letter in svg.chars() {
        match letter {
            '<' => is_tag = true,
            '>' => is_tag = false,
            _ if !is_tag => text.push(letter),
            _ => {}
        }
    }
    let is_random = |word: &str| word.chars().count() >= 24 || word.contains("ENC[");
    let constant = |line: &str| {
        let words = line.split_whitespace().map(|word| if is_random(word) { "*" } else { word });
        let line: String = words.collect::<Vec<_>>().join(" ");
        line.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect::<String>()
    };
    // A wrapped key has other lines, and another number of them, each time.
    let mut is_key = false;
    let mut lines = Vec::new();
    for line in text.lines().map(constant).filter(|line| !line.is_empty()) {
        is_key &= !line.contains("-----END AGE");
        if !is_key {
            is_key = line.contains("-----BEGIN AGE");
            lines.push(line);
        }
    }
    lines
}

/// A line that no program prints.
const NEVER: &str = "\n";

const WRITE: &str = "SELKIE_WRITE_PICTURES";

/// Finds a plugin as kubectl does; the output is no terminal, and is to be coloured all the same.
const KUBECTL: &str = "#!/bin/sh
shift
exec kubectl-seal --color always \"$@\"
";

/// An empty repository with a key.
const REPOSITORY: &str = "git init --quiet .
kubectl seal init >/dev/null
mkdir apps";

const PICTURES: [Picture; 3] = [
    Picture { name: "tour", setup: &[], commands: "kubectl seal tour", until: "kubectl seal view" },
    Picture {
        name: "diff",
        setup: &[
            REPOSITORY,
            "cat >apps/db.yaml <<'END'
apiVersion: v1
kind: Secret
metadata:
  name: db
  labels: {tier: backend}
stringData:
  username: shop
  password: correct horse battery staple
  url: postgres://shop@db.example.com/shop
END
kubectl seal encrypt -i apps >/dev/null
git add . && git commit --quiet --message 'Seal the database' --no-verify
kubectl seal set apps/db.yaml stringData.password changed >/dev/null
kubectl seal set apps/db.yaml stringData.token new >/dev/null
kubectl seal set --in-clear apps/db.yaml metadata.labels.tier data >/dev/null
kubectl seal unset apps/db.yaml stringData.url >/dev/null",
        ],
        commands: "kubectl seal diff apps/db.yaml",
        until: NEVER,
    },
    Picture {
        name: "check",
        setup: &[
            REPOSITORY,
            "cat >apps/db.yaml <<'END'
apiVersion: v1
kind: Secret
metadata:
  name: db
stringData:
  password: of-the-sea-7
END
cat >apps/shop.yaml <<'END'
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      containers:
        - name: shop
          image: example.org/shop:1
          env:
            - name: DB_PASSWORD
              value: of-the-sea-7
END
git add .",
        ],
        commands: "kubectl seal check
kubectl seal fix
kubectl seal check",
        until: NEVER,
    },
];
