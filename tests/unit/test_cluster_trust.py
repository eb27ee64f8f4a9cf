"""Certificates of a cluster: made once, renewed when asked; and servers that are not to be trusted are named."""

import contextlib
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.harness.errors import BadConfig, MissingResource
from pipelines.services import cluster_certificates, cluster_secrets, cluster_trust
from pipelines.services.cluster_certificates import (
    CA,
    CA_KEY,
    SERVERS,
    make_certificates,
    read_ends,
    server,
)
from pipelines.services.cluster_setup import trust


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    assert make_certificates(folder) == [CA_KEY, CA, *SERVERS]
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def signer(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = serialization.load_pem_private_key((folder / CA_KEY).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key, certificate(folder / CA)


def test_a_server_has_its_own_key_and_a_certificate_for_its_names(made: Path) -> None:
    ca = certificate(made / CA)
    for name, service in SERVERS.items():
        one = certificate(made / name)
        one.verify_directly_issued_by(ca)
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [service, "localhost"]
        assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    whose = {
        one.value.digest
        for name in (CA, *SERVERS)
        for one in certificate(made / name).extensions
        if isinstance(one.value, x509.SubjectKeyIdentifier)
    }
    assert len(whose) == 4
    assert stat.S_IMODE((made / CA_KEY).stat().st_mode) == 0o600
    assert b"PRIVATE" not in (made / CA).read_bytes()


def test_what_is_there_stays_until_it_is_renewed_and_clients_trust_it_as_before(
    made: Path, capsys
) -> None:
    before = files(made)
    assert make_certificates(made) == [] and files(made) == before
    assert cluster_secrets.main([str(made), "--renew"]) == 0
    after = files(made)
    assert {name for name in before if before[name] != after[name]} == set(SERVERS)
    said = capsys.readouterr().out
    for name, until in read_ends(made).items():
        assert f"{name:<14} valid until {until:%Y-%m-%d}" in said
    (made / "tls-redis").unlink()
    assert make_certificates(made) == ["tls-redis"]
    (made / CA).unlink()
    assert make_certificates(made) == [CA_KEY, CA, *SERVERS]


def test_a_ca_of_ones_own_signs_elsewhere(made: Path, capsys) -> None:
    (made / CA_KEY).unlink()
    assert make_certificates(made) == []
    (made / "tls-s3").unlink()
    assert cluster_secrets.main([str(made)]) == 78
    said = capsys.readouterr().err
    assert "ca-key is not there, which would sign tls-s3" in said and "by your CA" in said


def test_our_ca_may_stand_beside_others(made: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    make_certificates(tmp_path / "other")
    ours = (made / CA).read_bytes()
    (made / CA).unlink()
    (made / CA).write_bytes((tmp_path / "other" / CA).read_bytes() + ours)
    make_certificates(made, renew=True)
    certificate(made / "tls-s3").verify_directly_issued_by(x509.load_pem_x509_certificate(ours))


def test_a_ca_that_ended_signs_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made / CA).unlink()
    monkeypatch.setattr(cluster_certificates, "CA_DAYS", -1)
    with pytest.raises(BadConfig, match="ended on .* remove the file"):
        make_certificates(made)


@contextlib.contextmanager
def serving(tls: Path | None, asked: bytes = b"", host: str = "127.0.0.1") -> Iterator[str]:
    """The address of a server that talks by TLS with the key in a file, or not at all by TLS.

    asked: what it says to the first 8 bytes, before TLS begins.
    """
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)

    def answer() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as one:
            one.settimeout(10)
            if asked:
                one.recv(8)
                one.sendall(asked)
            if context:
                context.wrap_socket(one, server_side=True).close()
            elif not asked:
                one.recv(1000)
                one.sendall(b"-ERR unknown command\r\n")

    with socket.create_server((host, 0)) as listening:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"{host}:{listening.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(("kind", "asked"), [("postgres", b"S"), ("redis", b""), ("s3", b"")])
def test_a_server_that_proves_who_it_is_is_trusted(
    made: Path, kind: str, asked: bytes, capsys
) -> None:
    with serving(made / f"tls-{kind}", asked) as address:
        assert cluster_trust.main([str(made / CA), f"{kind}={address}"]) == 0
    assert f"at {address} is trusted, for 365 days" in capsys.readouterr().out


def test_one_of_another_ca_is_not(made: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "other").mkdir()
    make_certificates(tmp_path / "other")
    with serving(made / "tls-redis") as address:
        assert cluster_trust.main([str(tmp_path / "other" / CA), f"redis={address}"]) == 69
    said = capsys.readouterr().err
    assert f"Redis at {address} is not trusted: its certificate is by another CA" in said


@pytest.mark.parametrize(
    ("name", "days", "told"),
    [("s3", -1.0, "has ended: renew by"), ("s3", 3.0, "")],
)
def test_one_that_ended_is_named_and_one_that_will_is_told_of(
    made: Path, tmp_path: Path, name: str, days: float, told: str
) -> None:
    (tmp_path / "tls").write_text(server(*signer(made), name, days))
    with serving(tmp_path / "tls") as address:
        if told:
            with pytest.raises(MissingResource, match=told):
                cluster_trust.check("s3", address, made / CA)
        else:
            (line,) = cluster_trust.warnings("s3", address, made / CA)
            assert f"S3 store at {address} ends in 3 days: renew by" in line


def test_one_that_is_called_by_another_name_is_not_trusted(made: Path) -> None:
    with (
        serving(made / "tls-s3", host="127.0.0.2") as address,
        pytest.raises(MissingResource, match="its certificate is not for 127.0.0.2: call it"),
    ):
        cluster_trust.check("s3", address, made / CA)


@pytest.mark.parametrize(("kind", "asked"), [("postgres", b"N"), ("redis", b"")])
def test_one_that_talks_plainly_is_named(made: Path, kind: str, asked: bytes) -> None:
    with serving(None, asked) as address, pytest.raises(MissingResource, match="no.* talk by TLS"):
        cluster_trust.check(kind, address, made / CA)


def test_one_that_is_away_and_a_file_that_is_no_ca_are_named(made: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(MissingResource, match=f"Redis at {address} is away"):
        cluster_trust.check("redis", address, made / CA)
    with pytest.raises(BadConfig, match="holds no certificate of a CA"):
        cluster_trust.check("redis", address, tmp_path / "absent")
    with pytest.raises(BadConfig, match="none of https"):
        trust(address, address, f"http://{address}", made / CA)
