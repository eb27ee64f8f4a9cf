"""Certificates by which a cluster's servers prove who they are, made by a certificate authority (CA) of the cluster's own.

They lie beside the secrets: `ca`, what clients trust; `ca-key`, which signs and which no service sees; and a file for
each server with its key and its certificate. What is there stays as it is, however old: it is renewed when asked.
"""

import ipaddress
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pipelines.harness.errors import BadConfig

CA = "ca"
CA_KEY = "ca-key"
SERVERS = {"tls-postgres": "postgres", "tls-redis": "redis", "tls-s3": "s3"}
"""A server's file to its name in the description, by which containers call it."""
CA_DAYS = 3650
SERVER_DAYS = 365
SKEW = timedelta(hours=1)
"""Valid from a little earlier on: clocks differ."""


def make_certificates(folder: Path, renew: bool = False) -> list[str]:
    """Make what is missing in `folder`; the names of the files made.

    renew: make the servers' keys and certificates anew, by the CA that is there. A CA that is missing is made, and then
    everything that it signs. Raises `BadConfig` where a certificate is missing that the CA can't sign.
    """
    made = []
    if not (folder / CA).exists():
        _make_ca(folder)
        made += [CA_KEY, CA]
        renew = True
    wanted = [name for name in SERVERS if renew or not (folder / name).exists()]
    if wanted:
        key, ca = _signer(folder, wanted)
        for name in wanted:
            write_file(folder / name, server(key, ca, SERVERS[name]), 0o444)
    return made + wanted


def read_ends(folder: Path) -> dict[str, datetime]:
    """File to the day from which on its certificate is worth nothing; of several in a file, the first to end.

    Raises `BadConfig` for a file that holds no certificate.
    """
    return {
        name: min(one.not_valid_after_utc for one in _read(folder / name))
        for name in (CA, *SERVERS)
    }


def server(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, name: str, days: float = SERVER_DAYS
) -> str:
    """PEM of a new key and of its certificate, signed by a CA, which it does not outlive.

    name: the service's; it may also be called as `localhost` and 127.0.0.1.
    """
    own = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.DNSName(name),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    until = min(datetime.now(UTC) + timedelta(days=days), ca.not_valid_after_utc)
    signed = (
        _begun(name, ca.subject, own.public_key(), until, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(own) + _pem(signed)


def write_file(path: Path, text: str, mode: int) -> None:
    """Write a file as a whole; nobody else can read it before it has its mode."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.chmod(mode)
    partial.replace(path)


def _make_ca(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two CAs of one name would be taken for each other, and what one signed for a forgery of the other.
    title = f"Vitrine cluster {x509.random_serial_number():x}"[:40]
    subject = _named(title)
    until = datetime.now(UTC) + timedelta(days=CA_DAYS)
    signed = (
        _begun(title, subject, key.public_key(), until, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_file(folder / CA_KEY, _pem(key), 0o600)
    write_file(folder / CA, _pem(signed), 0o444)


def _signer(
    folder: Path, wanted: Iterable[str]
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """The CA's key and its certificate: that one of `ca` that the key belongs to, since yours may stand there too."""
    path = folder / CA_KEY
    cure = f"put a key and a certificate by your CA into {', '.join(wanted)}, or remove {folder / CA}: then all are made"
    if not path.exists():
        raise BadConfig(f"{path} is not there, which would sign {', '.join(wanted)}: {cure}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise BadConfig(f"{path} holds no key ({error}): {cure}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadConfig(f"{path} is no key of an elliptic curve: {cure}")
    for one in _read(folder / CA):
        if one.public_key() == key.public_key():
            if one.not_valid_after_utc <= datetime.now(UTC):
                raise BadConfig(
                    f"the CA in {folder / CA} ended on {one.not_valid_after_utc:%Y-%m-%d}: remove the file, and it is "
                    "made anew with all that it signs; then restart all services"
                )
            return key, one
    raise BadConfig(f"{path} belongs to no certificate in {folder / CA}: {cure}")


def _read(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadConfig(
            f"{path} holds no certificate ({error}): remove it, and it is made anew"
        ) from None


def _begun(
    title: str,
    issuer: x509.Name,
    public: CertificatePublicKeyTypes,
    until: datetime,
    key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    """What every certificate says. key: that which will sign it."""
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_named(title))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(datetime.now(UTC), until) - SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(above, critical=False)
    )


def _usage(*allowed: str) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in allowed for name in names})


def _named(title: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])


def _pem(what: ec.EllipticCurvePrivateKey | x509.Certificate) -> str:
    if isinstance(what, x509.Certificate):
        return what.public_bytes(serialization.Encoding.PEM).decode()
    return what.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
