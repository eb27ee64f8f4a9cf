"""What the attribute model filled in, beside the truth."""

from typing import Any

from pipelines.report_sections.capabilities import named
from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.judged import OUTCOME, scores, slices
from pipelines.report_sections.thumbnails import thumbnails
from pipelines.tables import Images
from pipelines.tables import Products as P

KEY = "attributes"
TITLE = "Attributes"
TEST = "split/attributes/test.parquet"
NEED = (*OUTCOME, P.ITEM, "field")


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """products: some picked by hash, with each field's prediction and truth; fields: how often each was right."""
    judged = scores(inputs, KEY, NEED)
    frame = judged.rows
    titled = inputs.table(TEST, need=(P.ITEM,), like=(P.TITLE, Images.IMAGE)).set_index(P.ITEM)
    with_title = set(titled.index[_filled(titled, P.TITLE)]) & set(frame[P.ITEM])
    others = set(frame[P.ITEM]) - with_title
    half = choice.rows // 3 if others and with_title else 0
    chosen = [
        *choice.pick(with_title, choice.rows - half if with_title else 0),
        *choice.pick(others, half if with_title else choice.rows),
    ]
    titles = titled[P.TITLE].to_dict() if P.TITLE in titled else {}
    keys = titled[Images.IMAGE].to_dict() if Images.IMAGE in titled else {}
    wanted = [keys[item] for item in chosen if isinstance(keys.get(item), str) and keys[item]]
    shown: dict[str, str] = {}
    if wanted:
        try:
            shown = thumbnails(inputs, wanted)
        except Absent:
            shown = {}
    items = []
    for item in chosen:
        mine = frame[frame[P.ITEM] == item].sort_values("field", kind="stable")
        fields = [
            {
                "name": named(line.field),
                "prediction": line.prediction,
                "truth": line.truth,
                "confidence": float(line.confidence),
                "right": line.prediction == line.truth,
            }
            for line in mine.itertuples()
        ]
        title = titles.get(item)
        items.append(
            {
                "title": title if isinstance(title, str) else "",
                "picture": shown.get(keys.get(item, ""), ""),
                "fields": fields,
            }
        )
    return {"products": items, "slices": slices(judged)}


def _filled(frame: Any, column: str) -> Any:
    if column not in frame:
        return [False] * len(frame)
    return frame[column].fillna("").ne("").to_numpy()
