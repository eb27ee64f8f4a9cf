"""From looks to a proposal: by a known layout where one fits, else by names, types, values and overlaps of keys."""

import functools
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.harness import BadConfig
from pipelines.harness.documents import parse
from pipelines.inspecting import times, words
from pipelines.inspecting.looking import Look, Unusable, commonest, overlap
from pipelines.inspecting.proposal import Proposal
from pipelines.sources.columns import FALSE
from pipelines.sources.shop import LeaveOut, Take, When
from pipelines.tables import TABLES

KEYS = 0.5
"""The share of keys that must be found on the other side to speak for a link."""
MOST_VALUES = 60
"""An attribute or a feature has no more of them."""
MOST_ATTRIBUTES = 8
PROGRAM = 300
"""Views and carts of one user in one minute that no person makes."""
STARS = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}
"""What each fifth of a scale says."""
EVENTS = ("view", "cart", "purchase")


@functools.cache
def layouts() -> dict[str, dict[str, Any]]:
    """The known layouts by name."""
    text = Path(__file__).with_name("layouts.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = parse(text)
    return found


def propose(looks: list[Look], refused: list[Unusable], chosen: dict[str, str]) -> Proposal:
    """Propose a mapping of all that was looked at."""
    proposal = Proposal(chosen)
    proposal.unusable += [f"{item.name}: {item.why}" for item in refused]
    tables = [one for one in looks if one.part.format not in ("archive", "pictures")]
    rest = [one for one in tables if not by_layout(one, proposal)]
    named = []
    for one in rest:
        if one.part.format == "sequences":
            sequences(one, proposal)
        elif one.part.format != "map":
            table = table_of(one, chosen)
            if table is None and all(candidates(one, role) for role in ("user_id", "item_id")):
                proposal.unusable.append(
                    f"{one.name}: it has users and items, and no column that tells the time ({', '.join(one.columns)[:200]}). "
                    "Name it: --choose interactions.timestamp=ITS_COLUMN"
                )
            elif table is None:
                proposal.unusable.append(
                    f"{one.name}: its columns ({', '.join(one.columns)[:200]}) fit no table. Name them: "
                    "--choose TABLE.COLUMN=ITS_COLUMN"
                )
            else:
                named.append((list(MAKERS).index(table), table, one))
    for _, table, one in sorted(named, key=lambda entry: entry[0]):
        proposal.grounds.setdefault(table, []).extend([f"{one.name}:", *one.notes])
        MAKERS[table](one, proposal, looks)
    for one in rest:
        if one.part.format == "map":
            keyed(one, proposal, looks)
    for one in looks:
        if one.part.format in ("archive", "pictures"):
            pictures(one, proposal, looks)
    attributes(proposal, looks)
    return proposal


def by_layout(one: Look, proposal: Proposal) -> bool:
    """Add what a known layout says of these files; False where none fits. Of each table the first rule holds."""
    there = {name.lower() for name in one.columns}
    for name, layout in layouts().items():
        rules: dict[str, dict[str, Any]] = {}
        for rule in layout["tables"]:
            if all(column.lower() in there for column in rule["needs"]):
                rules.setdefault(rule["table"], rule)
        for table, rule in rules.items():
            columns = {**rule["columns"], **_optional(rule, there)}
            own: dict[str, Any] = {
                key: rule[key] for key in ("distinct", "unreadable") if key in rule
            }
            # A currency is that of prices.
            constants = {
                ours: text
                for ours, text in rule.get("constants", {}).items()
                if ours != "currency" or "price" in columns
            }
            part = one.part.model_copy(
                update={
                    **own,
                    "constants": constants,
                    "columns": {ours: _take(theirs) for ours, theirs in columns.items()},
                    "time": When(**rule.get("time", {})),
                    "leave_out": [LeaveOut(**entry) for entry in rule.get("leave_out", [])],
                }
            )
            needs = ", ".join(rule["needs"])
            grounds = [f"{one.name}: {layout['about']} (by its columns {needs})", *one.notes]
            told = _untold(one, proposal, table, {**part.columns, **part.constants})
            part = part.model_copy(update={"constants": {**part.constants, **told}})
            proposal.add(table, part, grounds)
        if rules:
            proposal.layouts[name] = layout["licence"]
            return True
    return False


def _untold(one: Look, proposal: Proposal, table: str, told: dict[str, Any]) -> dict[str, str]:
    """Constants that a layout leaves to the shop: what happened, the currency of prices."""
    if table == "interactions" and "event" not in told:
        return {"event": _what_happened(one, proposal)}
    if table == "products" and "price" in told and "currency" not in told:
        return _currency(one, proposal, one.column(str(told["price"])))
    return {}


def _what_happened(one: Look, proposal: Proposal) -> str:
    question = f"{one.name}: what happened in each row?"
    return proposal.ask("interactions.event", question, EVENTS) or EVENTS[0]


def _take(entry: str | dict[str, Any]) -> str | Take:
    return entry if isinstance(entry, str) else Take(**entry)


def _optional(rule: dict[str, Any], there: set[str]) -> dict[str, Any]:
    found = {}
    for ours, theirs in rule.get("optional", {}).items():
        column = theirs if isinstance(theirs, str) else theirs["column"]
        if column.lower() in there:
            found[ours] = theirs
    return found


def sequences(one: Look, proposal: Proposal) -> None:
    """Interactions of a file of sequences."""
    part = one.part.model_copy(
        update={
            "columns": {"user_id": "user", "item_id": "item", "timestamp": "moment"},
            "constants": {"event": "purchase"},
            "time": When(unit="s"),
        }
    )
    grounds = [f"{one.name}: {note}" for note in one.notes] + [
        "times are made: all users end at one day, and a user's events lie four weeks apart, in their order"
    ]
    event = proposal.chosen.get("interactions.event")
    if event:
        proposal.used.add("interactions.event")
        part = part.model_copy(update={"constants": {"event": event}})
    proposal.add("interactions", part, grounds)


def keyed(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """Products of one JSON object whose keys are items."""
    keys = one.texts("key")
    share = overlap(keys, _items(proposal, looks))
    if share < KEYS:
        proposal.unusable.append(
            f"{one.name}: one JSON object, whose keys are no items of the interactions ({share:.0%} of them)"
        )
        return
    listed = all(cell.startswith("[") for cell in one.texts("value"))
    value = Take(column="value", list=True) if listed else Take(column="value")
    part = one.part.model_copy(update={"columns": {"item_id": "key", "title": value}})
    grounds = [f"{one.name}: {note}" for note in one.notes] + [
        f"item_id: key ({share:.0%} of the keys are items of the interactions)"
    ]
    grounds.append("title: the values, for want of a name")
    proposal.add("products", part, grounds)


def _items(proposal: Proposal, looks: list[Look]) -> set[str]:
    """The item ids of the interactions that are proposed, as far as they were looked at."""
    return _cells(proposal, looks, "interactions", "item_id")


def _cells(proposal: Proposal, looks: list[Look], table: str, column: str) -> set[str]:
    found: set[str] = set()
    for part in proposal.parts.get(table, []):
        for one in looks:
            take = part.columns.get(column)
            if one.part.files == part.files and isinstance(take, str):
                real = next((c for c in one.columns if c.lower() == take.lower()), None)
                if real and real in one.rows.column_names:
                    found.update(one.texts(real))
    return found


def candidates(one: Look, role: str) -> list[str]:
    """Columns whose name speaks for a role, the surest first."""
    ranked = [(words.rank(role, name), name) for name in one.columns]
    return [name for place, name in sorted((p, n) for p, n in ranked if p is not None)]


def pick(one: Look, proposal: Proposal, table: str, role: str, must: bool = False) -> str | None:
    """The column of a role: the only candidate, or the one that was chosen; several are a question where `must`."""
    key = f"{table}.{role}"
    chosen = proposal.chosen.get(key)
    if chosen and chosen in one.columns:
        proposal.used.add(key)
        proposal.grounds.setdefault(table, []).append(f"{role}: {chosen} (chosen)")
        return chosen
    found = candidates(one, role)
    if not found:
        return None
    if len(found) > 1 and must:
        shown = "; ".join(f"{name}: {', '.join(one.texts(name)[:3])}" for name in found)
        proposal.ask(key, f"{one.name}: which column is {role}? {shown}", tuple(found))
        return None
    others = f"; also possible: {', '.join(found[1:])}" if found[1:] else ""
    proposal.grounds.setdefault(table, []).append(
        f"{role}: {found[0]} (its name; as {', '.join(one.texts(found[0])[:2])!r}{others})"
    )
    return found[0]


def table_of(one: Look, chosen: Mapping[str, str]) -> str | None:
    """The table that the names of the columns speak for, or those that were chosen."""
    has = {role for role in words.ROLES if candidates(one, role)}
    has |= {key.partition(".")[2] for key, value in chosen.items() if value in one.columns}
    if {"question", "item_id"} <= has:
        return "questions"
    if "text" in has and not {"title", "item_id", "price"} <= has:
        return "reviews"
    if {"user_id", "item_id", "timestamp"} <= has:
        return "interactions"
    if "title" in has and ("item_id" in has or "id" in map(words.plain, one.columns)):
        return "products"
    if "user_id" in has and "item_id" not in has and len(one.columns) > 1:
        return "users"
    return None


def _time(one: Look, proposal: Proposal, table: str, column: str) -> When:
    """How a column of times is written, as far as it can be told; what a person must tell is asked."""
    zone = proposal.chosen.get(f"{table}.zone", "UTC")
    if f"{table}.zone" in proposal.chosen:
        proposal.used.add(f"{table}.zone")
    kind = one.typed(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        proposal.grounds[table].append(f"times: of type {kind}, zone {zone} where they have none")
        return When(zone=zone)
    ways, why = times.guess(one.texts(column))
    key = f"{table}.time"
    answer = proposal.chosen.get(key, "")
    if "%" in answer:
        proposal.used.add(key)
        ways, why = [When(formats=[answer])], "chosen"
    if len(ways) > 1:
        given = proposal.ask(key, f"{one.name}: {why}", ("day-first", "month-first"))
        if given is None:
            return When()
        ways, why = [ways[0] if given == "day-first" else ways[1]], "chosen"
    if not ways:
        proposal.ask(
            key, f"{one.name}, {column}: {why}; how is it written (as strptime has it)?", ("%…",)
        )
        return When()
    proposal.grounds[table].append(f"times: {why}")
    return ways[0].model_copy(update={"zone": zone})


def _number(one: Look, proposal: Proposal, table: str, columns: list[str]) -> dict[str, str]:
    """Decimal sign and thousands separator of columns, as settings of a part."""
    cells = [
        cell for name in columns if pa.types.is_string(one.typed(name)) for cell in one.texts(name)
    ]
    if not cells:
        return {}
    column = ", ".join(columns)
    ways, why = times.numbers(cells)
    if len(ways) > 1:
        given = proposal.ask(f"{table}.decimal", f"{one.name}, {column}: {why}", ("point", "comma"))
        ways = [way for way in ways if given and way[0] == {"point": ".", "comma": ","}[given]]
    if not ways:
        return {}
    proposal.grounds[table].append(f"numbers: {why}")
    return {"decimal": ways[0][0], "thousands": ways[0][1]}


def interactions(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """Events: user, item, time; what happened; quantity, price, order."""
    table = "interactions"
    columns: dict[str, str | Take] = {}
    update: dict[str, Any] = {}
    for role in ("user_id", "item_id", "timestamp"):
        name = _linked(one, proposal, looks) if role == "item_id" else None
        name = name or pick(one, proposal, table, role, must=True)
        if name:
            columns[role] = name
    for role in ("value", "price", "order_id"):
        name = pick(one, proposal, table, role)
        if name:
            columns[role] = name
    constants: dict[str, str] = {}
    told: dict[str, str] = {}
    event = None
    if candidates(one, "event"):
        event = pick(one, proposal, table, "event", must=True)
        if event:
            told = _events(one, proposal, event)
            columns["event"] = Take(column=event, values=told)
    elif candidates(one, "rating") and not {"value", "order_id"} & set(columns):
        stars = pick(one, proposal, table, "rating", must=True)
        constants["event"] = "rating"
        if stars:
            columns["value"] = stars
            proposal.grounds[table].append(f"event: rating (it has {stars})")
    elif {"value", "order_id"} & set(columns):
        constants["event"] = "purchase"
        proposal.grounds[table].append("event: purchase (it has a quantity or an order)")
    else:
        # Views are told with prices, too.
        constants["event"] = _what_happened(one, proposal)
    if "timestamp" in columns:
        update["time"] = _time(one, proposal, table, str(columns["timestamp"]))
    figures = [str(columns[role]) for role in ("price", "value") if role in columns]
    update |= _number(one, proposal, table, figures)
    update["leave_out"] = _tests(one, proposal, table)
    nothing = [value for value, kind in told.items() if not kind]
    if event and nothing:
        update["leave_out"] = [*update["leave_out"], LeaveOut(column=event, values=nothing)]
    proposal.bots_above = _programs(proposal)
    part = one.part.model_copy(update={**update, "columns": columns, "constants": constants})
    proposal.add(table, part, [])


def _programs(proposal: Proposal) -> int:
    """Above how many views and carts a minute a user is a program; 0: none is looked for."""
    key = "interactions.bots_above"
    given = proposal.chosen.get(key)
    if given is not None:
        proposal.used.add(key)
        if not given.isdecimal():
            raise BadConfig(f"--choose {key}={given}: a whole number is needed, 0 for no such rule")
    above = PROGRAM if given is None else int(given)
    how = "chosen" if given is not None else f"another number, or 0: --choose {key}=0"
    proposal.grounds["interactions"].append(
        f"left out: users with more than {above} views and carts in one minute, as programs ({how})"
        if above
        else "programs are not looked for (chosen)"
    )
    return above


def _linked(one: Look, proposal: Proposal, looks: list[Look]) -> str | None:
    """Of several columns that may name the item the one whose values are keys of another file."""
    found = candidates(one, "item_id")
    if len(found) < 2 or "interactions.item_id" in proposal.chosen:
        return None
    keys: set[str] = set()
    for other in looks:
        if other is not one and candidates(other, "title"):
            for name in candidates(other, "item_id") + [
                name for name in other.columns if words.plain(name) == "id"
            ]:
                keys |= set(other.texts(name))
    shares = {name: overlap(one.texts(name), keys) for name in found}
    best = [name for name, share in shares.items() if share >= KEYS]
    if len(best) != 1:
        return None
    proposal.grounds.setdefault("interactions", []).append(
        f"item_id: {best[0]} ({shares[best[0]]:.0%} of its values are products; of no other candidate)"
    )
    return best[0]


def _events(one: Look, proposal: Proposal, column: str) -> dict[str, str]:
    """What each value of a column of events is; empty where it is none of ours."""
    values = {}
    for value in commonest(one.texts(column), MOST_VALUES):
        word = words.plain(value)
        known = next((event for event, names in words.EVENTS.items() if word in names), None)
        if known is None:
            options = ("view", "cart", "purchase", "rating", "none")
            given = proposal.ask(
                f"interactions.event.{value}", f"{one.name}: what is the event {value!r}?", options
            )
            known = "" if given in (None, "none") else given
        values[value] = known or ""
    proposal.grounds["interactions"].append(f"event: {column} ({values})")
    return values


def _tests(one: Look, proposal: Proposal, table: str) -> list[LeaveOut]:
    """Rules for test orders, where a column speaks of them and a person says so."""
    found = []
    for name in candidates(one, "leave_out"):
        values = [v for v in commonest(one.texts(name), 5) if v.lower() not in FALSE]
        if not values:
            continue
        given = proposal.ask(
            f"{table}.leave_out",
            f"{one.name}: does {name} mark test orders ({', '.join(values)})? Rows with that value are left out",
            (*(f"{name}:{value}" for value in values), "none"),
        )
        if given and given != "none":
            found.append(LeaveOut(column=name, values=[given.partition(":")[2]]))
    return found


def products(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """The catalogue, with further columns of few values as attributes."""
    table = "products"
    columns: dict[str, str | Take] = {}
    update: dict[str, Any] = {}
    key = pick(one, proposal, table, "item_id", must=True) or next(
        (name for name in one.columns if words.plain(name) == "id"), None
    )
    if key:
        columns["item_id"] = key
        share = overlap(list(_items(proposal, looks)), set(one.texts(key)))
        proposal.grounds[table].append(f"item_id: {key} (names {share:.0%} of the items in events)")
    for role in ("title", "description", "category", "brand", "price", "currency", "available"):
        name = pick(one, proposal, table, role, must=role in ("title", "price"))
        if name:
            columns[role] = name
    if "price" in columns:
        update |= _number(one, proposal, table, [str(columns["price"])])
        if "currency" not in columns:
            update["constants"] = _currency(one, proposal, str(columns["price"]))
    for name in one.columns:
        ours = words.column_name(name)
        if name in columns.values() or ours in TABLES[table].columns or ours in columns:
            continue
        if _attribute(one, name) and len(columns) < 30:
            columns[ours] = name
    part = one.part.model_copy(update={**update, "columns": columns})
    proposal.add(table, part, [])


def _currency(one: Look, proposal: Proposal, column: str) -> dict[str, str]:
    signs = {sign for cell in one.texts(column) for sign in re.findall(r"[€£₹]|[A-Z]{3}", cell)}
    if len(signs) == 1:
        sign = next(iter(signs))
        return {"currency": words.CURRENCIES.get(sign, sign)}
    given = proposal.ask(
        "products.currency",
        f"{one.name}: in which currency is {column} (three letters, as EUR)?",
        ("none", "…"),
    )
    return {"currency": given} if given and given != "none" else {}


def _attribute(one: Look, name: str) -> bool:
    """Whether a column has few values, each for several rows: what can be learnt and told."""
    cells = one.texts(name)
    distinct = set(cells)
    most = min(MOST_VALUES, max(2, len(cells) // 3))
    return len(cells) > one.rows.num_rows // 3 and 2 <= len(distinct) <= most


def users(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """Users, with columns of few values as features."""
    columns: dict[str, str | Take] = {}
    key = pick(one, proposal, "users", "user_id", must=True)
    if key:
        columns["user_id"] = key
        events = _cells(proposal, looks, "interactions", "user_id")
        share = overlap(list(events), set(one.texts(key)))
        proposal.grounds["users"].append(
            f"user_id: {key} (names {share:.0%} of the users in events)"
        )
    for name in one.columns:
        if name != key and _attribute(one, name):
            columns[words.column_name(name)] = name
    proposal.add("users", one.part.model_copy(update={"columns": columns}), [])


def reviews(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """Reviews; where user, item and time are told, ratings among the interactions too."""
    table = "reviews"
    columns: dict[str, str | Take] = {}
    update: dict[str, Any] = {}
    for role in ("text", "review_id", "item_id", "user_id", "title", "timestamp"):
        name = pick(one, proposal, table, role, must=role == "text")
        if name:
            columns[role] = name
    if "text" not in columns:
        proposal.add(table, one.part.model_copy(update={"columns": columns}), [])
        return
    if "review_id" not in columns:
        named = [
            columns[role] for role in ("user_id", "item_id", "timestamp", "text") if role in columns
        ]
        columns["review_id"] = Take(column=[str(name) for name in named], hash=True)
        update["distinct"] = True
        proposal.grounds[table].append(
            f"review_id: of {', '.join(map(str, named))}; equal rows are one"
        )
    if "timestamp" in columns:
        update["time"] = _time(one, proposal, table, str(columns["timestamp"]))
    stars = pick(one, proposal, table, "rating", must=True)
    if stars:
        columns["rating"] = stars
    if candidates(one, "label"):
        label = pick(one, proposal, table, "label", must=True)
        if label:
            columns["label"] = _labels(one, proposal, label)
    elif stars:
        found = _from_stars(one, proposal, stars)
        if found:
            columns["label"] = found
    languages = candidates(one, "language")
    if languages:
        columns["language"] = Take(
            column=languages[0],
            pattern="^[A-Za-z]{2}",
            values={"en": "en", "EN": "en", "zh": "zh", "ZH": "zh"},
        )
        update["unreadable"] = "empty"
        proposal.grounds[table].append(
            f"language: {languages[0]}; where it is neither en nor zh, told by each review's words"
        )
    else:
        proposal.grounds[table].append("language: no such column; told by each review's words")
    update["leave_out"] = [LeaveOut(column=str(columns["text"]), values=[""])]
    proposal.add(table, one.part.model_copy(update={**update, "columns": columns}), [])
    if {"user_id", "item_id", "timestamp"} <= set(columns) and stars:
        part = one.part.model_copy(
            update={
                "columns": {
                    **{role: columns[role] for role in ("user_id", "item_id", "timestamp")},
                    "value": stars,
                },
                "constants": {"event": "rating"},
                "time": update["time"],
            }
        )
        proposal.add("interactions", part, [f"{one.name}: each review is a rating too"])


def _labels(one: Look, proposal: Proposal, column: str) -> Take:
    values = {}
    for value in commonest(one.texts(column), 10):
        word = value.lower()
        known = next((label for label, names in words.LABELS.items() if word in names), None)
        if known is None or word in ("0", "1", "-1"):
            given = proposal.ask(
                f"reviews.label.{value}",
                f"{one.name}: what does the label {value!r} say?",
                ("positive", "neutral", "negative", "none"),
            )
            known = "" if given in (None, "none") else given
        values[value] = known or ""
    return Take(column=column, values=values)


def _from_stars(one: Look, proposal: Proposal, column: str) -> Take | None:
    """Labels from stars: of the fifths of the scale two are negative, the third is neutral. How long it is may be asked."""
    key, cells = "reviews.stars", one.texts(column)
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        proposal.grounds["reviews"].append(f"label: none, since {column} has more than numbers")
        return None
    least, top = min(numbers, default=0.0), max(numbers, default=0.0)
    if least < 0 or top > 10:
        proposal.grounds["reviews"].append(
            f"label: none, since {column} goes from {least:g} to {top:g}: no known scale of stars"
        )
        return None
    scale = "5"
    if not 4 <= top <= 5 or key in proposal.chosen:
        scale = (
            proposal.ask(
                key,
                f"{one.name}: {column} goes up to {top:g}. How many stars are the most (none: no labels)?",
                ("5", "10", "none"),
            )
            or "none"
        )
    if scale == "none":
        return None
    fifth = int(scale) // 5
    values = {
        f"{half / 2:g}": STARS[math.ceil(half / 2 / fifth)] for half in range(1, 2 * int(scale) + 1)
    }
    shown = ", ".join(f"{star * fifth} {STARS[star]}" for star in STARS)
    proposal.grounds["reviews"].append(
        f"label: of {column}, up to {scale} stars: to {shown}; 0 says nothing (another scale: --choose {key}=10)"
    )
    return Take(column=column, values={**values, "0": ""})


def questions(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """Questions about items; answers only where review and span are told in our own terms."""
    columns: dict[str, str | Take] = {}
    update: dict[str, Any] = {}
    for role in ("question", "item_id", "question_id", "review_id"):
        name = pick(one, proposal, "questions", role, must=role == "question")
        if name:
            columns[role] = name
    for role in ("start", "end"):
        if role in one.columns and "review_id" in columns:
            columns[role] = role
    if "start" not in columns:
        columns.pop("review_id", None)
    if "question_id" not in columns and "question" in columns:
        named = [str(columns[role]) for role in ("item_id", "question") if role in columns]
        columns["question_id"] = Take(column=named, hash=True)
        update["distinct"] = True
    proposal.add("questions", one.part.model_copy(update={**update, "columns": columns}), [])


def pictures(one: Look, proposal: Proposal, looks: list[Look]) -> None:
    """Pictures by their names; their folders are classes where no table tells them."""
    stems = one.texts("stem")
    columns: dict[str, str | Take] = {"image_key": "stem", "bytes": "bytes"}
    grounds = [f"{one.name}: {len(stems):,} pictures{'' if len(stems) < 20_000 else ' and more'}"]
    known = _cells(proposal, looks, "picture_labels", "image_key")
    items = _cells(proposal, looks, "products", "item_id")
    folders = set(one.texts("folder"))
    if known:
        grounds.append(
            f"label: of another table ({overlap(stems, known):.0%} of their names are in it)"
        )
    elif "cls" in one.rows.column_names and one.texts("cls"):
        classes = one.texts("cls")
        columns["label"] = "cls"
        grounds.append(
            f"label: the .cls file beside each picture ({len(classes) / len(stems):.0%} have one; "
            f"{', '.join(commonest(classes, 4))})"
        )
    elif 2 <= len(folders) <= max(len(stems) // 4, 2):
        columns["label"] = "folder"
        grounds.append(
            f"label: the folder ({len(folders)} of them: {', '.join(sorted(folders)[:4])}…)"
        )
    share = overlap(stems, items)
    parts = proposal.parts.get("products", [])
    if share >= KEYS and parts and "image_key" not in parts[0].columns:
        linked = {**parts[0].columns, "image_key": parts[0].columns["item_id"]}
        parts[0] = parts[0].model_copy(update={"columns": linked})
        proposal.grounds["products"].append(
            f"image_key: the item ({share:.0%} of the pictures are named so)"
        )
    proposal.add("images", one.part.model_copy(update={"columns": columns}), grounds)


def attributes(proposal: Proposal, looks: list[Look]) -> None:
    """Choose the columns of products that a model may fill in, and the one that pictures' labels tell."""
    known = {
        "item_id",
        "title",
        "description",
        "price",
        "currency",
        "available",
        "image_key",
        "brand",
        "category",
    }
    for part in proposal.parts.get("products", []):
        one = next(look for look in looks if look.part.files == part.files)
        for ours, theirs in part.columns.items():
            real = next(
                (c for c in one.columns if isinstance(theirs, str) and c.lower() == theirs.lower()),
                None,
            )
            if real and (ours in ("brand", "category") or ours not in known):
                distinct = len(set(one.texts(real)))
                if (
                    2 <= distinct <= max(one.rows.num_rows // 3, 2)
                    and ours not in proposal.attributes
                ):
                    proposal.attributes.append(ours)
        labels = proposal.parts.get("picture_labels", [])
        for ours in proposal.attributes:
            if any(part.columns[ours] == label.columns.get("label") for label in labels):
                proposal.picture_attribute = ours
    del proposal.attributes[MOST_ATTRIBUTES:]


MAKERS: dict[str, Callable[[Look, Proposal, list[Look]], None]] = {
    "interactions": interactions,
    "reviews": reviews,
    "products": products,
    "users": users,
    "questions": questions,
}
"""Who proposes each table, in this order: the later ones compare their keys with those of the events."""
