"""Make the secrets and certificates of a cluster, in files: `python -m pipelines.services.cluster_secrets FOLDER`.

What is there stays as it is: to renew a secret, remove its file first; certificates are renewed by `--renew`. The folder
is for its owner's eyes only (0700); the files in it can be read by anyone who gets that far, because a container reads
them under a user of its own. The key of the CA, which no service needs, is its owner's (0600).
"""

import argparse
import base64
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.harness.errors import BadConfig
from pipelines.services.cluster_certificates import (
    CA,
    SERVERS,
    make_certificates,
    read_ends,
    write_file,
)


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
    # Postgres' own list of who may enter: whoever has the password, and from afar over TLS alone.
    "postgres-hba": lambda: "local all all scram-sha-256\nhostssl all all all scram-sha-256\n",
}
IDENTITIES = "s3-identities"
NAMES = (*MAKERS, IDENTITIES, CA, *SERVERS)
"""What services read: the files beside `ca-key`."""


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


def make_secrets(folder: Path, renew: bool = False) -> list[str]:
    """Make what is missing in `folder`; the names of those made. renew: make the servers' certificates anew.

    Raises `BadConfig` where a certificate is missing that can't be signed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name, maker in MAKERS.items():
        if not (folder / name).exists():
            write_file(folder / name, maker(), 0o444)
            made.append(name)
    if "s3" in made or not (folder / IDENTITIES).exists():
        write_file(folder / IDENTITIES, _identities((folder / "s3").read_text("utf-8")), 0o444)
        made.append(IDENTITIES)
    return made + make_certificates(folder, renew)


def main(words: list[str]) -> int:
    """The command line; prints names and days, never what a file holds."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.services.cluster_secrets", description=__doc__
    )
    parser.add_argument("folder", type=Path, help="made where it is absent")
    parser.add_argument(
        "--renew", action="store_true", help="make keys and certificates of the servers anew"
    )
    asked = parser.parse_args(words)
    try:
        made = make_secrets(asked.folder, asked.renew)
        ends = read_ends(asked.folder)
    except BadConfig as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"made in {asked.folder}: {', '.join(made)}" if made else f"all there in {asked.folder}")
    for name, until in ends.items():
        print(f"  {name:<14} valid until {until:%Y-%m-%d}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
