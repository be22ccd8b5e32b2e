"""A wheel that carries a program, and the repository that lets pre-commit and prek install it without building it."""

import base64
import hashlib

from .archive import PROGRAM, Tree, zip_of
from .crates import notices
from .program import Fault

# What installers call the machines that a program without libraries runs on: those with glibc, and those with musl.
TAGS = {
    "aarch64": ["manylinux2014_aarch64", "manylinux_2_17_aarch64", "musllinux_1_1_aarch64"],
    "x86_64": ["manylinux2014_x86_64", "manylinux_2_17_x86_64", "musllinux_1_1_x86_64"],
}


def wheel(program, readme, workspace, epoch):
    """Returns the name of the file of the wheel, and its bytes."""
    project, version = program.name.replace("-", "_"), workspace.version
    # A program with libraries of this machine is for this machine.
    platforms = TAGS[program.processor] if program.is_static else [f"linux_{program.processor}"]
    if not program.is_static and "-linux-" not in program.target:
        raise Fault(f"{program.path}: there is no wheel for {program.target}")
    tree, information = Tree(), f"{project}-{version}.dist-info"
    tree.add(f"{project}-{version}.data/scripts/{program.name}", program.content, PROGRAM)
    for name in ("LICENSE-APACHE", "LICENSE-MIT"):
        tree.add(f"{information}/licenses/{name}", (workspace.source / name).read_bytes())
    crates, _ = workspace.linked(program.name, program.target)
    tree.add(f"{information}/licenses/THIRD-PARTY-LICENSES.txt", notices(crates))
    tree.add(f"{information}/METADATA", _metadata(program, readme, workspace))
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in platforms)
    tree.add(f"{information}/WHEEL", f"Wheel-Version: 1.0\nGenerator: selkie\nRoot-Is-Purelib: false\n{tags}")
    tree.add(f"{information}/RECORD", _record(tree, f"{information}/RECORD"))
    return f"{project}-{version}-py3-none-{'.'.join(platforms)}.whl", zip_of(tree, epoch)


def mirror(workspace, data):
    """Returns the files of the repository that a `.pre-commit-config.yaml` names."""
    tree = Tree()
    for path in sorted(path for path in data.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        text = path.read_text()
        tree.add(path.relative_to(data).as_posix(), text.replace("@VERSION@", workspace.version))
    tree.add(".pre-commit-hooks.yaml", _hooks((workspace.source / ".pre-commit-hooks.yaml").read_text()))
    for name in ("LICENSE-APACHE", "LICENSE-MIT"):
        tree.add(name, (workspace.source / name).read_bytes())
    return tree


def _hooks(text):
    """Returns the hooks of the main repository that are installed as a wheel, word for word but for how it is made."""
    hooks = text.split("\n- id: ")
    kept = [hook.rstrip() for hook in hooks[1:] if "\n  language: python\n" in hook + "\n"]
    if not kept:
        raise Fault(".pre-commit-hooks.yaml: has no hook with `language: python`")
    built = " Built as a wheel, which takes Rust."
    return "# Made by deploy/packages/release.sh of the main repository.\n\n" + "\n\n".join(
        "- id: " + hook.replace(built, "") for hook in kept
    ) + "\n"


def _metadata(program, readme, workspace):
    fields = [
        ("Metadata-Version", "2.4"),
        ("Name", program.name),
        ("Version", workspace.version),
        ("Summary", workspace.description(program.name)),
        ("License-Expression", workspace.license),
        ("License-File", "LICENSE-APACHE"),
        ("License-File", "LICENSE-MIT"),
        ("License-File", "THIRD-PARTY-LICENSES.txt"),
        ("Project-URL", f"Source, {workspace.repository}"),
        ("Requires-Python", ">=3.8"),
        ("Description-Content-Type", "text/markdown"),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields) + "\n" + readme


def _record(tree, own):
    lines = []
    for path, (content, _) in tree.files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join(lines) + f"{own},,\n"
