"""A small made-up set of stage outputs for the report: seeded, with hostile texts among them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines.artefacts.vectors import write_vectors
from pipelines.pages.whole_report import PLACE
from pipelines.report import TEMPLATES, render
from pipelines.report_sections import Section, build_sections
from pipelines.report_sections.inputs import Choice, Inputs
from tests.conftest import REPOSITORY

HOSTILE_TITLE = "<script>alert(1)</script>"
HOSTILE_REVIEW = '<img src=x onerror="alert(2)"> & <b>fine</b> picture, works from the first day'
CLASSES = ["Bag", "Boot", "Coat", "Dress", "Shirt", "Sandal"]
BUNDLE = "c0ffee" * 8
USERS, ITEMS, PICTURES = 12, 30, 60
CAPABILITIES = {
    "collaborative": ("ndcg_at_20", 0.232, "popularity"),
    "content": ("ndcg_at_20", 0.204, "popularity"),
    "hybrid": ("ndcg_at_20", 0.241, "neighbours"),
    "recommender": ("ndcg_at_20", 0.251, "neighbours"),
    "recognition": ("accuracy", 0.913, "nearest_neighbours"),
    "attributes": ("accuracy", 0.842, "commonest_value"),
    "sentiment": ("macro_f1", 0.871, "vader"),
    "answers": ("token_f1", 0.524, "tfidf_sentence"),
}


def decision(key: str) -> dict[str, Any]:
    """A line of the journal on the bundle: "content" is refused, by a condition too; of "answers" there is no figure."""
    metric, value, baseline = CAPABILITIES[key]
    if key == "answers":
        return {"outcome": "failed", "reason": "the champion can't be scored"}
    guards = [{"name": "size", "held": True, "found": "1.0 MB of 9 MB allowed"}]
    guards.append({"name": "users <new>", "held": key != "content", "found": "-0.0300 on 40 rows"})
    gain = value * 0.3 if key != "content" else -0.01
    line = {"outcome": "promoted", "reason": "above the margin", "metric": metric}
    if key == "content":
        line |= {"outcome": "refused", "reason": "not above <the> margin"}
    line |= {"reference": "champion", "challenger_mean": value, "reference_mean": value - gain}
    return line | {
        "gain": {"mean": gain, "low": gain - 0.02, "high": gain + 0.02},
        "guards": guards,
    }


DECISIONS = {(key, BUNDLE): decision(key) for key in CAPABILITIES}


def write_table(path: Path, frame: pd.DataFrame, notes: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(notes), path)


def write_document(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def picture(rng: np.random.Generator, shade: int) -> bytes:
    pixels = rng.integers(0, 60, (28, 28), dtype=np.uint8)
    pixels[6:22, 4 + shade : 14 + shade] += 150
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def write_page(root: Path, sections: list[Section] | None = None) -> Path:
    """Write the report of the project in `root`, of all that stages left in `data` where no sections are given."""

    def find(name: str) -> Path | None:
        path = root / "data" / name
        return path if path.exists() else None

    if sections is None:
        choice = Choice(seed=5, users=3, rows=8, length=200)
        sections = build_sections(Inputs(find, DECISIONS, instances), choice)
    path = root / PLACE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(REPOSITORY / TEMPLATES, sections, profile="tiny", seed=5), "utf-8")
    return path


def write_inputs(data: Path, seed: int = 3) -> None:
    """Write into `data` all that the report reads."""
    rng = np.random.default_rng(seed)
    shop(data, rng)
    pictures(data, rng)
    language(data, rng)
    for at, (key, (metric, value, baseline)) in enumerate(CAPABILITIES.items()):
        head = {"metric": metric, "value": value, "low": value - 0.02, "high": value + 0.018}
        head |= {"baseline": baseline, "baseline_value": value * 0.7}
        head |= {"gain_low": value * 0.3 - 0.03, "gain_high": value * 0.3 + 0.03}
        measures = {"gain": value * 0.3, f"baseline/{baseline}": value * 0.7}
        if key in ("content", "hybrid"):
            measures |= {"also/Recall@20": 0.3, "also/Recall@20, low": 0.2}
            measures |= {"also/Recall@20, high": 0.4, "side/coverage": 0.5}
        if key == "hybrid":
            measures |= {"also/novelty <bits>": 3.0}
        figures = {"rows_in": 400, "rows_out": 400, "headline": head, "measures": measures}
        write_document(data / f"evaluate/{key}/metrics.json", figures)
        champion = "0ther" * 8 if at == 1 else BUNDLE
        write_document(
            data / f"promote/{key}/receipt.json", {"capability": key, "champion": champion}
        )
        if not (scores := data / f"evaluate/{key}/scores.parquet").exists():
            frame = pd.DataFrame({"row_id": ["a", "b"], "score": [0.1, 0.3]})
            write_table(scores, frame, {"vitrine.bundle": BUNDLE})
    for key in ("collaborative", "content", "hybrid", "recommender"):
        measures = {"without text": 0.19, "without <events>": 0.11, "towers_share": 0.5}
        if key == "hybrid":
            measures |= {"worth of text": 0.01, "worth of text, low": -0.01}
            measures |= {"worth of text, high": 0.03}
        write_document(data / f"{key}/metrics.json", {"measures": measures})
    for name in ("products", "users", "interactions", "images", "reviews", "questions"):
        figures = {
            "rows_in": 100,
            "rows_out": 98,
            "measures": {"language/en": 94, "language/fr": 4},
        }
        write_document(data / f"validate-{name}/metrics.json", figures)
        rows = [f"{name}.csv", 17, "price", "-3 <i>", "price is not negative"]
        aside = pd.DataFrame(
            [rows, [rows[0], 44, *rows[2:]]], columns=["file", "row", "column", "value", "rule"]
        )
        write_table(data / f"validate-{name}/quarantine.parquet", aside)


def instances(stage: str) -> list[str]:
    """Of a `foreach` stage."""
    return [f"{stage}@1", f"{stage}@2"]


def shop(data: Path, rng: np.random.Generator) -> None:
    items = [f"i{at:02d}" for at in range(ITEMS)]
    users = [f"u{at:02d}" for at in range(USERS)]
    titles = [f"Sparkling water {at}, 6 bottles" for at in range(ITEMS)]
    titles[3] = HOSTILE_TITLE
    products = pd.DataFrame({"item_id": items, "title": titles, "category": "Drinks > Water"})
    write_table(data / "split/recommending/products.parquet", products)
    start = pd.Timestamp("2017-03-01", tz="UTC")
    for part, day in (("train", 0), ("valid", 40), ("test", 50)):
        size = 60
        days = pd.to_timedelta(day + rng.integers(0, 9, size), unit="D")
        events = {"user_id": rng.choice(users, size), "item_id": rng.choice(items[:9], size)}
        events |= {"timestamp": start + days, "event": "purchase"}
        write_table(data / f"split/recommending/{part}.parquet", pd.DataFrame(events))
    interests = pd.DataFrame({"user_id": users, "attribute": "category", "value": HOSTILE_TITLE})
    interests = pd.concat([interests.assign(rank=at, lift=3.0 - at) for at in (1, 2)])
    interests["strength"] = 0.4
    write_table(data / "content/interests.parquet", interests)
    lists = [
        {
            "user_id": user,
            "rank": rank,
            "item_id": items[(rank + at) % ITEMS] if rank != 2 else items[3],
            "score": 1.0 / rank,
            "reason": ("again", "because", "popular")[rank % 3],
            "reason_item_id": items[rank] if rank % 3 == 1 else None,
        }
        for at, user in enumerate(users)
        for rank in range(1, 11)
    ]
    half = len(lists) // 20 * 10
    for one, rows in zip(instances("recommend"), (lists[:half], lists[half:]), strict=True):
        write_table(data / one.replace("@", "/") / "lists.parquet", pd.DataFrame(rows))
    good = rng.random((ITEMS, 2)) < 0.8
    frame = {"row_id": items, "score": good.mean(1), "slice_source": "title"}
    for at, field in enumerate(("department", "brand")):
        frame[f"prediction_{field}"] = np.where(good[:, at], "Grocery", HOSTILE_TITLE)
        frame[f"right_{field}"] = good[:, at].astype(float)
        frame[f"confidence_{field}"] = rng.uniform(0.5, 1, ITEMS)
    frame["majority"] = 0.5
    notes = {"vitrine.bundle": BUNDLE, "vitrine.baselines": '["majority"]'}
    write_table(data / "evaluate/attributes/scores.parquet", pd.DataFrame(frame), notes)
    test = products[["item_id", "title"]].assign(department="Grocery", brand="Grocery")
    test["image_key"] = [f"p{at:03d}" for at in range(ITEMS)]
    write_table(data / "split/attributes/test.parquet", test)


def pictures(data: Path, rng: np.random.Generator) -> None:
    keys = [f"p{at:03d}" for at in range(PICTURES)]
    kinds = rng.integers(0, len(CLASSES), PICTURES)
    labels = [CLASSES[kind] for kind in kinds]
    content = [picture(rng, int(kind)) for kind in kinds]
    images = pd.DataFrame({"image_key": keys, "bytes": content, "label": labels})
    write_table(data / "validate-images/table.parquet", images)
    vectors = rng.normal(size=(len(CLASSES), 8))[kinds] + rng.normal(size=(PICTURES, 8)) * 0.3
    path = data / "image-features/images.parquet"
    path.parent.mkdir(parents=True)
    write_vectors(path, "image_key", keys, vectors, "made")
    measured = pd.DataFrame({"image_key": keys, "name": HOSTILE_TITLE, "hex": "#aa3322"})
    measured = pd.concat([measured.assign(rank=at, share=0.7 / at) for at in (2, 1)])
    write_table(data / "image-features/colours.parquet", measured)
    found = pd.DataFrame(
        {
            "kind": ["value disagrees", "value proposed", "same picture"],
            "item_id": ["p000", "i01", "p002"],
            "image_key": ["p000", None, "p002"],
            "title": [None, HOSTILE_TITLE, None],
            "field": ["type", "brand", None],
            "value": ["Bag", None, None],
            "proposed": ["Boot", HOSTILE_TITLE, None],
            "other": [None, None, "p001"],
            "source": ["picture", "pack", None],
            "also": [None, "title 0.61", None],
            "confidence": [0.97, 0.8, 1.0],
            "worth": [0.97, 0.4, 0.4],
            "why": "made for the test",
        }
    )
    write_table(data / "audit/audit.parquet", found)
    said = np.where(rng.random(PICTURES) < 0.8, kinds, rng.integers(0, len(CLASSES), PICTURES))
    frame = {"row_id": keys, "score": (said == kinds).astype(float), "truth": labels}
    frame |= {"prediction": [CLASSES[kind] for kind in said]}
    frame |= {"confidence": rng.uniform(0.4, 1, PICTURES), "majority": 0.1}
    notes = {"vitrine.bundle": BUNDLE, "vitrine.baselines": '["majority"]'}
    write_table(data / "evaluate/recognition/scores.parquet", pd.DataFrame(frame), notes)


def opinions(data: Path, texts: list[str]) -> None:
    """What is said of the battery, of all products, in both languages; one review is flagged."""
    quotes = [
        {"review_id": f"r{at:02d}", "start": 0, "end": len(texts[at]), "text": texts[at]}
        for at in (0, 20)
    ]
    frame = {"item_id": ["player", ""], "language": ["en", "zh"], "category": ["<battery>", "质量"]}
    frame |= {"terms": [["<battery>", "batteries"], ["质量"]], "reviews": [4, 3]}
    frame |= {"positive": [3, 0], "negative": [1, 0], "share": [0.75, None]}
    frame |= {"low": [0.3, 0.0], "high": [0.95, 1.0]}
    frame |= {"share_before": [0.5, None], "share_after": [1.0, None]}
    frame |= {"quotes_for": [quotes[:1], quotes[1:]], "quotes_against": [[], []]}
    write_table(data / "opinions/products.parquet", pd.DataFrame(frame))
    flags = {"review_id": ["r01"], "item_id": ["player"], "language": ["en"], "reason": ["copied"]}
    flags |= {"because": ["the same as review r00"], "text": [texts[1]]}
    write_table(data / "review-trust/flags.parquet", pd.DataFrame(flags))


def language(data: Path, rng: np.random.Generator) -> None:
    size = 40
    texts = [f"The battery lasts {at} days and I am glad of it." for at in range(size)]
    texts[:2] = [HOSTILE_REVIEW] * 2
    texts[20:] = [f"质量很好,我很满意,第{at}次购买。" for at in range(20)]
    keys = [f"r{at:02d}" for at in range(size)]
    tongue = ["en"] * 20 + ["zh"] * 20
    labels = rng.choice(["negative", "neutral", "positive"], size)
    said = np.where(rng.random(size) < 0.7, labels, "positive")
    said[:2] = np.where(labels[:2] == "negative", "positive", "negative")
    reviews = pd.DataFrame({"review_id": keys, "text": texts, "language": tongue, "label": labels})
    write_table(data / "split/sentiment/test.parquet", reviews)
    sure = rng.uniform(0.4, 0.9, size)
    sure[:2] = 0.99
    frame = {"row_id": keys, "score": (said == labels).astype(float), "prediction": said}
    frame |= {"truth": labels, "confidence": sure, "slice_language": tongue, "vader": 0.5}
    notes = {"vitrine.bundle": BUNDLE, "vitrine.baselines": '["vader"]'}
    write_table(data / "evaluate/sentiment/scores.parquet", pd.DataFrame(frame), notes)

    opinions(data, texts)
    asked = [f"q{at}" for at in range(6)]
    start, end = texts[0].index("works"), len(texts[0])
    questions = {"question_id": asked, "item_id": "player", "question": "Does it work?"}
    questions |= {"review_id": ["r00", "r00", "r00", None, None, "r00"]}
    span = [True, True, True, False, False, True]
    questions |= {"start": [float(start) if one else None for one in span]}
    questions |= {"end": [float(end) if one else None for one in span]}
    write_table(data / "split/answers/test.parquet", pd.DataFrame(questions))
    dated = reviews[["review_id", "text"]].assign(rating=4.0)
    dated["timestamp"] = pd.Timestamp("2024-03-01", tz="UTC")
    write_table(data / "split/answers/reviews.parquet", dated)
    divided = {"question_id": asked, "says_yes": [["r00", "r01"]] * 6, "says_no": [["r02"]] * 6}
    write_table(data / "answers/answers.parquet", pd.DataFrame(divided))
    found = [True, True, False, False, True, True]
    right = [one == two for one, two in zip(span, found, strict=True)]
    frame = {"row_id": asked, "score": np.asarray(right, float), "confidence": 0.8}
    frame |= {"answer": [texts[0][start:end] if one else "" for one in found]}
    frame |= {"review_id": ["r00" if one else "" for one in found]}
    frame |= {"start": [start if one else 0 for one in found]}
    frame |= {"end": [end if one else 0 for one in found]}
    frame |= {"slice_answered": ["yes" if one else "no" for one in span], "tfidf_sentence": 0.2}
    notes = {"vitrine.bundle": BUNDLE, "vitrine.baselines": '["tfidf_sentence"]'}
    write_table(data / "evaluate/answers/scores.parquet", pd.DataFrame(frame), notes)
