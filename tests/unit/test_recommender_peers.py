"""Recommenders of other libraries beside ours: their environment, how they are called, and what is done around their models."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import peer_models, recommender_peers, recommenders
from benchmarks.recommender_peers import PEERS, need, ready, set_up
from pipelines.harness import MissingResource

LOG = pd.DataFrame(
    {"user": list("baabbc"), "item": list("xyxzyx"), "ts": pd.to_datetime([3, 2, 1, 1, 2, 5])}
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The programs that are called instead of being run; the first makes the folder, as venv does."""
    seen: list[list[str]] = []

    def call(words: list[str], *_: object) -> None:
        seen.append(words)
        if "venv" in words:
            python = recommender_peers.python(Path(words[-1]))
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
            (Path(words[-1]) / "pyvenv.cfg").touch()

    monkeypatch.setattr(recommender_peers, "_call", call)
    monkeypatch.setattr(recommender_peers, "STATE", recommender_peers.State(tmp_path / "shop"))
    return seen


def test_the_environment_is_made_once_and_again_when_the_pins_change(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    environment = tmp_path / "peers"
    with pytest.raises(MissingResource, match="not there.*setup --environment"):
        need(environment)
    set_up(environment, said.append)
    assert "venv" in calls[0] and "peers-torch.txt" in calls[1][-1] and "peers.lock" in calls[2][-1]
    assert "--require-hashes" in calls[2] and all("--no-deps" in words for words in calls[1:3])
    assert len(calls) == 4 and ready(environment) and said[-1].endswith("is ready")
    need(environment)
    set_up(environment, said.append)
    assert len(calls) == 4 and "the pins are those" in said[-1]
    monkeypatch.setattr(recommender_peers, "digest", lambda: "other pins")
    with pytest.raises(MissingResource, match="not of these pins"):
        need(environment)
    set_up(environment, said.append)
    assert len(calls) == 8 and ready(environment)
    recommender_peers.python(environment).unlink()
    assert not ready(environment)


def test_an_installation_that_failed_is_not_ready(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(tmp_path / "peers", print)
    monkeypatch.setattr(recommender_peers, "digest", lambda: "other pins")
    noted = recommender_peers._call

    def fail(words: list[str], log: Path, wrong: str, hear: object = None) -> None:
        noted(words, log, wrong)
        if "--require-hashes" in words:
            raise MissingResource(wrong)

    monkeypatch.setattr(recommender_peers, "_call", fail)
    with pytest.raises(MissingResource, match="check the network"):
        set_up(tmp_path / "peers", print)
    assert not (tmp_path / "peers" / recommender_peers.STAMP).exists()


def test_nothing_is_begun_where_it_can_t_end(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with pytest.raises(MissingResource, match="holds other things"):
        set_up(tmp_path / "mine", print)
    monkeypatch.setattr(recommender_peers, "FREE", 1e9)
    with pytest.raises(MissingResource, match="--environment"):
        set_up(tmp_path / "peers", print)
    monkeypatch.setattr(recommender_peers, "PYTHON", (3, 2))
    with pytest.raises(MissingResource, match="Python 3.2"):
        set_up(tmp_path / "peers", print)
    assert not calls and (tmp_path / "mine" / "letter").exists()


def test_what_pip_says_is_told_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    hear = recommender_peers._count(40, said.append)
    for line in [*["Collecting one"] * 40, "Installing collected packages: one"]:
        hear(line)
    assert said == ["  20 of 40", "  40 of 40", "  writing them"]
    code = "print('hm'); print('ERROR: no such version'); raise SystemExit(1)"
    with pytest.raises(MissingResource, match="no torch .*log.*\n  ERROR: no such version$"):
        recommender_peers._call([sys.executable, "-c", code], tmp_path / "log", "no torch")
    assert (tmp_path / "log").read_text() == "hm\nERROR: no such version\n"


def test_the_pins_have_no_cuda_and_each_a_hash() -> None:
    torch, lock = ((recommender_peers.HERE / name).read_text() for name in recommender_peers.PINS)
    assert "+cpu" in torch
    entries = lock.replace("\\\n", " ").splitlines()
    packages = [line.split()[0] for line in entries if not line.startswith("#")]
    assert all("--hash=sha256:" in line for line in entries if not line.startswith("#"))
    assert {"rectools==0.19.0", "recbole==1.2.1"} <= set(packages)
    assert not [name for name in packages if name.startswith(("torch==", "nvidia", "ray=="))]


def test_the_script_stands_alone() -> None:
    tree = ast.parse((recommender_peers.HERE / "peer_models.py").read_text())
    first = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    every = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]

    def named(nodes: list) -> set[str]:
        names = [getattr(node, "module", None) or node.names[0].name for node in nodes]
        return {name.partition(".")[0] for name in names}

    assert named(first) - set(sys.stdlib_module_names) == {"numpy", "pandas"}
    assert not named(every) & {"models", "pipelines", "benchmarks"}


def test_peers_are_asked_for_by_flag_or_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name.partition(": ")[0] for name in PEERS} == {"rectools", "recbole"}
    assert not set(recommenders.fitting(tmp_path, False, False)) & set(PEERS)
    assert recommenders.fitting(tmp_path, False, True)[-len(PEERS) :] == list(PEERS)
    (tmp_path / "candidates.parquet").touch()
    assert not set(recommenders.fitting(tmp_path, False, True)) & set(PEERS)
    for words in (["--names", "auto,recbole: bpr"], ["--names", "auto", "--peers"]):
        monkeypatch.setattr(
            sys, "argv", ["x", str(tmp_path), *words, "--environment", str(tmp_path / "no")]
        )
        with pytest.raises(SystemExit, match="recommender_peers setup"):
            recommenders.main()


def test_a_peer_stands_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    LOG.to_parquet(tmp_path / "train.parquet")
    pd.DataFrame({"user": ["c"], "item": ["z"]}).to_parquet(tmp_path / "test.parquet")
    seen = []

    def ran(words: list[str], name: str) -> dict[str, float]:
        seen.append(words)
        table = pd.DataFrame({"user": ["c"], "item": ["z"], "rank": [1], "score": [1.0]})
        table.to_parquet(words[words.index("--out") + 1])
        return {"fit_seconds": 7.25, "predict_seconds": 1.0, "peak_memory_mb": 321.0}

    monkeypatch.setattr(recommenders, "_ran", ran)
    way = recommenders.Way(True, 2, "tiny", tmp_path / "peers", 30)
    recommenders.side_by_side(tmp_path, ["popularity", "recbole: bpr"], way, seed=1)
    told = capsys.readouterr()
    assert "recbole: bpr" in told.out and "recbole: bpr | 1.0000" in told.err
    assert "7.2" in told.out and "321" in told.out
    ours, peer = seen
    assert "pipelines.benchmark" in ours and peer[1] == "-I"
    assert peer[0] == str(tmp_path / "peers" / "bin" / "python")
    assert peer[3:5] == [str(tmp_path), "recbole: bpr"]
    assert peer[-5:] == ["--threads", "2", "--seconds", "30", "--again"]


@pytest.mark.parametrize("by", ["ts", "pos"])
def test_events_are_read_in_each_user_s_order(tmp_path: Path, by: str) -> None:
    events = LOG.assign(pos=[2, 1, 0, 0, 1, 0])[["user", "item", by]]
    events.iloc[:4].to_parquet(tmp_path / "train.parquet")
    events.iloc[4:].to_parquet(tmp_path / "valid.parquet")
    pd.DataFrame({"user": ["d"], "item": ["w"], by: [LOG.ts[0]]}).to_parquet(
        tmp_path / "test.parquet"
    )
    log = peer_models.read(tmp_path)
    assert log.users.tolist() == list("abc") and log.items.tolist() == list("xyz")
    assert log.items[log.item].tolist() == list("xyzyxx")
    assert log.place.tolist() == [0, 1, 0, 1, 2, 0] and log.longest == 3
    items, lengths = peer_models.histories(log, np.array([1, 2]), 2)
    assert items.tolist() == [[1, 0], [0, -1]] and lengths.tolist() == [2, 1]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"train\.parquet is not there"):
        peer_models.read(tmp_path)
    for columns, told in (
        (["user", "ts"], "no column item; it has"),
        (["user", "item"], "ts .*pos"),
    ):
        LOG[columns].to_parquet(tmp_path / "train.parquet")
        with pytest.raises(SystemExit, match=told):
            peer_models.read(tmp_path)
    LOG.to_parquet(tmp_path / "train.parquet")
    LOG.rename(columns={"ts": "pos"}).to_parquet(tmp_path / "valid.parquet")
    with pytest.raises(SystemExit, match="one of these"):
        peer_models.read(tmp_path)


def test_the_best_are_listed_without_what_was_had() -> None:
    scores = np.array([[1.0, 3.0, 2.0, 2.0], [0.0, 9.0, 8.0, 7.0]])
    had = np.array([0, 1, 1, 1]), np.array([1, 1, 2, 3])
    assert peer_models.best(scores.copy(), had, 3).tolist() == [[2, 3, 0], [0, -1, -1]]
    none = had[0][:0], had[1][:0]
    assert peer_models.best(scores.copy(), none, 5).tolist()[1] == [1, 2, 3, 0, -1]


@pytest.mark.parametrize("block", [1, 6, 1000])
def test_lists_are_the_same_in_blocks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    LOG.to_parquet(tmp_path / "train.parquet")
    log = peer_models.read(tmp_path)
    monkeypatch.setattr(peer_models, "BLOCK", block)

    def scored(users: np.ndarray) -> np.ndarray:
        return np.tile([3.0, 2.0, 1.0], (len(users), 1))

    new = peer_models.listed(log, scored, again=False)
    assert list(zip(new.user, new.item, new["rank"], strict=True)) == [
        (0, 2, 1),  # a had x and y, b all
        (2, 1, 1),
        (2, 2, 2),
    ]
    assert len(peer_models.listed(log, scored, again=True)) == 9


@pytest.mark.skipif(
    not ready(recommender_peers.STATE.peers),
    reason="the peers' environment is not there: python -m benchmarks.recommender_peers setup",
)
@pytest.mark.parametrize("name", ["rectools: ease", "rectools: sasrec", "recbole: lightgcn"])
def test_a_peer_lists_what_it_was_taught(tmp_path: Path, name: str) -> None:
    """Two kinds of users who each buy goods of their kind: what is new of that kind comes first."""
    rng = np.random.default_rng(1)
    rows = [
        (f"u{user}", f"{['even', 'odd'][user % 2]}-{item}", place)
        for user in range(60)
        for place, item in enumerate(rng.permutation(8)[:6])
    ]
    pd.DataFrame(rows, columns=["user", "item", "pos"]).to_parquet(tmp_path / "train.parquet")
    out = tmp_path / "lists.parquet"
    words = recommender_peers.command(
        recommender_peers.STATE.peers, tmp_path, name, out, again=False, threads=1, seconds=5
    )
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) == {
        "fit_seconds",
        "predict_seconds",
        "peak_memory_mb",
    }
    lists = pd.read_parquet(out)
    assert lists.columns.tolist() == ["user", "item", "rank", "score"]
    had = pd.DataFrame(rows, columns=["user", "item", "pos"])
    assert lists.merge(had, on=["user", "item"]).empty
    first = lists[lists["rank"] <= 2]
    assert first.user.nunique() == 60
    odd = first.user.str[1:].astype(int) % 2 == 1
    assert (first.item.str.startswith("odd") == odd).mean() > 0.9
