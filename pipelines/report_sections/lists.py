"""What some users bought, and the lists that the champion made for them, with its reasons."""

from typing import Any

import pandas as pd

from pipelines.lists.files import NAME
from pipelines.report_sections.capabilities import named
from pipelines.report_sections.inputs import Absent, Choice, Inputs
from pipelines.report_sections.thumbnails import thumbnails
from pipelines.tables import Interactions as I
from pipelines.tables import Products as P

KEY = "lists"
TITLE = "Lists"
LISTS = "recommend"
INTERESTS = "content/interests.parquet"
SPLIT = "split/recommending"
STRONGEST = 4
"""Interests that are told of a user: the strongest value of as many attributes."""
LISTED = (I.USER, "rank", I.ITEM, "score", "reason", "reason_item_id")
REASONS = {
    "again": "Had it before",
    "because": "Goes with",
    "popular": "Popular lately",
    "catalogue": "New on the shelf",
}
WORDS = {"purchase": "bought", "view": "seen", "cart": "put in the cart", "rating": "rated"}


def view(inputs: Inputs, choice: Choice) -> dict[str, Any]:
    """users: for some picked by hash, interests, what they had and what they are offered; total: users with a list."""
    files = inputs.parts(LISTS, NAME)
    everyone = [user for file in files for user in inputs.values(file, I.USER)]
    if not everyone:
        raise Absent(f"data/{LISTS} holds no list.")
    chosen = choice.pick(everyone, choice.users)
    offered = pd.concat(
        [inputs.table(file, need=LISTED, among=(I.USER, chosen)) for file in files],
        ignore_index=True,
    )
    lengths = offered.groupby(I.USER).size()
    offered = offered[offered["rank"] <= choice.rows]
    history = _history(inputs, chosen)
    before = {(line.user_id, line.item_id): line for line in history.itertuples()}
    had = history.groupby(I.USER, sort=False).head(choice.rows)
    because = offered["reason_item_id"].dropna()
    interests = _interests(inputs, chosen)
    goods = _goods(inputs, sorted({*offered[I.ITEM], *had[I.ITEM], *because}))
    users = []
    for user in chosen:
        mine = offered[offered[I.USER] == user].sort_values("rank")
        users.append(
            {
                "id": user,
                "interests": interests.get(user, []),
                "had": [
                    {**goods(line.item_id), "times": line.times, "last": line.last, "how": line.how}
                    for line in had[had[I.USER] == user].itertuples()
                ],
                "more": int(lengths[user]) - len(mine),
                "offered": [
                    {
                        **goods(line.item_id),
                        "rank": line.rank,
                        "why": _why(line, before.get((user, line.item_id)), goods),
                    }
                    for line in mine.itertuples()
                ],
            }
        )
    return {"users": users, "total": len(everyone)}


def _interests(inputs: Inputs, users: list[str]) -> dict[str, list[dict[str, Any]]]:
    """User to attribute, value, share of the user's events and how often that is of what is usual; the highest first.

    Empty where no interests were made.
    """
    need = (I.USER, "attribute", "value", "rank", "strength", "lift")
    try:
        table = inputs.table(INTERESTS, need=need, among=(I.USER, users))
    except Absent:
        return {}
    first = table[table["rank"] == 1].sort_values(
        [I.USER, "lift", "attribute"], ascending=[True, False, True], kind="stable"
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for line in first.groupby(I.USER, sort=False).head(STRONGEST).itertuples():
        told = {"attribute": named(line.attribute), "value": line.value}
        told |= {"share": float(line.strength), "lift": float(line.lift)}
        found.setdefault(line.user_id, []).append(told)
    return found


def _history(inputs: Inputs, users: list[str]) -> pd.DataFrame:
    """user_id, item_id, times, last (a date), how; the latest first within a user."""
    parts = [
        inputs.table(
            f"{SPLIT}/{part}.parquet",
            need=(I.USER, I.ITEM, I.TIME, I.EVENT),
            among=(I.USER, users),
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
    """A function from item_id to its title, kind (category and brand) and, where the product has one, its picture."""
    table = inputs.table(
        f"{SPLIT}/products.parquet",
        need=(P.ITEM, P.TITLE),
        like=(P.CATEGORY, P.BRAND, P.IMAGE),
        among=(P.ITEM, items),
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
        kinds = (record.get(P.CATEGORY), record.get(P.BRAND))
        return {
            "title": record.get(P.TITLE) or item,
            "kind": " · ".join(kind for kind in kinds if isinstance(kind, str) and kind),
            "picture": pictures.get(record.get(P.IMAGE) or "", ""),
        }

    return describe


def _why(line: Any, before: Any, goods: Any) -> dict[str, str]:
    """The words of a reason and, where an earlier item is its cause, that item's title.

    before: the user's history with the item itself, or None.
    """
    text = REASONS.get(line.reason, line.reason)
    if line.reason == "again" and before is not None:
        text = f"{before.how.capitalize()} {before.times:,}×, last on {before.last}"
    cause = line.reason_item_id
    return {"text": text, "title": goods(cause)["title"] if isinstance(cause, str) else ""}
