"""Archives without anything of the machine that they are made on: sorted, of one time, of user 0, of two modes."""

import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zipfile
from datetime import datetime, timezone

PROGRAM = 0o755
DATA = 0o644

# A variable: trials take no time to make archives of programs small.
UNCOMPRESSED = "SELKIE_RELEASE_UNCOMPRESSED"


class Tree:
    """Files and links by their paths, which are relative and use slashes."""

    def __init__(self):
        self.files = {}
        self.links = {}

    def add(self, path, content, mode=DATA):
        """Adds a file."""
        self._is_new(path)
        self.files[path] = (content.encode() if isinstance(content, str) else content, mode)

    def link(self, path, target):
        """Adds a symbolic link."""
        self._is_new(path)
        self.links[path] = target

    def folders(self):
        """Returns every folder above a file or a link, each after the one that it is in."""
        found = set()
        for path in [*self.files, *self.links]:
            parts = path.split("/")[:-1]
            found.update("/".join(parts[: end + 1]) for end in range(len(parts)))
        return sorted(found)

    def size(self):
        """Returns the number of bytes of all files."""
        return sum(len(content) for content, _ in self.files.values())

    def _is_new(self, path):
        if path in self.files or path in self.links:
            raise ValueError(f"{path} is there twice")


def tar(tree, epoch, prefix=""):
    """Returns an archive of tar, not compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        if prefix == "./":
            archive.addfile(_entry("./", epoch, tarfile.DIRTYPE, PROGRAM))
        for folder in tree.folders():
            archive.addfile(_entry(f"{prefix}{folder}/", epoch, tarfile.DIRTYPE, PROGRAM))
        for path in sorted([*tree.files, *tree.links]):
            if path in tree.links:
                entry = _entry(prefix + path, epoch, tarfile.SYMTYPE, 0o777)
                entry.linkname = tree.links[path]
                archive.addfile(entry)
            else:
                content, mode = tree.files[path]
                entry = _entry(prefix + path, epoch, tarfile.REGTYPE, mode)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def gz(content, is_large=False):
    """Compresses as `gzip -n` does: without a name and a time. What is large may be left as it is."""
    return gzip.compress(content, compresslevel=0 if is_large and UNCOMPRESSED in os.environ else 9, mtime=0)


def xz(name, content):
    """Compresses as dpkg-deb does, or leaves the content as it is. Returns the name that it has then, too."""
    if UNCOMPRESSED in os.environ:
        return name, content
    return f"{name}.xz", lzma.compress(content, preset=6, check=lzma.CHECK_CRC64)


def zip_of(tree, epoch):
    """Returns an archive of zip, its files in the order in which they were added, as a wheel wants it."""
    method = zipfile.ZIP_STORED if UNCOMPRESSED in os.environ else zipfile.ZIP_DEFLATED
    buffer = io.BytesIO()
    # Zip knows no time before 1980, and none of odd seconds.
    time = datetime.fromtimestamp(max(epoch, 315619200), timezone.utc)
    with zipfile.ZipFile(buffer, "w", method, compresslevel=9) as archive:
        for path, (content, mode) in tree.files.items():
            entry = zipfile.ZipInfo(path, time.timetuple()[:6])
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = method
            archive.writestr(entry, content)
    return buffer.getvalue()


def ar(members, epoch):
    """Returns an archive of ar of pairs of names and contents, in the form of a Debian package."""
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts.append(f"{name:<16}{epoch:<12}{0:<6}{0:<6}{0o100644:<8o}{len(content):<10}`\n".encode())
        parts.append(content + b"\n" * (len(content) % 2))
    return b"".join(parts)


def sha256(content):
    """Returns the hash in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _entry(name, epoch, kind, mode):
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = mode
    entry.mtime = epoch
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
