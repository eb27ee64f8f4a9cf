"""DVC's lock file as the guarded process writes it."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from dvc.utils.serialize import dump_yaml, load_yaml, modify_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.guarded import changed

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    # As people write them: with 17 digits DVC's own way may change the last one.
    st.builds("{}e-{}".format, st.integers(-999, 999), st.integers(0, 9)).map(float),
    st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=120),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab cd-_@", min_size=1, max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
STAGES = st.dictionaries(
    st.sampled_from(["split", "evaluate@recommender", "recommend@1"]),
    st.fixed_dictionaries(
        {
            "cmd": st.just("exec python -m pipelines.split"),
            "deps": st.lists(
                st.fixed_dictionaries(
                    {
                        "path": st.text("aé货/.", min_size=1, max_size=100),
                        "md5": st.text("0123456789abcdef", min_size=32, max_size=32),
                        "size": st.integers(0, 10**12),
                    }
                ),
                max_size=3,
            ),
            "params": st.fixed_dictionaries(
                {"params.yaml": st.dictionaries(st.text("ab", min_size=1), VALUES, max_size=3)}
            ),
        }
    ),
)


@settings(max_examples=60, deadline=None)
@given(STAGES, STAGES)
def test_the_lock_file_reads_as_the_one_that_dvc_writes(
    tmp_path_factory: Any, before: dict[str, Any], ran: dict[str, Any]
) -> None:
    folder: Path = tmp_path_factory.mktemp("locks")
    written = []
    for name, modify in (("ours", changed), ("theirs", modify_yaml)):
        lock = folder / name / "dvc.lock"
        lock.parent.mkdir()
        if before:
            dump_yaml(lock, {"schema": "2.0", "stages": before})
        with modify(lock) as data:
            data.setdefault("schema", "2.0")
            stages = data.setdefault("stages", OrderedDict())
            stages.update({name: OrderedDict(entry) for name, entry in ran.items()})
        written.append(load_yaml(lock))
    assert written[0] == written[1]
    assert list(written[0]["stages"]) == list(written[1]["stages"])


def test_the_lock_file_of_usual_values_is_the_one_that_dvc_writes(tmp_path: Path) -> None:
    """Who keeps it in git sees no other lines than those of what changed, whichever of the two wrote it last."""
    entry = {
        "cmd": "exec python -m pipelines.split",
        "deps": [{"path": "a b/货.parquet", "md5": "00e12345678901234567890123456789", "size": 9}],
        "params": {
            "params.yaml": {"seed": 20, "split": {"days": [1.5, 1e-05], "by": "", "on": True}}
        },
        "outs": [{"path": "data/split", "md5": f"{'0' * 31}1.dir", "nfiles": 3, "isexec": False}],
    }
    locks = [tmp_path / name / "dvc.lock" for name in ("ours", "theirs")]
    for lock, modify in zip(locks, (changed, modify_yaml), strict=True):
        lock.parent.mkdir()
        with modify(lock) as data:
            data.update({"schema": "2.0", "stages": {"split": OrderedDict(entry)}})
    assert locks[0].read_bytes() == locks[1].read_bytes()


def test_who_reads_the_lock_file_meanwhile_reads_it_whole(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    dump_yaml(lock, {"schema": "2.0", "stages": {"split": {"cmd": "a"}}})
    before = lock.read_text("utf-8")
    with lock.open(encoding="utf-8") as reader:
        with changed(lock) as data:
            data["stages"]["report"] = {"cmd": "b"}
        assert reader.read() == before
    assert "report" in lock.read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]


def test_comments_elsewhere_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("stages:\n  # what comes first\n  split: {}\n", encoding="utf-8")
    with changed(path) as data:
        data["stages"]["report"] = {}
    assert "# what comes first" in path.read_text("utf-8")
