"""Ours against what a user would take instead, on labelled reviews or on questions whose answers are marked.

    python -m benchmarks.language sentiment --train F --test F [--encode 4000]
    python -m benchmarks.language answer --train F --reviews F --test F

The files are those of the benchmark door; the test file has labels, or answers, too: it is judged by them. The others,
on the same rows and threads: for sentiment, TF-IDF of words and pairs of words (characters where words have no spaces)
with logistic regression, the packaged MiniLM and multilingual E5 frozen with logistic regression (on --encode training
rows at most), VADER where the labels are its own, snownlp's own kind of classifier (naive Bayes over words); for answers, never
answering, the best sentence by TF-IDF and by the packaged cross-encoder. Each runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

OURS = "vitrine"
BINS = 15
ROUNDS = 1000
VADER_THRESHOLD = 0.05
POSITIVE, NEGATIVE = ("positive", "pos", "1"), ("negative", "neg", "0")


def main(words: list[str], root: Path) -> int:
    """Measure each and print one table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.language",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=tuple(OTHERS))
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--reviews", type=Path)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--profile", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encode", type=int, default=4000, help="rows that frozen encoders read")
    parser.add_argument("--only", nargs="*", help="names of the table's rows")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.task == "answer" and not asked.reviews:
        parser.error("answer needs --reviews")
    if asked.one:
        return _alone(asked, root)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.only or [OURS, *OTHERS[asked.task]]:
            out = Path(scratch) / f"{name.replace(' ', '-')}.jsonl"
            shared = ["--train", asked.train, "--test", asked.test, "--out", out]
            shared += ["--reviews", asked.reviews] if asked.task == "answer" else []
            shared += ["--threads", asked.threads]
            if name == OURS:
                call = ["pipelines.benchmark", asked.task, *shared, "--profile", asked.profile]
            else:
                call = ["benchmarks.language", asked.task, "--one", name, *shared]
                call += ["--encode", asked.encode]
            done = subprocess.run(
                [sys.executable, "-m", *map(str, call)],
                cwd=root,
                stdout=subprocess.PIPE,
                check=True,
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            rows.append((name, figures, _lines(out)))
    truth = {row["id"]: row for row in _lines(asked.test)}
    _print(asked.task, rows, truth)
    return 0


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def _print(task: str, rows: list[tuple[str, dict, list[dict]]], truth: dict[Any, dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    judge, heads = JUDGES[task]
    table = Table(title=f"{task}: rows never seen")
    for head in ("what", *heads, "fit, s", "texts/s", "MB"):
        table.add_column(head, justify="left" if head == "what" else "right")
    for name, figures, found in rows:
        table.add_row(
            name,
            *judge(found, truth),
            f"{figures['fit_seconds']:.0f}",
            f"{figures['rows_per_second']:.0f}",
            f"{figures['peak_memory_mb']:.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _judge_labels(found: list[dict], truth: dict[Any, dict]) -> list[str]:
    """Accuracy, macro-F1 with its interval, calibration error."""
    names = sorted({str(row["label"]) for row in truth.values()})
    names += sorted({str(row["pred"]) for row in found} - set(names))
    place = {name: at for at, name in enumerate(names)}
    real = np.array([place[str(truth[row["id"]]["label"])] for row in found])
    said = np.array([place[str(row["pred"])] for row in found])
    sure = np.array([row["conf"] for row in found])
    rng = np.random.default_rng(0)
    draws = [_macro_f1(real[at], said[at], len(names)) for at in _draws(rng, len(real))]
    low, high = np.quantile(draws, [0.025, 0.975])
    right = real == said
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    error = sum(
        abs(float(right[bins == one].mean() - sure[bins == one].mean()))
        * float((bins == one).mean())
        for one in np.unique(bins)
    )
    value = _macro_f1(real, said, len(names))
    return [f"{right.mean():.3f}", f"{value:.3f}", f"{low:.3f} to {high:.3f}", f"{error:.3f}"]


def _draws(rng: np.random.Generator, size: int) -> list[np.ndarray]:
    return [rng.integers(0, size, size) for _ in range(ROUNDS)]


def _macro_f1(real: np.ndarray, said: np.ndarray, classes: int) -> float:
    from models.language.polarity_training import macro_f1

    return macro_f1(said, real, classes)


def _judge_answers(found: list[dict], truth: dict[Any, dict]) -> list[str]:
    """F1 with its interval, F1 where there is an answer, balanced accuracy of there being one, right review first, MRR.

    A test row may have `answers`, a list of all that were marked, and `reviews`, those that they are in.
    """
    from models.metrics import interval
    from pipelines.capabilities.answers import f1

    scores, told, first, ranks = [], [], [], []
    for row in found:
        one = truth[row["id"]]
        marked = [text for text in one.get("answers", [one.get("answer")]) if text]
        within = one.get("reviews", [one.get("review_id")])
        said = row["answer"]
        scores.append(max((f1(said, text) for text in marked), default=float(not said)))
        told.append((bool(marked), bool(said)))
        if marked:
            places = [at for at, name in enumerate(row["reviews"], 1) if name in within]
            first.append(bool(places) and places[0] == 1)
            ranks.append(1 / places[0] if places else 0.0)
    values, has = np.asarray(scores), np.asarray([one for one, _ in told])
    agree = np.asarray([one == two for one, two in told])
    spread = interval(values, seed=0)
    balanced = np.mean([agree[has == side].mean() for side in (True, False) if (has == side).any()])
    return [
        f"{spread.mean:.3f}",
        f"{spread.low:.3f} to {spread.high:.3f}",
        f"{values[has].mean():.3f}",
        f"{balanced:.3f}",
        f"{np.mean(first):.3f}",
        f"{np.mean(ranks):.3f}",
    ]


JUDGES: dict[str, tuple[Callable[[list[dict], dict], list[str]], tuple[str, ...]]] = {
    "sentiment": (_judge_labels, ("accuracy", "macro-F1", "95 % interval", "calibration")),
    "answer": (
        _judge_answers,
        ("F1", "95 % interval", "F1 answerable", "balanced", "review first", "MRR"),
    ),
}


def _alone(asked: argparse.Namespace, root: Path) -> int:
    """Fit and predict one of the others, write its answers, print its figures."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(asked.threads)
    threadpool_limits(asked.threads)
    train, test = _lines(asked.train), _lines(asked.test)
    started = time.perf_counter()
    predict = OTHERS[asked.task][asked.one](asked, train, root)
    fitted = time.perf_counter()
    rows = predict(test)
    ended = time.perf_counter()
    with asked.out.open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"id": one["id"], **row}) + "\n" for one, row in zip(test, rows, strict=True)
        )
    figures = {
        "fit_seconds": fitted - started,
        "rows_per_second": len(test) / max(ended - fitted, 1e-9),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))
    return 0


Predict = Callable[[list[dict]], list[dict]]


def _labelled(model: Any, read: Callable[[list[str]], Any]) -> Predict:
    """Labels with their chances by a fitted classifier of scikit-learn."""

    def predict(test: list[dict]) -> list[dict]:
        shares = model.predict_proba(read([row["text"] for row in test]))
        return [
            {"pred": str(model.classes_[row.argmax()]), "conf": float(row.max())} for row in shares
        ]

    return predict


def _tf_idf(asked: argparse.Namespace, train: list[dict], root: Path) -> Predict:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = [row["text"] for row in train]
    kind = {"analyzer": "char"} if _spaceless(texts) else {}
    counter = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, **kind)
    known = counter.fit_transform(texts)
    model = LogisticRegression(max_iter=1000).fit(known, [str(row["label"]) for row in train])
    return _labelled(model, counter.transform)


def _spaceless(texts: Sequence[str]) -> bool:
    from models.language.sentiment import CHINESE, language_of

    return np.mean([language_of(text) == CHINESE for text in texts[:500]]) > 0.5


def _frozen(
    make: Callable[[Path], Any],
) -> Callable[[argparse.Namespace, list[dict], Path], Predict]:
    def fit(asked: argparse.Namespace, train: list[dict], root: Path) -> Predict:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        encoder = make(root)
        order = np.random.default_rng(0).permutation(len(train))[: asked.encode]
        rows = [train[at] for at in order]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        vectors = encoder.encode([row["text"] for row in rows], 32)
        model.fit(vectors, [str(row["label"]) for row in rows])
        return _labelled(model, lambda texts: encoder.encode(texts, 32))

    return fit


def _minilm(root: Path) -> Any:
    from pipelines.packaged.encoders import text_encoder

    return text_encoder("package", _folder("text", root))


def _e5(root: Path) -> Any:
    from pipelines.packaged.weights import packed_encoder

    return packed_encoder("multilingual", _folder("multilingual", root), 12, 256)


def _folder(name: str, root: Path) -> Path:
    from pipelines.door.verb import Asked
    from pipelines.packaged.unpacked import folder

    told = lambda text: print(text, file=sys.stderr)  # noqa: E731
    return folder(name, Asked({}, {}, root, "default", 0, 1, told))


def _vader(asked: argparse.Namespace, train: list[dict], root: Path) -> Predict:
    """VADER as its authors use it; labels of another make are reached by thirds or fifths of its range."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    labels = sorted({str(row["label"]) for row in train})
    low = next((label for label in labels if label in NEGATIVE), labels[0])
    high = next((label for label in labels if label in POSITIVE), labels[-1])
    middle = [label for label in labels if label not in (low, high)]

    def say(value: float) -> str:
        if len(labels) == 3:
            edge = VADER_THRESHOLD
            return high if value >= edge else low if value <= -edge else middle[0]
        order = [low, *middle, high]
        return order[min(int((value + 1) / 2 * len(order)), len(order) - 1)]

    def predict(test: list[dict]) -> list[dict]:
        values = [analyzer.polarity_scores(row["text"])["compound"] for row in test]
        return [{"pred": say(value), "conf": (1 + abs(value)) / 2} for value in values]

    return predict


def _naive_bayes(asked: argparse.Namespace, train: list[dict], root: Path) -> Predict:
    """Naive Bayes over words, or characters, as snownlp does, fitted on these rows."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    texts = [row["text"] for row in train]
    counter = CountVectorizer(
        **({"analyzer": "char", "ngram_range": (1, 2)} if _spaceless(texts) else {})
    )
    model = MultinomialNB().fit(counter.fit_transform(texts), [str(row["label"]) for row in train])
    return _labelled(model, counter.transform)


def _by_item(asked: argparse.Namespace) -> dict[str, list[tuple[str, int, int, str]]]:
    """Item to (review_id, start, end, sentence) of its reviews."""
    from models.language.passages import sentences

    found: dict[str, list] = {}
    for row in _lines(asked.reviews):
        for start, end in sentences(row["text"]):
            line = (row["review_id"], start, end, row["text"][start:end])
            found.setdefault(row["item"], []).append(line)
    return found


def _best_sentence(lines: list[tuple], scores: np.ndarray, edge: float) -> dict:
    """The sentence with the highest score, reviews by theirs; nothing where it is below `edge`."""
    order = np.argsort(-scores, kind="stable")
    reviews = list(dict.fromkeys(lines[at][0] for at in order))
    if not len(order) or scores[order[0]] < edge:
        return {"answer": "", "conf": 0.5, "reviews": reviews}
    return {"answer": lines[order[0]][3], "conf": 0.5, "reviews": reviews}


def _sentence(
    score: Callable[[Path], Callable[[str, list[str]], np.ndarray]],
) -> Callable[[argparse.Namespace, list[dict], Path], Predict]:
    """Sentences by a score, answering where it is above what was best on (at most 300) training questions."""

    def fit(asked: argparse.Namespace, train: list[dict], root: Path) -> Predict:
        from pipelines.capabilities.answers import f1

        by_item, ask = _by_item(asked), score(root)

        def said(row: dict, edge: float) -> tuple[dict, float]:
            lines = by_item.get(row["item"], [])
            scores = ask(row["question"], [line[3] for line in lines]) if lines else np.zeros(0)
            return _best_sentence(lines, scores, edge), float(scores.max(initial=-np.inf))

        order = np.random.default_rng(0).permutation(len(train))[:300]
        tried = [(train[at], *said(train[at], -np.inf)) for at in order]
        values = np.array([top for _, _, top in tried])
        gain = np.array([f1(answer["answer"], row.get("answer") or "") for row, answer, _ in tried])
        none = np.array([float(not row.get("answer")) for row, _, _ in tried])
        edges = [-np.inf, *np.unique(values[np.isfinite(values)])]
        best = max(edges, key=lambda edge: float(np.where(values >= edge, gain, none).mean()))
        return lambda test: [said(row, best)[0] for row in test]

    return fit


def _tf_idf_score(root: Path) -> Callable[[str, list[str]], np.ndarray]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from pipelines.capabilities.answers import words

    def ask(question: str, texts: list[str]) -> np.ndarray:
        counter = TfidfVectorizer(analyzer=words)
        try:
            known = counter.fit_transform(texts)
        except ValueError:
            return np.zeros(len(texts))
        return (known @ counter.transform([question]).T).toarray()[:, 0]

    return ask


def _cross_encoder_score(root: Path) -> Callable[[str, list[str]], np.ndarray]:
    from pipelines.packaged.encoders import reranker

    model = reranker("package", _folder("reranker", root), 256)
    return lambda question, texts: model.score([question] * len(texts), texts)


def _never(asked: argparse.Namespace, train: list[dict], root: Path) -> Predict:
    by_item = _by_item(asked)
    return lambda test: [
        _best_sentence(lines, np.zeros(len(lines)), np.inf)
        for lines in (by_item.get(row["item"], []) for row in test)
    ]


OTHERS: dict[str, dict[str, Callable[[argparse.Namespace, list[dict], Path], Predict]]] = {
    "sentiment": {
        "TF-IDF": _tf_idf,
        "frozen MiniLM": _frozen(_minilm),
        "frozen E5": _frozen(_e5),
        "VADER": _vader,
        "naive Bayes": _naive_bayes,
    },
    "answer": {
        "never answering": _never,
        "TF-IDF sentence": _sentence(_tf_idf_score),
        "cross-encoder": _sentence(_cross_encoder_score),
    },
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
