"""Ours against what a user would take instead: `python -m benchmarks.vision --train F --test F --field F`.

Both files are CSV: id, path, and the label's column (in the test file, too: it is judged by). The others, in the same
run, on the same pictures and threads: logistic regression and the nearest neighbours on the pooled features of the
packaged backbone (timm), and plain fine-tuning of it for as many seconds as ours took to fit. Each runs in a process
of its own, whose peak memory is told. Rows of the table: accuracy with its 95 % interval, the calibration error,
seconds to fit, pictures per second when predicting. With `--coarse F`, a column of both files with coarser classes, a row more
for what ours tells of these, and both apart for the pictures whose label is unsure.

With `--audit`, `--train F --field F` alone: the catalogue's second opinion on cells of which a share was swapped among
one another before; its precision at several recalls, by the vectors that the stage `image-features` makes of the pictures
and, with `--title`, by those of the titles. The same of pictures that were swapped among one another.

With `--packs`: the verb `attributes` without and with the text on packs, on the same pictures; `--field` may name several
columns. The rows of the table are the fields; the gain is paired.

With `--colours`, `--train F --field F` alone: how often the measured colours bear the name of the colour that the column
states, the first of them and any; words of shops become our names by `STATED`.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

OURS = "vitrine"
SIZE = 128
BATCH = 64
NEIGHBOURS = 5
UNSURE = 0.5
"""A label that is less likely than this may be wrong more often than right."""
PLANTED = 0.05
"""Share of the cells that are swapped to measure the audit."""
FEWEST = 10
"""Rows that a value needs to take part there."""
RECALLS = (0.2, 0.4, 0.6, 0.8)
FIGURES = ("fit_seconds", "predict_seconds", "peak_memory_mb")
SAID = {
    "grey": "gray charcoal silver steel",
    "beige white": "cream ivory",
    "yellow beige brown": "gold",
    "brown beige": "tan",
    "beige olive": "khaki",
    "beige brown": "taupe",
    "beige": "skin nude",
    "brown": "coffee bronze",
    "brown orange": "copper rust",
    "yellow": "mustard",
    "orange pink": "peach coral",
    "pink purple": "magenta mauve",
    "purple": "lavender violet lilac",
    "maroon": "burgundy wine",
    "blue navy": "denim",
    "turquoise": "teal aqua",
    "green turquoise": "mint",
    "green": "lime",
}
"""Names that a measured colour may bear, and what shops call such colours beside the names themselves."""
STATED = {word: names for names, words in SAID.items() for word in words.split()}


def main(words: list[str], root: Path) -> int:
    """Measure each and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vision", description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--audit", action="store_true", help="measure the audit instead")
    parser.add_argument("--colours", action="store_true", help="measure the colours instead")
    parser.add_argument("--packs", action="store_true", help="measure the text on packs instead")
    parser.add_argument("--pictures", type=int, default=1500, help="with --colours: at most")
    parser.add_argument("--size", type=int, default=96, help="with --colours: pixels a side")
    parser.add_argument("--field", required=True)
    parser.add_argument("--coarse", help="the column of both files with coarser classes")
    parser.add_argument("--title", help="with --audit: the column of train that holds the title")
    parser.add_argument("--profile", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=(OURS, *OTHERS), default=[OURS, *OTHERS])
    parser.add_argument("--one", choices=tuple(OTHERS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=600.0, help="for plain fine-tuning alone")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.audit:
        return _audited(asked, root)
    if asked.colours:
        return _coloured(asked)
    if asked.test is None:
        parser.error("--test is missing")
    if asked.packs:
        return _packed(asked, root)
    if asked.one:
        return _alone(asked, root)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.only:
            out = Path(scratch) / f"{name.replace(' ', '-')}.jsonl"
            shared = ["--train", asked.train, "--test", asked.test, "--field", asked.field]
            shared += ["--out", out, "--threads", asked.threads]
            if name == OURS:
                call = ["pipelines.benchmark", "recognise", *shared, "--profile", asked.profile]
                call += ["--coarse", asked.coarse] if asked.coarse else []
            else:
                call = ["benchmarks.vision", "--one", name, "--seconds", asked.seconds, *shared]
            done = subprocess.run(
                [sys.executable, "-m", *map(str, call)],
                cwd=root,
                stdout=subprocess.PIPE,
                check=True,
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            if name == OURS:
                asked.seconds = figures["fit_seconds"]
            rows.append((name, figures, *_judged(asked, out)))
            if name == OURS and asked.coarse:
                above = _judged(asked, out, "coarse")
                rows.append((f"{name}, {asked.coarse}", figures, *above))
                unsure = rows[-2][3] < UNSURE
                told = _unsure(asked, rows[-2][2][unsure], above[0][unsure])
    _print(rows)
    if asked.coarse and OURS in asked.only:
        print(told)
    return 0


def _unsure(asked: argparse.Namespace, right: np.ndarray, above: np.ndarray) -> str:
    """What is told of the pictures whose label is unsure: which labels are right (n,), and which coarser classes are."""
    shares = f"{right.mean():.3f}, of {asked.coarse} {above.mean():.3f}" if len(right) else "none"
    return (
        f"{len(right)} pictures have no label of {UNSURE} or more: right of {asked.field} {shares}"
    )


def _audited(asked: argparse.Namespace, root: Path) -> int:
    """Swap cells, then pictures, have all judged, and print how many of those named first were swapped."""
    import pandas as pd
    import torch
    from threadpoolctl import threadpool_limits

    from models.catalogue.opinion import second_opinion
    from models.catalogue.pairing import misfits
    from pipelines.audit import words

    torch.set_num_threads(asked.threads)
    threadpool_limits(asked.threads)
    pictures, cells, _ = _decoded(asked.train, asked.field)
    values, place, counts = np.unique(cells.astype(str), return_inverse=True, return_counts=True)
    kept = (counts >= FEWEST) & (values != "")
    rows = np.flatnonzero(kept[place])
    labels = (np.cumsum(kept) - 1)[place[rows]]
    draw = np.random.default_rng(0)
    chosen = np.flatnonzero(draw.random(len(rows)) < PLANTED)
    given = labels.copy()
    given[chosen] = labels[draw.permutation(chosen)]
    planted = given != labels
    vectors, titles = _features(root, None)(pictures[rows]), _titles(asked, root, rows)
    both = np.concatenate([vectors, titles], axis=1)
    said = second_opinion(both, given, int(kept.sum()))
    title = f"{asked.field}: {int(planted.sum())} of {len(rows)} cells swapped"
    right = {"of these the true value proposed": said.best == labels}
    _curve(title, said.wrong, planted, right)

    shown = np.arange(len(rows))
    shown[chosen] = draw.permutation(chosen)
    planted = shown != np.arange(len(rows))
    frame = pd.DataFrame({asked.field: cells[rows]})
    told = words(frame, titles, titles.any(axis=1), [asked.field], FEWEST)
    wrong = misfits(vectors[shown], told, 0)
    _curve(f"{int(planted.sum())} of {len(rows)} pictures swapped", wrong, planted, {})
    doubted = wrong >= 0.5
    print(
        f"named with a probability of one half or more: {int(doubted.sum())}, "
        f"of which {int((doubted & planted).sum())} were swapped; "
        f"where none is swapped: {int((misfits(vectors, told, 0) >= 0.5).sum())}"
    )
    return 0


def _coloured(asked: argparse.Namespace) -> int:
    """Measure colours, and print how often the first of a picture, and any, has the stated name."""
    from rich.console import Console
    from rich.table import Table

    from models.encoders.decoding import Undecodable, decode_stretched
    from models.metrics import interval
    from models.vision.dominant import dominant
    from pipelines.door import pictures

    listing = pictures.listed(asked.train, {asked.field: pa.string()}).sample(asked.pictures)
    stated, seen, opaque = [], [], []
    for path, text in zip(listing.paths, listing.column(asked.field), strict=True):
        if names := stated_names(text):
            try:
                pixels, cover = decode_stretched(pictures.content(path), asked.size)
            except Undecodable as error:
                print(f"{path}: {error}", file=sys.stderr)
                continue
            stated.append(names)
            seen.append(pixels)
            opaque.append(cover)
    if not stated:
        sys.exit(f"{asked.train}: no row of {asked.field} states a colour that we know")
    started = time.process_time()
    found = dominant(np.stack(seen), np.stack(opaque))
    seconds = time.process_time() - started
    named = np.where(found.shares > 0, found.names, "")
    right = np.array([np.isin(row, names) for row, names in zip(named, stated, strict=True)])
    first, anywhere = right[:, 0].astype(float), right.any(1).astype(float)
    group = np.array([" or ".join(names) for names in stated])
    table = Table(title=f"measured colours against {asked.field}: {len(stated)} of {len(listing)}")
    for name in ("stated", "pictures", "first", "any"):
        table.add_column(name, justify="left" if name == "stated" else "right")
    values, counts = np.unique(group, return_counts=True)
    for at in np.argsort(-counts, kind="stable"):
        rows = group == values[at]
        shares = (f"{one[rows].mean():.3f}" for one in (first, anywhere))
        table.add_row(values[at], str(counts[at]), *shares)
    whole = [interval(one, seed=0) for one in (first, anywhere)]
    told = (f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})" for one in whole)
    table.add_row("all", str(len(stated)), *told)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    print(
        f"the commonest stated name: {counts.max() / len(stated):.3f}; "
        f"colours a picture: {(found.shares > 0).sum(1).mean():.1f}; "
        f"{1000 * seconds / len(stated):.1f} ms of a processor a picture, decoding left out"
    )
    return 0


def stated_names(text: str) -> list[str]:
    """The names of ours that a shop's word for a colour may mean: those of its first word that we know.

    >>> stated_names("Navy Blue"), stated_names("Off White"), stated_names("Multi")
    (['navy'], ['white'], [])
    """
    from models.vision.colour_names import NAMES

    known = {name: name for name in NAMES} | STATED
    words = (known[word] for word in re.findall(r"[a-z]+", text.casefold()) if word in known)
    return next(words, "").split()


def _curve(
    title: str, wrong: np.ndarray, planted: np.ndarray, right: dict[str, np.ndarray]
) -> None:
    """Print the precision of those named first at several recalls, and the share of what is found that is `right`, too."""
    from rich.console import Console
    from rich.table import Table

    order = np.argsort(-wrong, kind="stable")
    hits = np.cumsum(planted[order])
    table = Table(title=title)
    for name in ("recall", "precision", *right):
        table.add_column(name, justify="right")
    for recall in RECALLS:
        named = int(np.searchsorted(hits, recall * hits[-1])) + 1
        found = order[:named][planted[order[:named]]]
        shares = [f"{one[found].mean():.3f}" for one in right.values()]
        table.add_row(f"{recall:.1f}", f"{hits[named - 1] / named:.3f}", *shares)
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _packed(asked: argparse.Namespace, root: Path) -> int:
    """Fit and ask the verb `attributes` without and with packs, and print how often each field is right."""
    from rich.console import Console
    from rich.table import Table

    from models.metrics import interval, paired_interval
    from pipelines.door import pictures

    fields = [name.strip() for name in asked.field.split(",")]
    listing = pictures.listed(asked.test, dict.fromkeys(fields, pa.string()))
    truth = {name: np.array(listing.column(name), object) for name in fields}
    right: dict[str, list[np.ndarray]] = {name: [] for name in fields}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "told.jsonl"
        call = ["--train", asked.train, "--test", asked.test, "--fields", asked.field]
        call += ["--out", out, "--threads", asked.threads, "--profile", asked.profile]
        for words in ([], ["--packs"]):
            whole = [sys.executable, "-m", "pipelines.benchmark", "attributes", *call, *words]
            done = subprocess.run(
                list(map(str, whole)), cwd=root, stdout=subprocess.PIPE, check=True
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            print(" ".join(words) or "without packs", {name: figures[name] for name in FIGURES})
            told = [json.loads(line)["pred"] for line in out.read_text("utf-8").splitlines()]
            for name in fields:
                answers = np.array([one[name] for one in told], object)
                right[name].append((answers == truth[name])[truth[name] != ""].astype(float))
    table = Table(title="attributes without and with the text on packs")
    for column in ("field", "products", "without", "with", "gain", "95 % interval"):
        table.add_column(column, justify="left" if column == "field" else "right")
    for name, (without, read) in right.items():
        gain = paired_interval(read, without, seed=0)
        means = f"{interval(without, seed=0).mean:.3f}", f"{interval(read, seed=0).mean:.3f}"
        ends = f"{gain.low:+.3f} to {gain.high:+.3f}"
        table.add_row(name, str(len(read)), *means, f"{gain.mean:+.3f}", ends)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    return 0


def _titles(asked: argparse.Namespace, root: Path, rows: np.ndarray) -> np.ndarray:
    """Vectors of the titles (n, t) by the packaged encoder, without any (n, 0)."""
    if asked.title is None:
        return np.zeros((len(rows), 0), np.float32)
    from pipelines.door import Asked, pictures
    from pipelines.packaged import unpacked
    from pipelines.packaged.encoders import text_encoder

    listing = pictures.listed(asked.train, {asked.title: pa.string()})
    titles = np.array(listing.column(asked.title), object)[rows]
    door = Asked({}, {}, root, "default", 0, asked.threads, lambda text: None)
    return text_encoder("package", unpacked.folder("text", door)).encode(titles.tolist(), BATCH)


def _judged(
    asked: argparse.Namespace, out: Path, told: str = "pred"
) -> tuple[np.ndarray, np.ndarray]:
    """Which answers are right, and their confidence, (n,). told: `pred`, or `coarse` for the coarser class."""
    from pipelines.door import pictures

    column, sure = (asked.field, "conf") if told == "pred" else (asked.coarse, "coarse_conf")
    listing = pictures.listed(asked.test, {column: pa.string()})
    truth = dict(zip(listing.ids, listing.column(column), strict=True))
    answers = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    right = np.array([truth[answer["id"]] == answer[told] for answer in answers], float)
    return right, np.array([answer[sure] for answer in answers])


def _print(rows: list[tuple[str, dict, np.ndarray, np.ndarray]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from models.metrics import interval
    from models.vision.head import calibration_error

    table = Table(title="recognition of pictures never seen")
    for name in (
        "what",
        "accuracy",
        "95 % interval",
        "calibration error",
        "fit, s",
        "pictures/s",
        "MB",
    ):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, figures, right, sure in rows:
        found = interval(right, seed=0)
        table.add_row(
            name,
            f"{found.mean:.3f}",
            f"{found.low:.3f} to {found.high:.3f}",
            f"{calibration_error(sure, right):.3f}",
            f"{figures['fit_seconds']:.0f}",
            f"{figures['rows_per_second']:.0f}",
            f"{figures['peak_memory_mb']:.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 110).print(table)


def _alone(asked: argparse.Namespace, root: Path) -> int:
    """Fit and predict one of the others, write its answers, print its figures."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    threadpool_limits(asked.threads)
    started = time.perf_counter()
    train = _decoded(asked.train, asked.field)
    predict = OTHERS[asked.one](*train, asked.seconds, root)
    fitted = time.perf_counter()
    pictures, _, ids = _decoded(asked.test, asked.field)
    labels, shares = predict(pictures)
    best = shares.argmax(1)
    ended = time.perf_counter()
    with asked.out.open("w", encoding="utf-8") as file:
        for row, (one, at) in enumerate(zip(ids, best, strict=True)):
            answer = {"id": one, "pred": labels[at], "conf": float(shares[row, at])}
            file.write(json.dumps(answer) + "\n")
    figures = {
        "fit_seconds": fitted - started,
        "rows_per_second": len(ids) / (ended - fitted),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures))
    return 0


def _decoded(path: Path, field: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures (n, SIZE, SIZE, 3) uint8, labels (n,) and ids of a file."""
    from pipelines.door import pictures

    listing = pictures.listed(path, {field: pa.string()})
    told = lambda text: print(text, file=sys.stderr)  # noqa: E731
    blocks = list(pictures.blocks(listing, SIZE, told))
    whole = np.concatenate([block for block, _ in blocks])
    return whole, np.array(listing.column(field), object), listing.ids


Predict = Callable[[np.ndarray], tuple[list[str], np.ndarray]]


def _features(
    root: Path, layers: tuple[int, ...] | None = ()
) -> Callable[[np.ndarray], np.ndarray]:
    encoder = _encoder(root, layers)

    def features(pictures: np.ndarray) -> np.ndarray:
        blocks = range(0, len(pictures), BATCH)
        return np.concatenate([encoder.encode_arrays(pictures[at : at + BATCH]) for at in blocks])

    return features


def _encoder(root: Path, layers: tuple[int, ...] | None = ()):
    from pipelines.door import Asked
    from pipelines.packaged import unpacked
    from pipelines.packaged.encoders import image_encoder

    asked = Asked({}, {}, root, "default", 0, 1, lambda text: print(text, file=sys.stderr))
    return image_encoder("package", unpacked.folder("image", asked), SIZE, layers)


def _logistic(
    pictures: np.ndarray, labels: np.ndarray, ids: list[str], seconds: float, root: Path
) -> Predict:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = _features(root)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    model.fit(features(pictures), labels.tolist())
    return lambda asked: (model.classes_.tolist(), model.predict_proba(features(asked)))


def _neighbours(
    pictures: np.ndarray, labels: np.ndarray, ids: list[str], seconds: float, root: Path
) -> Predict:
    from sklearn.neighbors import KNeighborsClassifier

    features = _features(root)
    count = min(NEIGHBOURS, len(labels))
    model = KNeighborsClassifier(count, metric="cosine", weights="distance")
    model.fit(features(pictures), labels.tolist())
    return lambda asked: (model.classes_.tolist(), model.predict_proba(features(asked)))


def _plain_tuning(
    pictures: np.ndarray, labels: np.ndarray, ids: list[str], seconds: float, root: Path
) -> Predict:
    """AdamW at one rate over all weights, mirrored pictures, until the seconds are over."""
    import torch
    from torch import nn

    from models.encoders.image import backbone

    encoder = _encoder(root)
    network = backbone(encoder.config["name"], SIZE, None).requires_grad_(True)
    weights = {name: torch.from_numpy(value) for name, value in encoder.weights.items()}
    network.load_state_dict(
        {name: one.float() if one.is_floating_point() else one for name, one in weights.items()}
    )
    classes, truth = np.unique(labels.astype(str), return_inverse=True)
    model = nn.Sequential(network, nn.Linear(network.num_features, len(classes)))
    solver = torch.optim.AdamW(model.parameters(), 3e-4)
    until, draw = time.perf_counter() + seconds, np.random.default_rng(0)

    def seen(block: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(block).permute(0, 3, 1, 2).float().div(127.5).sub(1)

    model.train()
    while time.perf_counter() < until:
        for rows in np.array_split(draw.permutation(len(truth)), max(len(truth) // 32, 1)):
            block = seen(pictures[rows])
            block = block.flip(3) if draw.random() < 0.5 else block
            loss = nn.functional.cross_entropy(model(block), torch.from_numpy(truth[rows]))
            solver.zero_grad()
            loss.backward()
            solver.step()
            if time.perf_counter() >= until:
                break
    model.eval()

    def predict(asked: np.ndarray) -> tuple[list[str], np.ndarray]:
        with torch.inference_mode():
            parts = [
                model(seen(asked[at : at + BATCH])).softmax(1) for at in range(0, len(asked), BATCH)
            ]
        return classes.tolist(), torch.cat(parts).numpy()

    return predict


OTHERS = {
    "logistic regression on features": _logistic,
    "nearest neighbours on features": _neighbours,
    "plain fine-tuning, same seconds": _plain_tuning,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
