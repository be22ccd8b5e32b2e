"""Debian packages, for the versions of dpkg that can unpack xz, which are all that are maintained."""

import hashlib
from datetime import datetime, timezone
from email.utils import format_datetime

from .archive import DATA, PROGRAM, Tree, ar, gz, tar, xz
from .crates import notices


def package(program, contents, workspace, epoch):
    """Returns the name of the file of the package, and its bytes."""
    name, version = program.name, f"{workspace.version}-1"
    tree = _tree(program, contents, workspace, epoch)
    control = _control(program, contents, version, tree)
    members = [
        ("debian-binary", b"2.0\n"),
        xz("control.tar", tar(control, epoch, "./")),
        xz("data.tar", tar(tree, epoch, "./")),
    ]
    return f"{name}_{version}_{program.called('debian')}.deb", ar(members, epoch)


def _tree(program, contents, workspace, epoch):
    name, tree = program.name, Tree()
    documents = f"usr/share/doc/{name}"
    tree.add(f"usr/bin/{name}", program.content, PROGRAM)
    for page, text in contents.pages.items():
        tree.add(f"usr/share/man/man1/{page}.gz", gz(text))
    for shell, script in contents.completions.items():
        if shell in COMPLETIONS:
            tree.add(COMPLETIONS[shell].format(name), script)
    for link, target in contents.links.items():
        tree.link(f"usr/bin/{link}", target)
        tree.link(f"usr/share/man/man1/{link}.1.gz", f"{target}.1.gz")
    tree.add(f"{documents}/copyright", _copyright(program, workspace))
    crates, _ = workspace.linked(name, program.target)
    tree.add(f"{documents}/THIRD-PARTY-LICENSES.gz", gz(notices(crates).encode()))
    tree.add(f"{documents}/changelog.Debian.gz", gz(_changelog(name, workspace, epoch).encode()))
    tree.add(f"{documents}/changelog.gz", gz((workspace.source / "CHANGELOG.md").read_bytes()))
    overrides = OVERRIDES + (OVERRIDES_OF_STATIC if program.is_static else "")
    tree.add(f"usr/share/lintian/overrides/{name}", overrides.format(name))
    if contents.advice:
        tree.add(f"{documents}/README.Debian", contents.advice)
    return tree


def _control(program, contents, version, tree):
    fields = {
        "Package": program.name,
        "Version": version,
        "Architecture": program.called("debian"),
        "Maintainer": MAINTAINER,
        "Installed-Size": str((tree.size() + 1023) // 1024 + len(tree.folders())),
        **contents.fields,
    }
    control = Tree()
    control.add("control", "".join(f"{name}: {value}\n" for name, value in fields.items()))
    sums = (f"{hashlib.md5(content).hexdigest()}  {path}\n" for path, (content, _) in sorted(tree.files.items()))
    control.add("md5sums", "".join(sums), DATA)
    for name, script in contents.scripts.items():
        control.add(name, script, PROGRAM)
    return control


def _copyright(program, workspace):
    return COPYRIGHT.format(workspace.repository, program.name)


def _changelog(name, workspace, epoch):
    time = format_datetime(datetime.fromtimestamp(epoch, timezone.utc))
    return f"{name} ({workspace.version}-1) unstable; urgency=medium\n\n  * The release of this version: see changelog.gz.\n\n -- {MAINTAINER}  {time}\n"


MAINTAINER = "The Selkie contributors <selkie@example.org>"

# Where shells look for what packages bring. PowerShell looks nowhere.
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/{}",
    "fish": "usr/share/fish/vendor_completions.d/{}.fish",
    "zsh": "usr/share/zsh/vendor-completions/_{}",
}

OVERRIDES = """\
# It is published beside Debian, which has no bug for it.
{0}: initial-upload-closes-no-bugs
"""

# One program for every version of Debian is what this package is for.
OVERRIDES_OF_STATIC = """\
# The program needs no library of the system, so that it runs on every one.
{0}: statically-linked-binary
"""

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: selkie
Source: {0}
Comment: The crates that are linked into the program have licences of their own: see
 /usr/share/doc/{1}/THIRD-PARTY-LICENSES.gz

Files: *
Copyright: 2026 The Selkie contributors
License: Apache-2.0 or Expat

License: Apache-2.0
 On Debian systems, the text of this licence is in /usr/share/common-licenses/Apache-2.0.

License: Expat
 Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
 documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
 rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
 persons to whom the Software is furnished to do so, subject to the following conditions:
 .
 The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
 Software.
 .
 THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
 WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
 COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
 OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
