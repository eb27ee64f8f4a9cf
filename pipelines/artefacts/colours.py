"""The table of measured colours: for each picture a row a dominant colour, with its share of the product's own area."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from models.encoders import decoding
from models.vision import colour_names, colours, dominant, ground
from pipelines.artefacts.vectors import CONTENT, MODEL
from pipelines.tables import Images

RANK, HEX, NAME, SHARE = "rank", "hex", "name", "share"
MEASURED = (CONTENT, RANK, HEX, NAME, SHARE)
SCHEMA = pa.schema(
    [
        (Images.IMAGE, pa.string()),
        (RANK, pa.int32()),
        (HEX, pa.string()),
        (NAME, pa.string()),
        (SHARE, pa.float64()),
        (CONTENT, pa.string()),
    ]
)
"""rank: from 1, the largest share first. hex: `#rrggbb`. share: of the product's area, rounded down to four places."""
PLACES = 10_000


def method(size: int) -> str:
    """A hash of everything that decides the colours of pictures that are looked at with `size` pixels a side.

    Thresholds and steps stand in the code: where it changes, all is measured anew.
    """
    digest = hashlib.sha256(f"{size} {PIL.__version__}".encode())
    for module in (decoding, colours, ground, colour_names, dominant):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Measured:
    """What an earlier run measured: rows with the columns `MEASURED`, each content's once."""

    rows: pd.DataFrame

    @classmethod
    def read(cls, model: str, path: Path) -> "Measured":
        """What the table at `path` knows; nothing of one that is absent, damaged or made by another method."""
        nothing = cls(pd.DataFrame({name: [] for name in MEASURED}))
        try:
            table = pq.read_table(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException):
            return nothing
        if (table.schema.metadata or {}).get(MODEL, b"").decode() != model:
            return nothing
        return cls(table.select(MEASURED).to_pandas().drop_duplicates([CONTENT, RANK]))

    def completed(
        self, contents: Sequence[str], measure: Callable[[np.ndarray], dominant.Palettes]
    ) -> pd.DataFrame:
        """Rows of all that `contents` (m,) name, each content once.

        measure: positions (k,) of those that are new to their k palettes.
        """
        wanted = pd.Index(contents, dtype=object)
        new = np.flatnonzero(~wanted.isin(self.rows[CONTENT]) & ~wanted.duplicated())
        known = self.rows[self.rows[CONTENT].isin(wanted)]
        return pd.concat([known, rows_of(wanted[new], measure(new))], ignore_index=True)


def rows_of(contents: Sequence[str], palettes: dominant.Palettes) -> pd.DataFrame:
    """Palettes of the pictures `contents` as rows with the columns `MEASURED`."""
    picture, place = np.nonzero(palettes.shares)
    # A share of an exact part must not lose its last place to the floating point.
    whole = np.floor(palettes.shares[picture, place] * PLACES + 1e-6)
    found = (
        np.asarray(contents, dtype=object)[picture],
        place + 1,
        palettes.hexes[picture, place],
        palettes.names[picture, place],
        whole / PLACES,
    )
    return pd.DataFrame(dict(zip(MEASURED, found, strict=True)))


def write_colours(
    path: Path,
    keys: Sequence[str],
    contents: Sequence[str],
    parts: Sequence[pd.DataFrame],
    model: str,
) -> None:
    """Write the rows of the contents (n,), as `Measured.completed` gives them, under the keys (n,) of their pictures.

    model: what `method` says. They are sorted by key and rank.
    """
    rows = pd.concat(parts) if parts else pd.DataFrame(columns=list(MEASURED))
    pictures = pd.DataFrame({Images.IMAGE: keys, CONTENT: contents}, dtype=object)
    whole = pictures.merge(rows.drop_duplicates([CONTENT, RANK]), on=CONTENT)
    whole = whole.sort_values([Images.IMAGE, RANK], kind="stable")
    table = pa.Table.from_pandas(whole[SCHEMA.names], SCHEMA, preserve_index=False)
    table = table.replace_schema_metadata({MODEL: model.encode()})
    pq.write_table(table, path, write_page_checksum=True)
