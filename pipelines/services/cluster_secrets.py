"""Make the secrets of a cluster, one file each: `python -m pipelines.services.cluster_secrets FOLDER`.

What is there stays as it is: to renew one, remove its file first. The folder is for its owner's eyes only (0700); the
files in it can be read by anyone who gets that far, because a container reads them under a user of its own.
"""

import argparse
import base64
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path


def _token() -> str:
    """Letters, digits, `-` and `_`: may stand in an address as it is."""
    return secrets.token_urlsafe(48)


def _fernet() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _users() -> str:
    return json.dumps({"admin": secrets.token_urlsafe(24)}) + "\n"


def _store() -> str:
    key = secrets.token_hex(10).upper()
    return f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {_token()}\n"


MAKERS: dict[str, Callable[[], str]] = {
    "postgres": _token,
    "redis": _token,
    "s3": _store,
    "fernet": _fernet,
    "api": _token,
    "jwt": lambda: secrets.token_urlsafe(64),
    "users": _users,
}
IDENTITIES = "s3-identities"
NAMES = (*MAKERS, IDENTITIES)


def _identities(credentials: str) -> str:
    """The store's own list of who may enter: whoever has the credentials in the file `s3`."""
    values = dict(line.split(" = ", 1) for line in credentials.splitlines() if " = " in line)
    keys = {"accessKey": values["aws_access_key_id"], "secretKey": values["aws_secret_access_key"]}
    one = {
        "name": "vitrine",
        "credentials": [keys],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    return json.dumps({"identities": [one]}) + "\n"


def make_secrets(folder: Path) -> list[str]:
    """Make what is missing in `folder`; the names of those made."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name, maker in MAKERS.items():
        if not (folder / name).exists():
            _write(folder / name, maker())
            made.append(name)
    if "s3" in made or not (folder / IDENTITIES).exists():
        _write(folder / IDENTITIES, _identities((folder / "s3").read_text("utf-8")))
        made.append(IDENTITIES)
    return made


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.chmod(0o444)
    partial.replace(path)


def main(words: list[str]) -> int:
    """The command line; prints names, never what a file holds."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.services.cluster_secrets", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="made where it is absent")
    folder = parser.parse_args(words).folder
    made = make_secrets(folder)
    print(f"made in {folder}: {', '.join(made)}" if made else f"all there in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
