"""The journal: a chain that tells of every change, healed after a writer that died, and no line twice."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.harness import BadData
from pipelines.harness.state import State
from pipelines.journal import Journal, main


def a_line(number: int, **more: object) -> dict[str, object]:
    return {
        "who": "anna",
        "capability": "sentiment",
        "from": None,
        "to": f"{number:064d}",
        "outcome": "promoted",
        "reason": "better",
        "key": str(number),
        **more,
    }


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(State(tmp_path))
    for number in range(4):
        made.append(a_line(number))
    return made


def test_a_whole_chain_holds(journal: Journal, tmp_path: Path, capsys) -> None:
    assert journal.verify() == []
    assert [entry["key"] for entry in journal.entries()] == ["0", "1", "2", "3"]
    assert main(["verify"], tmp_path) == 0
    assert "4 lines" in capsys.readouterr().out
    assert main(["show", "sentiment"], tmp_path) == 0
    assert capsys.readouterr().out.count("by anna: better") == 4


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 3), how=st.sampled_from(["edit", "remove", "swap", "garble"]))
def test_every_change_is_found(tmp_path_factory, at: int, how: str) -> None:
    journal = Journal(State(tmp_path_factory.mktemp("journal")))
    for number in range(5):
        journal.append(a_line(number))
    lines = journal.store.path.read_text().splitlines()
    if how == "edit":
        lines[at] = lines[at].replace("better", "worse")
    elif how == "remove":
        del lines[at]
    elif how == "swap":
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    else:
        lines[at] = lines[at][:-5]
    journal.store.path.write_text("\n".join(lines) + "\n")
    faults = journal.verify()
    assert faults and faults[0].line == at + 1


def test_the_newest_line_can_not_be_edited_unseen(journal: Journal, tmp_path: Path) -> None:
    text = journal.store.path.read_text()
    journal.store.path.write_text(
        text[: text.rindex("anna")] + "otto" + text[text.rindex("anna") + 4 :]
    )
    assert [fault.line for fault in journal.verify()] == [4]
    assert main(["verify"], tmp_path) == 1


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_line_is_told_of_and_healed_by_the_next(journal: Journal, kept: int) -> None:
    whole = journal.store.path.read_bytes()
    last = whole.splitlines()[-1]
    journal.store.path.write_bytes(whole[: -len(last) - 1] + last[:kept])
    faults = journal.verify()
    assert [fault.line for fault in faults] == [4]
    assert "heals" in faults[0].text
    assert len(journal.entries()) == 3
    journal.append(a_line(9))
    assert journal.verify() == []
    healed = journal.entries()[-1]
    assert healed["key"] == "9"
    assert healed["torn"] == last[:kept].decode()


def test_a_repeated_decision_adds_no_line(journal: Journal) -> None:
    first = journal.append(a_line(3, who="otto"))
    assert first["who"] == "anna"
    assert len(journal.entries()) == 4
    journal.append(a_line(3, outcome="refused"))
    journal.append(a_line(3))
    assert len(journal.entries()) == 6
    journal.append(a_line(3, capability="answers"))
    assert journal.append(a_line(3))["capability"] == "sentiment"
    assert len(journal.entries()) == 7


def test_a_broken_journal_stops_whoever_would_write(journal: Journal) -> None:
    journal.store.path.write_text("nonsense\n" + journal.store.path.read_text())
    with pytest.raises(BadData, match="line 1"):
        journal.append(a_line(9))


def test_lines_are_plain_json_with_a_time(journal: Journal) -> None:
    for line in journal.store.path.read_text().splitlines():
        assert json.loads(line)["when"].endswith("Z")


def test_an_unknown_word_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["erase"], tmp_path) == 64
    assert "usage" in capsys.readouterr().err
