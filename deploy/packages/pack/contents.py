"""What goes into packages beside a program: manual pages, completions, and what a system has to be told."""

import re

from .program import Fault

# The shells that completions are for, and the names that their scripts have in an archive.
SHELLS = {"bash": "{}.bash", "fish": "{}.fish", "powershell": "{}.ps1", "zsh": "_{}"}

# Under this name kubectl asks the plugin for completions.
LINKS = {"kubectl-seal": {"kubectl_complete-seal": "kubectl-seal"}}

READMES = {"kubectl-seal": "README.md", "seal-hook": "docs/checks.md", "selkie-decryptor": "README.md"}


class Contents:
    """The same for all targets."""

    def __init__(self, programs, workspace, data):
        """Takes the programs of one name. One of them has to run here if it is asked for what it prints."""
        name = programs[0].name
        self.links = LINKS.get(name, {})
        self.readme = (workspace.source / READMES[name]).read_text()
        self.fields = _fields(data / "debian" / f"{name}.control")
        self.scripts = {"prerm": path.read_text() for path in [data / "debian" / f"{name}.prerm"] if path.exists()}
        advice = data / "debian" / f"{name}.README.Debian"
        self.advice = advice.read_text() if advice.exists() else None
        page = data / "man" / f"{name}.1"
        if page.exists():
            self.pages = {page.name: page.read_text().replace("@VERSION@", workspace.version).encode()}
            self.completions = {}
            return
        program = next((program for program in programs if program.runs_here()), programs[0])
        self.pages = program.pages()
        self.completions = {shell: program.run("completions", shell) for shell in SHELLS}
        if f"{name}.1" not in self.pages:
            raise Fault(f"{program.path}: `{name} man` writes no page {name}.1")


def _fields(path):
    """Returns the fields of a file in the form of Debian's control files, their further lines included."""
    fields = {}
    for line in path.read_text().splitlines():
        found = re.match(r"([A-Za-z-]+): (.*)$", line)
        if found:
            fields[found[1]] = found[2]
        elif line.startswith(" ") and fields:
            last = next(reversed(fields))
            fields[last] += "\n" + line
        else:
            raise Fault(f"{path}: is neither a field nor goes on with one: {line!r}")
    return fields
