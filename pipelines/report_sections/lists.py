"""What some users bought, and the lists that the champion made for them, with its reasons."""

from typing import Any

import pandas as pd

from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.thumbnails import thumbnails
from pipelines.tables import Interactions as I
from pipelines.tables import Products as P

KEY = "lists"
TITLE = "Lists"
LISTS = "recommend/lists.parquet"
SPLIT = "split/recommending"
LISTED = (I.USER, "rank", I.ITEM, "score", "reason", "reason_item_id")
WORDS = {"purchase": "bought", "view": "seen", "cart": "put in the cart", "rating": "rated"}


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """users: for some picked by hash, what they had and what they are offered; total: users with a list."""
    everyone = inputs.values(LISTS, I.USER)
    if not everyone:
        raise Absent(f"data/{LISTS} holds no list.")
    chosen = choice.pick(everyone, choice.users)
    offered = inputs.table(LISTS, need=LISTED, where=[(I.USER, "in", chosen)])
    offered = offered[offered["rank"] <= choice.rows]
    had = _history(inputs, chosen)
    had = had.groupby(I.USER, sort=False).head(choice.rows)
    because = offered["reason_item_id"].dropna()
    goods = _goods(inputs, sorted({*offered[I.ITEM], *had[I.ITEM], *because}))
    users = []
    for user in chosen:
        mine = offered[offered[I.USER] == user].sort_values("rank")
        users.append(
            {
                "id": user,
                "had": [
                    {**goods(line.item_id), "times": line.times, "last": line.last, "how": line.how}
                    for line in had[had[I.USER] == user].itertuples()
                ],
                "offered": [
                    {
                        **goods(line.item_id),
                        "rank": line.rank,
                        "why": _why(line.reason, line.reason_item_id, goods),
                    }
                    for line in mine.itertuples()
                ],
            }
        )
    return {"users": users, "total": len(everyone)}


def _history(inputs: Inputs, users: list[str]) -> pd.DataFrame:
    """user_id, item_id, times, last (a date), how; the latest first within a user."""
    parts = [
        inputs.table(
            f"{SPLIT}/{part}.parquet",
            need=(I.USER, I.ITEM, I.TIME, I.EVENT),
            where=[(I.USER, "in", users)],
        )
        for part in ("train", "valid", "test")
    ]
    events = pd.concat(parts, ignore_index=True)
    grouped = events.groupby([I.USER, I.ITEM, I.EVENT], sort=True)[I.TIME].agg(["count", "max"])
    rows = grouped.reset_index().sort_values(
        [I.USER, "max", "count", I.ITEM], ascending=[True, False, False, True], kind="stable"
    )
    rows = rows.drop_duplicates([I.USER, I.ITEM])
    return pd.DataFrame(
        {
            I.USER: rows[I.USER],
            I.ITEM: rows[I.ITEM],
            "times": rows["count"],
            "last": rows["max"].dt.strftime("%Y-%m-%d"),
            "how": rows[I.EVENT].map(lambda event: WORDS.get(event, event)),
        }
    )


def _goods(inputs: Inputs, items: list[str]) -> Any:
    """A function from item_id to its title, category and, where the product has one, its picture."""
    table = inputs.table(
        f"{SPLIT}/products.parquet",
        need=(P.ITEM, P.TITLE),
        like=(P.CATEGORY, P.IMAGE),
        where=[(P.ITEM, "in", items)],
    ).set_index(P.ITEM)
    pictures: dict[str, str] = {}
    if P.IMAGE in table and table[P.IMAGE].notna().any():
        try:
            pictures = thumbnails(inputs, list(table[P.IMAGE].dropna()))
        except Absent:
            pictures = {}
    records = table.to_dict("index")

    def describe(item: str) -> dict[str, str]:
        record = records.get(item, {})
        category = record.get(P.CATEGORY)
        return {
            "title": record.get(P.TITLE) or item,
            "category": category if isinstance(category, str) else "",
            "picture": pictures.get(record.get(P.IMAGE) or "", ""),
        }

    return describe


def _why(reason: str, item: str | None, goods: Any) -> dict[str, str]:
    """The sentence of a reason and, where an earlier item is its cause, that item's title."""
    return {"text": reason, "title": goods(item)["title"] if isinstance(item, str) and item else ""}
