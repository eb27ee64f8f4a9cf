"""The benchmark door: `python -m pipelines.benchmark VERB …` runs a capability on plain files.

Files are read and written by their suffix: .parquet, .csv, .tsv, .jsonl (UTF-8). Neither Airflow, DVC nor MLflow is
needed. Every asked row is written once, in the asked order; the last line on stdout is one JSON object of figures:
fit_seconds, predict_seconds, rows, rows_per_second, peak_memory_mb; of `search` in an index also recall. Progress goes to
stderr.
"""

import argparse
import importlib
import json
import os
import pkgutil
import resource
import sys
import time
from pathlib import Path

from pipelines.door import files, writing
from pipelines.door import verbs as door_verbs
from pipelines.door.verb import Asked, Verb
from pipelines.harness import VitrineError
from pipelines.harness.params import read_params

OUT = (
    "what to write, by its suffix: .jsonl, .parquet, .csv or .tsv. Lists and {...} are JSON in a cell of CSV; in Parquet "
    "they are lists and structures, and pairs such as [label, probability] structures of these names"
)


def verbs() -> dict[str, Verb]:
    """The verb of each module in `pipelines/door/verbs`, by the module's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(door_verbs.__path__))
    return {name: importlib.import_module(f"{door_verbs.__name__}.{name}").VERB for name in names}


def parser(root: Path) -> argparse.ArgumentParser:
    """The command line of all verbs, with every column told."""
    document = read_params(root)
    whole = argparse.ArgumentParser(
        prog="python -m pipelines.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    below = whole.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, found in verbs().items():
        one = below.add_parser(
            name,
            help=found.summary,
            description=f"{found.summary}\n\nwrites: {found.writes}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for file in found.files:
            one.add_argument(
                f"--{file.flag}",
                type=Path,
                required=file.required,
                metavar="FILE",
                help=file.columns.replace("%", "%%"),
            )
        one.add_argument("--out", type=Path, required=True, metavar="FILE", help=OUT)
        for option in found.options:
            text = option.help.replace("%", "%%")
            if option.kind is bool:
                one.add_argument(f"--{option.flag}", action="store_true", help=text)
            else:
                one.add_argument(
                    f"--{option.flag}",
                    type=option.kind,
                    default=option.default,
                    required=option.default is None,
                    choices=option.choices or None,
                    # An empty text is a setting that is left out.
                    help=f"{text} (default: {option.default})"
                    if option.default not in (None, "")
                    else text,
                )
        one.add_argument(
            "--profile",
            default="default",
            choices=tuple(document["profiles"]),
            help="whose sizes of params.yaml apply (default: default)",
        )
        one.add_argument("--seed", type=int, default=document["seed"], help="of all that is drawn")
        one.add_argument(
            "--threads",
            type=int,
            default=len(os.sched_getaffinity(0)),
            help="of the processor (default: all)",
        )
    return whole


def run(words: list[str], root: Path) -> dict[str, float]:
    """Run one verb and return its figures. Raises `VitrineError` for anything the user can mend."""
    given = vars(parser(root).parse_args(words))
    found = verbs()[given["verb"]]
    flags = {flag.replace("-", "_"): flag for flag in (file.flag for file in found.files)}
    asked = Asked(
        files={flag: given[key] for key, flag in flags.items() if given[key] is not None},
        options={option.flag: given[option.flag.replace("-", "_")] for option in found.options},
        root=root,
        profile=given["profile"],
        seed=given["seed"],
        threads=given["threads"],
        say=lambda text: print(f"{given['verb']}: {text}", file=sys.stderr, flush=True),
    )
    writing.writable(given["out"])
    for path in asked.files.values():
        files.there(path)
    _prepare(asked)
    found.asks(asked)
    started = time.perf_counter()
    model = found.fit(asked)
    fitted = time.perf_counter()
    rows = writing.write(given["out"], found.predict(model, asked))
    ended = time.perf_counter()
    return {
        "fit_seconds": round(fitted - started, 3),
        "predict_seconds": round(ended - fitted, 3),
        "rows": rows,
        "rows_per_second": round(rows / max(ended - fitted, 1e-9), 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        **asked.figures,
    }


def _prepare(asked: Asked) -> None:
    """Seeds and thread counts, before anything is computed."""
    import random

    import numpy as np
    import torch
    from threadpoolctl import threadpool_limits

    random.seed(asked.seed)
    np.random.seed(asked.seed)  # noqa: NPY002 - libraries that read the global state
    torch.manual_seed(asked.seed)
    torch.set_num_threads(asked.threads)
    threadpool_limits(asked.threads)


def main(words: list[str], root: Path) -> int:
    """The command line; the exit status is that of the class of failure."""
    try:
        figures = run(words, root)
    except VitrineError as error:
        print(f"{error.title}: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
