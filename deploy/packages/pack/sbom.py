"""The list of parts of a program, as CycloneDX 1.6 in JSON. Its number and its time follow from the program and the commit."""

import json
import uuid
from datetime import datetime, timezone

from .archive import sha256


def describe(program, workspace, epoch, toolchain):
    """Returns the list of what is linked into the program."""
    crates, needs = workspace.linked(program.name, program.target)
    own = next(crate for crate in crates if crate.is_ours and crate.name == program.name)
    references = {crate.id: crate.purl() for crate in crates}
    standard = f"pkg:generic/rust-std@{toolchain['rust']}?target={program.target}"
    components = [_component(crate, workspace) for crate in crates if crate is not own]
    components.append(_library("rust-std", toolchain["rust"], standard, "MIT OR Apache-2.0"))
    dependencies = [
        {"ref": references[identifier], "dependsOn": sorted({references[used] for used in used_ones} | {standard})}
        for identifier, used_ones in needs.items()
    ]
    used = []
    if program.is_static and toolchain.get("musl"):
        libc = f"pkg:generic/musl@{toolchain['musl']}"
        components.append(_library("musl", toolchain["musl"], libc, "MIT"))
        dependencies.append({"ref": libc, "dependsOn": []})
        used = [libc]
    dependencies.append({"ref": standard, "dependsOn": used})
    digest = sha256(program.content)
    described = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{workspace.repository}#{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                **_component(own, workspace),
                "type": "application",
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "properties": [{"name": "selkie:target", "value": program.target}],
            },
        },
        "components": sorted(components, key=lambda component: component["bom-ref"]),
        "dependencies": sorted(dependencies, key=lambda dependency: dependency["ref"]),
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _component(crate, workspace):
    component = _library(crate.name, crate.version, crate.purl(), crate.license)
    if crate.checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": crate.checksum}]
    repository = workspace.repository if crate.is_ours else crate.repository
    if repository and repository.startswith("https://"):
        component["externalReferences"] = [{"type": "vcs", "url": repository.strip()}]
    return component


def _library(name, version, purl, license):
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if license:
        component["licenses"] = [{"expression": license}]
    return component
