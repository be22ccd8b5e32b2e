"""The crates that are linked into a program, as Cargo.lock pins them."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

from .program import Fault


class Crate:
    """One version of a crate."""

    def __init__(self, described, checksum):
        self.id = described["id"]
        self.name = described["name"]
        self.version = described["version"]
        self.license = (described["license"] or "").replace("/", " OR ")
        self.description = described["description"] or ""
        self.repository = described["repository"]
        self.is_ours = described["source"] is None
        self.folder = Path(described["manifest_path"]).parent
        self.license_file = described["license_file"]
        self.checksum = checksum

    def purl(self):
        """Returns the address of the package, in the form that lists of parts use."""
        return f"pkg:cargo/{self.name}@{self.version}"


class Workspace:
    """What cargo knows about the sources."""

    def __init__(self, source):
        self.source = Path(source)
        locked = tomllib.loads((self.source / "Cargo.lock").read_text())["package"]
        self._checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
        manifest = tomllib.loads((self.source / "Cargo.toml").read_text())["workspace"]["package"]
        self.version = manifest["version"]
        self.license = manifest["license"]
        self.repository = manifest["repository"]
        self._described = {}

    def description(self, package):
        """Returns what a package of ours says about itself."""
        return next(crate.description for crate in self.linked(package, "x86_64-unknown-linux-musl")[0] if crate.name == package)

    def linked(self, package, target):
        """Returns the crates that a program consists of, by name, and which needs which: pairs of identifiers."""
        key = (package, target)
        if key not in self._described:
            self._described[key] = self._linked(package, target)
        return self._described[key]

    def _linked(self, package, target):
        tree = self._cargo(
            "tree", "--package", package, "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none",
            "--format", "{p}",
        )  # fmt: skip
        wanted = {tuple(found) for found in re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE)}
        known = json.loads(self._cargo("metadata", "--format-version", "1", "--filter-platform", target))
        crates = {
            described["id"]: Crate(described, self._checksums.get((described["name"], described["version"])))
            for described in known["packages"]
            if (described["name"], described["version"]) in wanted
        }
        if len(crates) != len(wanted):
            raise Fault(f"{package}: cargo tells {len(wanted)} crates that it consists of, but knows {len(crates)}")
        needs = {
            node["id"]: sorted(
                used["pkg"]
                for used in node["deps"]
                if used["pkg"] in crates and any(kind["kind"] is None for kind in used["dep_kinds"])
            )
            for node in known["resolve"]["nodes"]
            if node["id"] in crates
        }
        return sorted(crates.values(), key=lambda crate: (crate.name, crate.version)), needs

    def _cargo(self, *arguments):
        command = ["cargo", arguments[0], "--locked", *arguments[1:]]
        environment = {**os.environ, "CARGO_TERM_COLOR": "never"}
        try:
            done = subprocess.run(command, cwd=self.source, env=environment, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", "") or error
            raise Fault(f"`{' '.join(command)}` failed: {told}") from error
        return done.stdout


def notices(crates):
    """Returns the texts of the licences of all crates that are not ours, each text once."""
    texts = {}
    for crate in crates:
        if crate.is_ours:
            continue
        name = f"{crate.name} {crate.version} ({crate.license or 'see below'})"
        found = _licence_files(crate)
        for text in found or [f"No text of a licence comes with it. It names {crate.license}.\n"]:
            texts.setdefault(text, []).append(name)
    parts = ["This program contains the crates below, under these licences.\n"]
    for text, names in sorted(texts.items(), key=lambda found: (found[1], found[0])):
        parts.append("=" * 100 + "\n" + "".join(f"{name}\n" for name in names) + "-" * 100 + "\n" + text)
    return "\n".join(parts)


def _licence_files(crate):
    """Returns the texts of a crate. A folder that is not there would leave out what has to be handed on."""
    if not crate.folder.is_dir():
        raise Fault(f"{crate.folder}: is not there; run `cargo fetch --locked`")
    named = [crate.folder / crate.license_file] if crate.license_file else []
    found = {path for path in crate.folder.iterdir() if LICENCE.match(path.name) and path.is_file()}
    paths = sorted(found | {path for path in named if path.is_file()})
    return [path.read_text(errors="replace").replace("\r\n", "\n").strip() + "\n" for path in paths]


LICENCE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)([-._].*)?$", re.IGNORECASE)
