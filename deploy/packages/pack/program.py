"""What a built program is: for which processor, and whether it looks for libraries of its machine."""

import platform
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

# The names of processors: in the triple of Rust, of Debian, of krew, and in the header of a program.
PROCESSORS = {
    "aarch64": {"debian": "arm64", "krew": "arm64", "machine": 183},
    "x86_64": {"debian": "amd64", "krew": "amd64", "machine": 62},
}


class Fault(Exception):
    """Something that has to be mended before anything can be packed."""


class Program:
    """A program of one target."""

    def __init__(self, folder, target, name):
        self.name = name
        self.target = target
        self.path = Path(folder) / target / name
        self.processor = target.split("-")[0]
        if self.processor not in PROCESSORS:
            raise Fault(f"there are no packages for {target}: only for {' and '.join(sorted(PROCESSORS))}")
        try:
            self.content = self.path.read_bytes()
        except OSError as error:
            raise Fault(f"{self.path}: cannot be read: {error.strerror}; build it with deploy/packages/build.sh") from error
        self.is_static = self._is_static()

    def called(self, system):
        """Returns what this system ("debian" or "krew") calls the processor."""
        return PROCESSORS[self.processor][system]

    def run(self, *arguments):
        """Runs the program, and returns what it prints. It has no part in anything of the user's."""
        with tempfile.TemporaryDirectory() as home:
            environment = {"HOME": home, "PATH": home, "LC_ALL": "C"}
            command = [*self._emulator(), str(self.path.resolve()), *arguments]
            try:
                done = subprocess.run(command, env=environment, cwd=home, capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise Fault(f"{self.path}: `{self.name} {' '.join(arguments)}` failed: {error}") from error
            return done.stdout

    def pages(self):
        """Returns the manual pages that the program writes by itself, by their names."""
        with tempfile.TemporaryDirectory() as folder:
            self.run("man", folder)
            return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}

    def _emulator(self):
        if platform.machine() in (self.processor, PROCESSORS[self.processor]["debian"]):
            return []
        for name in (f"qemu-{self.processor}-static", f"qemu-{self.processor}"):
            if shutil.which(name):
                return [shutil.which(name)]
        raise Fault(
            f"{self.path}: cannot be run here to write its completions and manual pages; "
            f"install qemu-user-static, or pack it together with the programs of {platform.machine()}"
        )

    def runs_here(self):
        """Returns whether the program can be run on this machine, maybe by an emulator."""
        try:
            self._emulator()
        except Fault:
            return False
        return True

    def _is_static(self):
        content = self.content
        is_known = content[:6] == b"\x7fELF\x02\x01" and len(content) > 64
        machine = struct.unpack_from("<H", content, 18)[0] if is_known else 0
        if machine != PROCESSORS[self.processor]["machine"]:
            raise Fault(f"{self.path}: is no program for {self.target}; build it again with deploy/packages/build.sh")
        start, size, count = (
            struct.unpack_from("<Q", content, 32)[0],
            *struct.unpack_from("<HH", content, 54),
        )
        kinds = [struct.unpack_from("<I", content, start + size * number)[0] for number in range(count)]
        return INTERPRETER not in kinds


# The kind of the program header that names what loads the libraries of a program.
INTERPRETER = 3
