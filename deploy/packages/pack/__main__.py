"""Packs the programs of some targets into a folder.

usage: python3 -m pack --binaries DIR --out DIR [--target TRIPLE]... [--program NAME]...

DIR/TRIPLE/PROGRAM are the programs; without targets, it takes every folder of DIR, and without programs, all three. SOURCE_DATE_EPOCH is the time that all
files get, and without it, that of the commit. `release.sh` calls this, and tells what programs were built with.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import debian, krew, provenance, sbom, wheel
from .archive import PROGRAM, Tree, gz, sha256, tar
from .contents import SHELLS, Contents
from .crates import Workspace, notices
from .program import Fault, Program

PROGRAMS = ("kubectl-seal", "seal-hook", "selkie-decryptor")


def main():
    """Packs, and returns the exit status."""
    arguments = _arguments()
    try:
        artefacts = pack(arguments)
    except Fault as fault:
        print(f"release.sh: {fault}", file=sys.stderr)
        return 1
    for path, content in artefacts:
        print(f"{sha256(content)}  {path}")
    return 0


def pack(arguments):
    """Writes everything, and returns pairs of paths and contents."""
    data = Path(__file__).resolve().parent.parent
    workspace = Workspace(data.parent.parent)
    targets = sorted(arguments.target or (path.name for path in Path(arguments.binaries).iterdir() if path.is_dir()))
    if not targets:
        raise Fault(f"{arguments.binaries}: has no folder of a target, such as x86_64-unknown-linux-musl")
    epoch = _epoch(workspace.source)
    toolchain = _toolchain()
    names = arguments.program or PROGRAMS
    programs = [Program(arguments.binaries, target, name) for name in names for target in targets]
    contents = {
        name: Contents([program for program in programs if program.name == name], workspace, data) for name in names
    }
    artefacts, plugins = [], []
    for program in programs:
        made = _packages(program, contents[program.name], workspace, epoch, toolchain)
        artefacts += made
        if program.name == "kubectl-seal":
            plugins.append((program, made[0][0], sha256(made[0][1])))
    if plugins:
        template = (data / "krew" / "seal.yaml").read_text()
        artefacts.append(("seal.yaml", krew.manifest(template, workspace, plugins).encode()))
    if "seal-hook" in names:
        mirror = wheel.mirror(workspace, data / "pre-commit")
        artefacts += [(f"pre-commit/{path}", content) for path, (content, _) in mirror.files.items()]
    artefacts.sort()
    commit, modified = provenance.commit_of(workspace.source)
    given = {
        "binaries_given": arguments.binaries_given,
        "commit": commit,
        "epoch": epoch,
        "modified": modified,
        "programs": sorted(names),
        "targets": targets,
    }
    statement = provenance.statement(artefacts, workspace, given, toolchain)
    artefacts.append((f"selkie-{workspace.version}.provenance.json", statement.encode()))
    sums = "".join(f"{sha256(content)}  {path}\n" for path, content in artefacts)
    artefacts.append(("SHA256SUMS", sums.encode()))
    _write(Path(arguments.out), artefacts)
    return artefacts


def _packages(program, contents, workspace, epoch, toolchain):
    """Returns what is made of one program. Its archive comes first."""
    name = f"{program.name}-{workspace.version}-{program.target}"
    archive = gz(tar(_archive(program, contents, workspace), epoch, f"{name}/"), is_large=True)
    made = [(f"{name}.tar.gz", archive), debian.package(program, contents, workspace, epoch)]
    if program.name == "seal-hook":
        made.append(wheel.wheel(program, contents.readme, workspace, epoch))
    made.append((f"{name}.cdx.json", sbom.describe(program, workspace, epoch, toolchain).encode()))
    return made


def _archive(program, contents, workspace):
    tree = Tree()
    tree.add(program.name, program.content, PROGRAM)
    for page, text in contents.pages.items():
        tree.add(f"man/man1/{page}", text)
    for shell, script in contents.completions.items():
        tree.add(f"completions/{SHELLS[shell].format(program.name)}", script)
    for name in ("LICENSE-APACHE", "LICENSE-MIT"):
        tree.add(name, (workspace.source / name).read_bytes())
    crates, _ = workspace.linked(program.name, program.target)
    tree.add("THIRD-PARTY-LICENSES.txt", notices(crates))
    tree.add("README.md", contents.readme)
    return tree


def _write(out, artefacts):
    """Writes every file beside its place first, so that none is there in part."""
    for path, content in artefacts:
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.new")
        beside.write_bytes(content)
        beside.replace(place)


def _epoch(source):
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        try:
            command = ["git", "-C", str(source), "log", "-1", "--format=%ct"]
            given = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            raise Fault(f"{source}: Git tells no time of a commit; set SOURCE_DATE_EPOCH to it, in seconds") from error
    if not given.isascii() or not given.isdigit() or len(given) > 11:
        raise Fault(f"SOURCE_DATE_EPOCH is {given!r}; set it to a number of seconds since 1970")
    return int(given)


def _toolchain():
    """What release.sh tells, by environment variables."""
    told = {name: os.environ.get(f"SELKIE_RELEASE_{name.upper()}", "") for name in TOLD}
    return {**told, "rust": told["rust"] or "unknown"}


# The version of Rust in short and in full, of the C library that comes with it, and of Zig with the hash of its wheel.
TOLD = ("rust", "rust_version", "musl", "zig", "zig_sha256")


def _arguments():
    parser = argparse.ArgumentParser(prog="python3 -m pack", description="Packs programs that are built.")
    parser.add_argument("--binaries", required=True, help="the folder of the folders of targets")
    parser.add_argument("--binaries-given", action="store_true", help="tell that the programs were built before")
    parser.add_argument("--out", required=True, help="the folder to write to")
    parser.add_argument("--program", action="append", choices=PROGRAMS, help="a program; all if none is given")
    parser.add_argument("--target", action="append", help="a triple of Rust; every folder of --binaries if none is given")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
