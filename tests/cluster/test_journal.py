"""The journal in the cluster's Postgres: two writers at once make one chain."""

import os
from pathlib import Path

import pytest

from pipelines import journal_stores
from pipelines.harness.state import State
from pipelines.journal import Journal
from pipelines.journal_stores import Table
from tests.cluster.stack import Cluster
from tests.unit.test_journal_stores import LINES, write_at_once


def test_two_writers_at_once_make_one_chain(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = cluster.shop.state.home / "cluster" / "secrets" / "postgres"
    address = f"postgresql+psycopg2://vitrine@{cluster.address('postgres')}/postgres"
    monkeypatch.setenv(journal_stores.VARIABLE, address)
    monkeypatch.setenv(journal_stores.PASSWORD, str(secret))
    Table(address, str(secret)).make()
    assert secret.read_text("utf-8") not in Table(address, str(secret)).place
    write_at_once(tmp_path, os.environ)
    journal = Journal(State(tmp_path))
    assert journal.verify() == [] and len(journal.entries()) == 2 * LINES
