"""The store between workers: waited for where it is away, named where it refuses, before anything is done."""

import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import exchange
from pipelines.exchange import _Store, distrusted
from pipelines.harness import BadConfig, MissingResource


class Disk:
    """A store's file system that fails at the calls that `faults` holds, one after another."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[Exception | None] = []

    def join(self, *parts: str) -> str:
        return "/".join(parts)

    def makedirs(self, path: str, exist_ok: bool) -> None:
        pass

    def _fail(self) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault

    def pipe_file(self, path: str, content: bytes) -> None:
        self._fail()
        self.files[path] = content

    def cat_file(self, path: str) -> bytes:
        self._fail()
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(exchange, "PAUSE_SECONDS", 0.0)
    return Disk()


def store(disk: Disk, push: Any = None) -> _Store:
    remote = SimpleNamespace(fs=disk, path="dvc")
    cloud = SimpleNamespace(get_remote=lambda command: remote)
    return _Store(SimpleNamespace(cloud=cloud, push=push or (lambda targets: None)))


def test_a_store_that_comes_back_is_waited_for(disk: Disk, capsys) -> None:
    disk.faults = [OSError("503"), OSError("503"), None]
    store(disk).wait()
    assert disk.faults == [] and "dvc/locks/.written" in disk.files
    assert capsys.readouterr().out.count("the store is away") == 2


def test_one_that_stays_away_is_named(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PATIENCE_SECONDS", 0.0)
    disk.faults = [OSError("Connection refused")]
    with pytest.raises(MissingResource, match="is away, dvc/locks can't be written: Connection"):
        store(disk).wait()


@pytest.mark.parametrize("fault", [PermissionError("unknown key"), FileNotFoundError("no bucket")])
def test_one_that_refuses_is_not_waited_for(disk: Disk, fault: Exception) -> None:
    disk.faults = [fault]
    with pytest.raises(MissingResource, match=f"does not let us write at dvc/locks: {fault}"):
        store(disk).wait()


def test_one_that_is_not_trusted_is_not_waited_for(disk: Disk) -> None:
    fault = OSError("no connection")
    fault.__cause__ = ssl.SSLCertVerificationError("certificate verify failed")
    disk.faults = [fault]
    with pytest.raises(MissingResource, match="is not trusted.* AWS_CA_BUNDLE"):
        store(disk).wait()
    assert distrusted(fault) and not distrusted(OSError("no connection"))


def test_what_is_said_of_a_stage_follows_its_files_and_is_read_again_after_a_fault(
    disk: Disk,
) -> None:
    pushed: list[Any] = []

    def push(targets: list[str]) -> None:
        assert not [name for name in disk.files if name.endswith("split.json")]
        pushed.append(targets)
        if len(pushed) == 1:
            raise OSError("503 in the middle")

    found = store(disk, push)
    found.send("split", {"outs": []})
    assert pushed == [["split"], ["split"]]
    disk.faults = [OSError("503"), OSError("503"), None, None]
    assert dict(found.entries(["absent", "split"])) == {"split": {"outs": []}}


def test_a_fault_of_its_own_is_told_after_one_more_try(disk: Disk) -> None:
    tries: list[int] = []

    def push(targets: list[str]) -> None:
        tries.append(1)
        raise ValueError("a file is gone")

    with pytest.raises(
        MissingResource, match="split is done but could not be sent.*a file is gone"
    ):
        store(disk, push).send("split", {})
    assert len(tries) == 2 and not [name for name in disk.files if "split" in name]


def test_what_another_profile_made_is_not_read() -> None:
    entry = {"params": {"params.yaml": {"seed": 20, "profiles.tiny.split": {"fewest": 20}}}}
    exchange.refuse_mixture({"split": entry, "promote@answers": {"cmd": "x"}}, "tiny", "content")
    with pytest.raises(BadConfig, match="content: split was made with the profile tiny, .* smoke"):
        exchange.refuse_mixture({"split": entry}, "smoke", "content")
