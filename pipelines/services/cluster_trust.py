"""Whether servers prove by TLS who they are, to whoever trusts a CA file:

    python -m pipelines.services.cluster_trust CA_FILE postgres=HOST:PORT redis=HOST:PORT s3=HOST:PORT

The cluster's `setup` asks this before anything else; ask it yourself for services of your own. It needs no package.
"""

import argparse
import socket
import ssl
import struct
import sys
import time
from pathlib import Path

from pipelines.harness.errors import BadConfig, MissingResource

SECONDS = 10.0
WARNED_DAYS = 30
POSTGRES_ASKS_FOR_TLS = struct.pack("!ii", 8, 80877103)
"""Postgres talks plainly until it is asked for TLS by these bytes, to which it says `S`."""
TITLES = {"postgres": "Postgres", "redis": "Redis", "s3": "the S3 store"}
NOT_YET, ENDED, OTHER_HOST, OTHER_ADDRESS = 9, 10, 62, 64
"""OpenSSL's numbers of what is wrong with a certificate."""
RENEW = (
    "renew by `python -m pipelines.services.cluster_secrets FOLDER --renew` and restart the service"
)


def check(kind: str, address: str, ca: Path) -> float:
    """The days that a server's certificate is still good for.

    kind: `postgres`, `redis` or `s3`. address: host:port. ca: the certificates of those who are trusted, as PEM. Raises
    `MissingResource` naming server, cause and cure where it is away, talks plainly or is not to be trusted; `BadConfig`
    for a CA file that can't be read.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise BadConfig(
            f"{ca} holds no certificate of a CA ({error}): `python -m pipelines.services.cluster_secrets FOLDER` makes "
            "one, and for services of yours it is their provider's"
        ) from None
    host, _, port = address.rpartition(":")
    who = f"{TITLES[kind]} at {address}"
    try:
        with socket.create_connection((host, int(port)), SECONDS) as plain:
            if kind == "postgres":
                plain.sendall(POSTGRES_ASKS_FOR_TLS)
                if plain.recv(1) != b"S":
                    raise MissingResource(_plainly(who, "it was asked for TLS and declined"))
            with context.wrap_socket(plain, server_hostname=host) as talk:
                told = talk.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        raise MissingResource(f"{who} is not trusted: {_distrust(error, host, ca)}") from None
    except ssl.SSLError as error:
        raise MissingResource(_plainly(who, error.reason or str(error))) from None
    except ConnectionResetError as error:
        raise MissingResource(_plainly(who, str(error))) from None
    except OSError as error:
        raise MissingResource(
            f"{who} is away ({error}): is it up, and is the address right?"
        ) from None
    return (ssl.cert_time_to_seconds(str(told["notAfter"])) - time.time()) / 86400


def warnings(kind: str, address: str, ca: Path) -> list[str]:
    """As `check`; a line where the certificate ends soon."""
    days = check(kind, address, ca)
    if days > WARNED_DAYS:
        return []
    return [
        f"warning: the certificate of {TITLES[kind]} at {address} ends in {days:.0f} days: {RENEW}"
    ]


def _plainly(who: str, why: str) -> str:
    return (
        f"{who} does not talk by TLS ({why}): restart it if it was started before certificates were made; for a server of "
        "yours, turn TLS on or name the port that has it"
    )


def _distrust(error: ssl.SSLCertVerificationError, host: str, ca: Path) -> str:
    if error.verify_code == ENDED:
        return f"its certificate, or the CA's in {ca}, has ended: {RENEW}"
    if error.verify_code == NOT_YET:
        return "its certificate is not valid yet: set the clocks of both machines"
    if error.verify_code in (OTHER_HOST, OTHER_ADDRESS):
        return (
            f"its certificate is not for {host}: call it by a name that stands in its certificate"
        )
    return (
        f"its certificate is by another CA than those in {ca} ({error.verify_message}): restart it if certificates were "
        "made anew since it started; for a server of yours, add its provider's CA to the file"
    )


def main(words: list[str]) -> int:
    """The command line; the exit status is that of the class of failure."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.services.cluster_trust", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("ca", type=Path, help="certificates of the CAs that are trusted")
    parser.add_argument("server", nargs="+", help=f"{', '.join(TITLES)}, then =HOST:PORT")
    asked = parser.parse_args(words)
    status = 0
    for word in asked.server:
        kind, _, address = word.partition("=")
        if kind not in TITLES or not address.rpartition(":")[2].isdigit():
            parser.error(f"{word}: one of {', '.join(TITLES)}, then =HOST:PORT")
        try:
            days = check(kind, address, asked.ca)
            print(f"{TITLES[kind]} at {address} is trusted, for {days:.0f} days")
        except (MissingResource, BadConfig) as error:
            print(f"{error.title}: {error}", file=sys.stderr)
            status = error.exit_code
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
