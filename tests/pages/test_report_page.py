"""The report: every section is there, hostile texts are shown as text, equal inputs give equal bytes."""

import html.parser
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.harness import BadConfig, BadData
from pipelines.harness.state import State
from pipelines.journal import LATENCY, Journal
from pipelines.report import (
    MAX_BYTES,
    TEMPLATES,
    ReportParams,
    decisions,
    encoded,
    figure,
    render,
    signed,
)
from pipelines.report_sections import (
    ORDER,
    answers,
    build_sections,
    lists,
    measures,
    promotion,
    sources,
)
from pipelines.report_sections.answers import quote
from pipelines.report_sections.charts import draw, gains, whiskers
from pipelines.report_sections.inputs import Absent, Choice, Inputs, Off
from pipelines.report_sections.pictures import nearest
from pipelines.report_sections.recognition import heat_map
from pipelines.report_sections.thumbnails import data_uri
from pipelines.run_page import page_path
from tests.conftest import REPOSITORY
from tests.report_inputs import (
    BUNDLE,
    CAPABILITIES,
    DECISIONS,
    HOSTILE_REVIEW,
    HOSTILE_TITLE,
    instances,
    write_inputs,
)

CHOICE = Choice(seed=5, users=3, rows=8, length=200)
Decisions = dict[tuple[str, str], dict[str, Any]]


def make(data: Path, decided: Decisions | None = None) -> str:
    def find(name: str) -> Path | None:
        return data / name if (data / name).exists() else None

    sections = build_sections(Inputs(find, decided, instances), CHOICE)
    return render(REPOSITORY / TEMPLATES, sections, profile="tiny", seed=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "data"
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def page(data: Path) -> str:
    return make(data, DECISIONS)


class Tags(html.parser.HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_section_is_there(page: str) -> None:
    for key in (*ORDER, "monitor", "next"):
        assert f'<section id="{key}"' in page
        assert f'<a href="#{key}"' in page
    assert "Not shown" not in page and "Not evaluated" not in page


def test_reviews_that_nothing_reads_are_counted(page: str) -> None:
    assert "nothing is read in them: fr 4." in page


def test_equal_inputs_give_equal_bytes(data: Path, tmp_path: Path, page: str) -> None:
    write_inputs(tmp_path / "again")
    assert make(tmp_path / "again", DECISIONS) == page


def test_the_time_that_a_guard_took_is_not_in_the_page(data: Path) -> None:
    def timed(seconds: float) -> Decisions:
        guard = {"name": LATENCY, "held": True, "found": f"{seconds:.3f} s of 2 s allowed"}
        return {key: {**line, "guards": [guard]} for key, line in DECISIONS.items()}

    page = make(data, timed(0.123))
    assert LATENCY in page and page == make(data, timed(0.456))


def test_hostile_texts_are_shown_as_text(page: str) -> None:
    assert HOSTILE_TITLE not in page and HOSTILE_REVIEW not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=" in page
    tags = Tags(page).found
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_nothing_is_asked_of_any_place(page: str) -> None:
    """The links that lead out are to the pages beside this one, by their places in the project."""
    led = []
    for tag, attributes in Tags(page).found:
        for name in ("src", "href", "srcset", "action", "xlink:href"):
            value = attributes.get(name)
            if value is not None and not value.startswith(("data:", "#")):
                led.append((tag, value))
    state = State(REPOSITORY)
    places = [page_path(state), state.home / "monitor" / "index.html"]
    here = REPOSITORY / "data" / "report"
    assert led == [("a", os.path.relpath(place, here)) for place in places]
    assert "@import" not in page and "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    assert "default-src 'none'" in page


def test_size_is_bounded(page: str) -> None:
    assert len(page.encode()) < 1_000_000


def test_a_page_at_the_limit_is_written_and_one_byte_more_is_refused() -> None:
    params = ReportParams(users=3, rows=8, length=200)
    most = "é" * (MAX_BYTES // 2)  # two bytes a letter: it is bytes that are counted
    assert len(encoded(most, params)) == MAX_BYTES
    with pytest.raises(BadConfig, match=r"report.users 3 .* 10,000,001 bytes.*lower them"):
        encoded(most + "x", params)


def test_pictures_have_words_and_ids_come_once(page: str) -> None:
    tags = Tags(page).found
    pictures = [attributes for tag, attributes in tags if tag == "img"]
    assert pictures and all(attributes.get("alt") for attributes in pictures)
    drawn = [attributes for tag, attributes in tags if tag == "svg"]
    assert drawn and all(attributes.get("aria-label") for attributes in drawn)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_standing_comes_from_receipt_and_journal(page: str) -> None:
    assert "7 are champion in the registry" in page
    assert "Bundle 0ther0th stays champion. refused: not above &lt;the&gt; margin" in page


def test_decisions_are_told_with_their_conditions_and_reasons(data: Path) -> None:
    view = promotion.view(Inputs(lambda name: data / name, DECISIONS), CHOICE)
    assert len(view["rows"]) == len(CAPABILITIES) and view["refused"] == 2
    rows = {row["name"]: row for row in view["rows"]}
    content = rows["Recommender from content"]
    assert [guard["held"] for guard in content["guards"]] == [False, True]
    assert (content["failed"], content["won"], content["gain"]["mean"]) == (1, False, -0.01)
    answered = rows["Answers from reviews"]
    assert answered["gain"] is None and answered["reason"] == "the champion can't be scored"
    page = make(data, DECISIONS)
    assert page.count("<details open>") == 1  # what failed is seen without a click
    assert "users &lt;new&gt;" in page and "not above &lt;the&gt; margin" in page


def test_only_a_champion_wears_its_colour(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    receipt = {"capability": "hybrid", "champion": None}
    (tmp_path / "promote/hybrid/receipt.json").write_text(json.dumps(receipt))
    chips = re.findall(r'<span class="chip ([^"]*)">([^<]+)</span>', make(tmp_path, DECISIONS))
    worn = {text for wears, text in chips if wears == "champion"}
    assert {text for _, text in chips} >= {"champion", "challenger", "no champion"}
    assert "champion" in worn and not worn & {"challenger", "no champion", "refused"}


def test_sources_are_told_by_what_is_left_without_them(data: Path) -> None:
    rows = sources.view(Inputs(lambda name: data / name), CHOICE)["rows"]
    assert [row["source"] for row in rows[:2]] == ["<events>", "text"]  # what costs most first
    worth = {(row["name"], row["source"]): row["worth"] for row in rows}
    assert worth["Hybrid recommender", "text"] == {"mean": 0.01, "low": -0.01, "high": 0.03}
    assert worth["Recommender from content", "text"] is None


def test_lists_are_told_by_other_measures_where_there_are_any(data: Path) -> None:
    view = measures.view(Inputs(lambda name: data / name), CHOICE)
    assert view["columns"] == ["Recall@20", "coverage", "novelty <bits>"]
    rows = {row["name"]: row["cells"] for row in view["rows"]}
    assert rows["Recommender from content"] == [
        {"mean": 0.3, "low": 0.2, "high": 0.4},
        {"mean": 0.5, "low": None, "high": None},
        None,
    ]
    assert rows["Recommender from behaviour"] == [None, None, None]


def test_a_user_is_told_by_the_strongest_interests(data: Path) -> None:
    users = lists.view(Inputs(lambda name: data / name, None, instances), CHOICE)["users"]
    told = {"attribute": "category", "value": HOSTILE_TITLE, "share": 0.4, "lift": 2.0}
    assert [user["interests"] for user in users] == [[told]] * 3

    def find(name: str) -> Path | None:
        return None if name.startswith("content/") else data / name

    assert lists.view(Inputs(find, None, instances), CHOICE)["users"][0]["interests"] == []


def test_measured_colours_stand_by_their_names_beside_pictures(data: Path, page: str) -> None:
    def without(name: str) -> Path | None:
        return None if name.endswith("/colours.parquet") else data / name

    told = [{"hex": "#aa3322", "name": HOSTILE_TITLE, "share": share} for share in (0.7, 0.35)]
    for key, rows in (("pictures", "rows"), ("attributes", "products")):
        view = import_module(f"pipelines.report_sections.{key}").view
        assert [row["colours"] for row in view(Inputs(lambda name: data / name), CHOICE)[rows]] == [
            told
        ] * len(view(Inputs(without), CHOICE)[rows])
        assert not any(row["colours"] for row in view(Inputs(without), CHOICE)[rows])
    name = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert f'<i style="background:#aa3322"></i>{name} <span class="sure">70 %</span>' in page


def test_a_proposed_value_names_its_source(page: str) -> None:
    assert "by the picture<" in page and "by the pack, also title 0.61<" in page


def test_a_persons_word_keeps_the_figures_that_it_was_given_on(tmp_path: Path) -> None:
    journal = Journal(State(tmp_path))
    line = {"who": "run 1", "capability": "content", "from": None, "to": BUNDLE}
    gain = {"mean": 0.2, "low": 0.1, "high": 0.3}
    journal.append({**line, "outcome": "waits", "reason": "asks", "key": "1", "gain": gain})
    journal.append({**line, "outcome": "approved", "reason": "looked at", "key": "2"})
    found = decisions(journal)["content", BUNDLE]
    assert (found["outcome"], found["reason"], found["gain"]) == ("approved", "looked at", gain)


@pytest.mark.parametrize(
    ("gone", "key"),
    [
        ("recommend/2/lists.parquet", "lists"),
        ("split/recommending/valid.parquet", "lists"),
        ("evaluate/recognition/scores.parquet", "recognition"),
        ("image-features/images.parquet", "pictures"),
        ("split/answers/reviews.parquet", "answers"),
    ],
)
def test_an_absent_input_hides_its_section_and_says_so(data: Path, gone: str, key: str) -> None:
    def find(name: str) -> Path | None:
        return data / name if name != gone and (data / name).exists() else None

    with pytest.raises(Absent, match=f"data/{gone} has not been written"):
        import_module(f"pipelines.report_sections.{key}").view(
            Inputs(find, None, instances), CHOICE
        )


def test_what_the_shop_lacks_is_off_with_its_reason(data: Path) -> None:
    why = "this <shop> has no pictures"
    lacking = ("image-features", "validate-images", "evaluate/recognition", "promote/recognition")

    def find(name: str) -> Path | None:
        if name.startswith(lacking):
            raise Off(why)
        return data / name

    sections = build_sections(Inputs(find, DECISIONS, instances), CHOICE)
    assert {one.key for one in sections if one.off} == {"recognition", "pictures"}
    page = render(REPOSITORY / TEMPLATES, sections, profile="tiny", seed=5)
    assert page.count("<b>Off.</b> this &lt;shop&gt; has no pictures") == 2
    assert "<b>Recognition of pictures: off.</b> this &lt;shop&gt; has no pictures" in page
    assert "off: this &lt;shop&gt; has no pictures" in page
    assert "Not shown" not in page and "Not evaluated" not in page


def test_an_empty_table_hides_its_section(data: Path, tmp_path: Path) -> None:
    empty = pq.read_table(data / "evaluate/answers/scores.parquet").slice(0, 0)
    pq.write_table(empty, tmp_path / "empty.parquet")

    def find(name: str) -> Path:
        return tmp_path / "empty.parquet" if name.endswith("scores.parquet") else data / name

    with pytest.raises(Absent, match="holds no rows"):
        answers.view(Inputs(find), CHOICE)


def test_answers_tell_day_stars_and_how_reviews_divide(data: Path) -> None:
    rows = answers.view(Inputs(lambda name: data / name), CHOICE)["questions"]
    quotes = [row["said"] for row in rows if row["said"]]
    assert quotes and all((one["day"], one["stars"]) == ("2024-03-01", "4") for one in quotes)
    assert {(row["yes"], row["no"]) for row in rows} == {(2, 1)}
    assert "review r00, 2024-03-01, 4 stars" in (page := make(data))
    assert "2 say yes, 1 no" in page


def test_no_wanted_value_is_no_row(data: Path) -> None:
    inputs = Inputs(lambda name: data / name)
    table = inputs.table("split/answers/reviews.parquet", among=("review_id", []))
    assert len(table) == 0


def test_nothing_at_all_is_still_a_page(tmp_path: Path) -> None:
    text = make(tmp_path)
    assert text.count("Not shown.") == len(ORDER)


def test_a_column_that_is_not_there_is_named(data: Path) -> None:
    with pytest.raises(Absent, match=r"scores.parquet has no column nonsense"):
        Inputs(lambda name: data / name).table(
            "evaluate/sentiment/scores.parquet", need=("nonsense",)
        )


def test_charts_escape_names_and_are_deterministic() -> None:
    rows = [
        {"name": "<b onload=x()>", "value": 0.5, "low": 0.4, "high": 0.6, "baseline_value": -0.1}
    ]
    drawn = whiskers(rows, 300, names=True)
    assert drawn == whiskers(rows, 300, names=True)
    assert "<b" not in drawn and "&lt;b" in drawn
    rows = [{"name": "<b onload=x()>", "mean": 0.0, "low": 0.0, "high": 0.0}]
    drawn = gains(rows, 300, names=False)
    assert drawn == gains(rows, 300, names=False)
    assert "<b" not in drawn and "&lt;b" in drawn
    counts = pd.DataFrame([[3, 1], [0, 4]], index=["<i>", "b"], columns=["<i>", "b"])
    assert "<i>" not in heat_map(counts)


def test_a_chart_that_could_run_is_refused() -> None:
    import altair as alt

    chart = alt.Chart(alt.Data(values=[{"a": 1}])).mark_point(href="http://example.org")
    with pytest.raises(ValueError, match="may run or load"):
        draw(chart, "link")


def test_a_class_that_is_never_predicted_has_its_row() -> None:
    counts = pd.DataFrame({"a": [2, 1]}, index=["a", "b"])
    assert heat_map(counts).count('aria-roledescription="rect mark"') in (0, 4)


def test_pictures_are_decoded_and_encoded_again() -> None:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (900, 300), (9, 9, 9)).save(out, "png", pnginfo=None)
    uri = data_uri(out.getvalue() + b"<script>", "big")
    assert uri.startswith("data:image/webp;base64,") and len(uri) < 2000
    with pytest.raises(BadData, match="picture broken"):
        data_uri(b"<svg onload=alert(1)>", "broken")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1), unique=True), st.integers(0, 9), st.integers(0, 5))
def test_picks_do_not_depend_on_order(keys: list[str], count: int, seed: int) -> None:
    choice = Choice(seed, 1, 1, 1)
    chosen = choice.pick(keys, count)
    assert chosen == choice.pick(reversed(keys), count)
    assert len(chosen) == min(count, len(keys)) and set(chosen) <= set(keys)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300), st.integers(10, 200))
def test_a_quote_is_exactly_the_slice(text: str, start: int, end: int, length: int) -> None:
    end = min(end, len(text))
    found = quote({"r": text}, "r", start, end, length)
    if end <= start:
        assert found is None
    else:
        assert found is not None and found["quoted"] == text[start:end]
        assert len(found["before"]) <= max(length, 80) + 2


def test_nearest_leaves_the_query_out_and_goes_by_cosine() -> None:
    vectors = np.array([[1, 0], [2, 0.1], [0, 1], [-1, 0]], dtype=np.float16)
    order, cosines = nearest(vectors, np.array([0]), 3)
    assert order.tolist() == [[1, 2, 3]]
    assert np.allclose(cosines, [[0.9988, 0, -1]], atol=1e-3)


def test_figures_are_written_for_people() -> None:
    assert figure(-0.25) == "−0.250" and figure(1234) == "1,234"
    assert signed(-0.00001) == "+0.000"


def test_a_broken_journal_is_named(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.home.mkdir()
    state.journal.write_text("{}\n{}\nnonsense\n")
    with pytest.raises(BadData, match="line 3"):
        decisions(Journal(state))


def test_no_heavy_library_is_loaded() -> None:
    code = (
        "import sys, pipelines.report, pipelines.report_sections.figures, "
        "pipelines.report_sections.pictures as p;"
        "print([m for m in ('torch', 'mlflow', 'pytorch_lightning', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
