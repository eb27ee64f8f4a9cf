"""The audit of locked packages: what fails it, and what does not."""

import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests.conftest import REPOSITORY
from tests.security.audit import EXCEPTIONS, LOCKS, Excepted, exceptions, faults, unasked

TODAY = datetime.date(2026, 5, 10)
ENTRY = Excepted(advisory="CVE-7", package="left", reason="not called", until=TODAY)
SOUND = {"name": "right", "version": "1", "vulns": []}


def advised(**more: Any) -> dict[str, Any]:
    advisory = {"id": "PYSEC-3", "aliases": ["CVE-7"], "fix_versions": ["2.1"], **more}
    return {"name": "left", "version": "2.0", "vulns": [advisory]}


def test_an_advisory_that_nobody_excepted_is_told_with_its_cure() -> None:
    assert list(faults([SOUND, advised()], [], TODAY)) == ["left 2.0: PYSEC-3, mended in 2.1"]
    (told,) = faults([advised(fix_versions=[])], [], TODAY)
    assert "no version yet" in told


def test_an_exception_holds_by_any_of_the_names_until_its_day() -> None:
    assert not list(faults([advised()], [ENTRY], TODAY))
    (told,) = faults([advised()], [ENTRY], TODAY + datetime.timedelta(days=1))
    assert "its exception has ended" in told


def test_an_exception_that_is_not_needed_must_go() -> None:
    (told,) = faults([SOUND], [ENTRY], TODAY)
    assert "left CVE-7" in told and "remove the entry" in told


def test_packages_that_were_not_asked_about_are_counted() -> None:
    assert unasked([SOUND, {"name": "lost", "skip_reason": "not found"}]) == ["lost"]


@pytest.mark.parametrize("lacking", ["advisory", "package", "reason", "until"])
def test_an_exception_says_everything(lacking: str) -> None:
    entry = {"advisory": "a", "package": "b", "reason": "c", "until": "2026-01-01"}
    del entry[lacking]
    with pytest.raises(ValidationError, match=lacking):
        exceptions(str([entry]))


def test_the_files_are_there() -> None:
    exceptions((REPOSITORY / EXCEPTIONS).read_text("utf-8"))
    assert all((REPOSITORY / lock).is_file() for lock in LOCKS)
