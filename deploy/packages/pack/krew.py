"""The manifest of krew, the manager of plugins of kubectl."""

from .program import Fault


def manifest(template, workspace, archives):
    """Fills in the version and, for each pair of a program and its archive, where it is and what its hash is."""
    head, found, rest = template.partition(BEGIN)
    platform, end, tail = rest.partition(END)
    if not found or not end:
        raise Fault(f"the template of krew's manifest has no part between {BEGIN.strip()} and {END.strip()}")
    filled = (
        platform.replace("@ARCHITECTURE@", program.called("krew"))
        .replace("@ARCHIVE@", name)
        .replace("@FOLDER@", name.removesuffix(".tar.gz"))
        .replace("@SHA256@", digest)
        for program, name, digest in archives
    )
    return (head + "".join(filled) + tail).replace("@VERSION@", workspace.version)


BEGIN = "  # begin platform\n"
END = "  # end platform\n"
