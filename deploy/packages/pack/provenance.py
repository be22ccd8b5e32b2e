"""How a release was made: a statement of in-toto with a predicate of SLSA provenance 1, without a signature and a time."""

import json
import os
import platform
import subprocess
import zlib

from .archive import sha256


def statement(artefacts, workspace, given, toolchain):
    """Returns the statement about the artefacts, which are pairs of a path and bytes.

    `given` holds what was asked for; what follows from the machine is not in it, so that any may repeat it.
    """
    locked = (workspace.source / "Cargo.lock").read_bytes()
    dependencies = [
        {
            "uri": f"git+{workspace.repository}",
            "digest": {"gitCommit": given["commit"]},
            "annotations": {"modified": given["modified"]},
        },
        {"uri": f"git+{workspace.repository}#Cargo.lock", "digest": {"sha256": sha256(locked)}},
        {"uri": f"pkg:generic/rust@{toolchain['rust']}", "annotations": {"version": toolchain["rust_version"]}},
    ]
    if not given["binaries_given"]:
        dependencies.append(
            {"uri": f"pkg:pypi/ziglang@{toolchain['zig']}", "digest": {"sha256": toolchain["zig_sha256"]}}
        )
    script = f"{workspace.repository}/blob/main/deploy/packages/release.sh"
    described = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path, "digest": {"sha256": sha256(content)}} for path, content in artefacts],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": script,
                "externalParameters": {
                    "version": workspace.version,
                    "programs": given["programs"],
                    "targets": given["targets"],
                    "programsBuiltBefore": given["binaries_given"],
                },
                "internalParameters": {
                    "sourceDateEpoch": given["epoch"],
                    "packer": f"Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": {"id": os.environ.get("SELKIE_BUILDER_ID", f"{script}#by-hand")},
                "metadata": {"invocationId": f"{given['commit']}-{given['epoch']}"},
            },
        },
    }
    return json.dumps(described, indent=1) + "\n"


def commit_of(source):
    """Returns the commit of the sources, and whether files differ from it; zeros and true without Git."""
    try:
        commit = _git(source, "rev-parse", "HEAD").strip()
        return commit, bool(_git(source, "status", "--porcelain", "--untracked-files=normal").strip())
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SELKIE_COMMIT") or "0" * 40, not os.environ.get("SELKIE_COMMIT")


def _git(source, *arguments):
    return subprocess.run(["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True).stdout
