"""Asking about a product from the command line."""

from pathlib import Path

import pytest

from models.bundle import save
from models.encoders.reranker import Reranker
from models.encoders.text import TextEncoder
from models.language.answers import Answers, Scorer
from models.language.library import Review
from pipelines import ask


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    library = {
        "tv": [
            Review("r1", "The picture is sharp. It came\x1b[31m late.", "2024-05-01", 4.0),
            Review("r2", "A box. The picture is so so."),
        ],
        "none": [Review("r3", "")],
    }
    model = Answers.untrained(library, TextEncoder.hashing(32), Reranker.overlap(), 4)
    model.scorer = Scorer.plain(0.2)
    save(model.to_bundle(), tmp_path / "data" / "answers" / "bundle")
    return tmp_path


def test_an_answer_is_quoted_with_its_review(shop: Path, capsys) -> None:
    assert ask.main(["--item", "tv", "Is the picture sharp?", "Wozu?"], shop) == 0
    said = capsys.readouterr().out
    assert (
        "“The picture is sharp.”" in said
        and "review r1, 2024-05-01, 4 stars, confidence" in said
        and "\x1b" not in said
    )
    assert "also: “The picture is so so.”, review r2" in said
    assert "no answer in the reviews" in said


@pytest.mark.parametrize(
    ("item", "question", "told"),
    [("unknown", "Is it good?", "has no review"), ("tv", " ", "the question is empty")],
)
def test_what_cannot_be_asked_is_named(shop: Path, capsys, item, question, told) -> None:
    assert ask.main(["--item", item, question], shop) != 0
    assert told in capsys.readouterr().err


def test_a_missing_or_damaged_model_is_named(shop: Path, tmp_path: Path, capsys) -> None:
    assert ask.main(["--item", "none", "Is it good?"], shop) == 0
    (shop / "data" / "answers" / "bundle" / "config.json").write_text("{}")
    assert ask.main(["--item", "tv", "Is it good?"], shop) != 0
    assert "dvc repro answers" in capsys.readouterr().err
