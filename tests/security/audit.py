"""What the locked packages are, and what is known against them: `python -m tests.security.audit TOOLS`, as `make audit`.

Writes a bill of materials (CycloneDX) of each lock file into `.vitrine/bom/`, then asks the package index for advisories
about every locked version. One that `exceptions.yaml` does not name, with a reason and until a day, fails the audit; so does
a package that could not be asked about, since an audit that saw nothing is none. TOOLS: the folder of the
programs of an environment with cyclonedx-bom and pip-audit.
"""

import datetime
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

LOCKS = ("requirements.lock", "docker/cluster.lock", "docker/local.lock", "docker/spark.lock")
EXCEPTIONS = Path("tests/security/exceptions.yaml")
FOUND, UNASKED = 1, 69


class Excepted(BaseModel):
    """An advisory that is lived with until a day, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    advisory: str
    package: str
    reason: str
    until: datetime.date


def exceptions(text: str) -> list[Excepted]:
    """What the file says. Raises `ValidationError` naming the entry and the key that is wrong."""
    return TypeAdapter(list[Excepted]).validate_python(yaml.safe_load(text))


def faults(
    packages: Sequence[dict[str, Any]], known: Sequence[Excepted], today: datetime.date
) -> Iterator[str]:
    """What is wrong, a line each. packages: as pip-audit tells them in JSON."""
    excepted = {(one.package, one.advisory): one for one in known}
    met = set()
    for package in packages:
        for advisory in package.get("vulns", ()):
            names = {advisory["id"], *advisory.get("aliases", ())}
            found = [key for name in names if (key := (package["name"], name)) in excepted]
            met.update(found)
            if not any(excepted[key].until >= today for key in found):
                late = "; its exception has ended" if found else ""
                cure = ", ".join(advisory["fix_versions"]) or "no version yet"
                yield f"{package['name']} {package['version']}: {advisory['id']}, mended in {cure}{late}"
    for key in sorted(excepted.keys() - met):
        yield f"{EXCEPTIONS}: {' '.join(key)} is told of no locked version any more: remove the entry"


def unasked(packages: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the packages that the index said nothing about."""
    return [package["name"] for package in packages if "skip_reason" in package]


def audited(tools: Path, lock: str) -> list[dict[str, Any]]:
    """The packages of a lock file with what is known against each."""
    words = [tools / "pip-audit", "--requirement", lock, "--no-deps", "--disable-pip"]
    done = subprocess.run(
        [*words, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True
    )
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.exit(f"{lock}: {done.stderr.strip()[-2000:]}")


def main(tools: Path) -> int:
    """Write the bills, print what is wrong; 0, `FOUND` or `UNASKED`."""
    bills = Path(".vitrine") / "bom"
    bills.mkdir(parents=True, exist_ok=True)
    packages = []
    for lock in LOCKS:
        bill = bills / f"{Path(lock).stem}.cdx.json"
        print(f"reading {lock}")
        # A flat list has no tree of packages, of which the tool would warn.
        words = [tools / "python", "-W", "ignore", "-m", "cyclonedx_py", "requirements", lock]
        subprocess.run([*words, "--output-reproducible", "--output-file", bill], check=True)
        print(f"wrote {bill}")
        packages += audited(tools, lock)
    wrong = list(faults(packages, exceptions(EXCEPTIONS.read_text("utf-8")), datetime.date.today()))
    for line in wrong:
        print(line)
    silent = unasked(packages)
    if silent:
        print(
            f"{len(silent)} of {len(packages)} packages could not be asked about ({', '.join(silent[:5])}, …): "
            "the index here has no advisories; run it where pypi.org can be reached"
        )
        return UNASKED
    print(f"{len(packages)} locked packages: {len(wrong)} to look at")
    return FOUND if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
