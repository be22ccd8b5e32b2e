"""Builds a wheel without anything in it but the need for another one, so that nothing else has to be downloaded."""

import zipfile
from pathlib import Path

PROJECT = "seal_hook_pre_commit"
VERSION = "@VERSION@"
METADATA = f"Metadata-Version: 2.1\nName: seal-hook-pre-commit\nVersion: {VERSION}\nRequires-Dist: seal-hook=={VERSION}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: selkie\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Writes the wheel, and returns its name."""
    folder = f"{PROJECT}-{VERSION}.dist-info"
    name = f"{PROJECT}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as archive:
        archive.writestr(f"{folder}/METADATA", METADATA)
        archive.writestr(f"{folder}/WHEEL", WHEEL)
        archive.writestr(f"{folder}/RECORD", f"{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/RECORD,,\n")
    return name
