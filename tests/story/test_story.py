"""The life of a model, from its first lists to the day it is taken back: `make story` tells it and holds each step.

It is played on the made shop in a folder of its own, by the commands that a person would type. Nothing is staged but
the shop's clock and the settings of training: every figure, refusal and promotion is the pipeline's own.
"""

import datetime
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipelines import monitor
from pipelines.harness.params import read_params, set_choice
from pipelines.harness.shelf import file_hash
from pipelines.journal import APPROVED, PROMOTED, REFUSED, ROLLED_BACK, WAITS, Journal
from pipelines.lists import archive as list_archive
from pipelines.lists.archive import Kept
from pipelines.promotion.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from tests.pipeline.shop import Shop, make_shop

NAME = "recommender"
OLD_WEEKS = datetime.datetime(2024, 3, 25, tzinfo=datetime.UTC)
"""Twelve weeks after the made shop opened."""
LATER = datetime.timedelta(days=8)
"""A week and a day: lists are held against the seven days that came after them."""
HURRIED = ["item-cosine"]
SPOILT = ["attribute-popularity"]
SHOWN = 3
"""Places of a list that are told."""


@dataclass
class Story:
    """The shop that it is played on, and how far it is told. usual: its `params.yaml` as it came."""

    shop: Shop
    usual: dict[str, Any]
    chapters: int = 0

    def chapter(self, headline: str) -> None:
        self.chapters += 1
        print(f"\n{self.chapters}. {headline}\n", flush=True)

    def say(self, text: str) -> None:
        print("".join(f"   {line}\n" for line in text.splitlines()), end="", flush=True)

    def run(self, command: str, because: str = "", status: int = 0) -> str:
        """What a command prints, run as it would be typed; it must end with `status`."""
        words = command.removeprefix("python -m ").split()
        reason = ["--because", because] if because else []
        shown = f'{command} --because "{because}"' if because else command
        started = time.monotonic()
        done = self.shop.run(*words, *reason)
        self.say(f"$ {shown}   # {time.monotonic() - started:.0f} s")
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def lay(self, section: str, values: dict[str, Any]) -> None:
        """Lay values over those that the profile came with, in `params.yaml`."""
        path = self.shop.root / "params.yaml"
        document = yaml.safe_load(path.read_text("utf-8"))
        document["profiles"][document["profile"]][section] = {**self.came(section), **values}
        path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    def came(self, section: str) -> dict[str, Any]:
        """What the profile came with."""
        return self.usual["profiles"][self.usual["profile"]][section]

    def train_with(self, members: list[str]) -> None:
        """The members that the recommender may be made of; none: all that there are."""
        self.lay(NAME, {"members": members})
        self.say(f"params.yaml: {NAME}.members: {', '.join(members) or 'all that there are'}")

    def look_until(self, moment: datetime.datetime) -> None:
        """Let the shop's clock stand at `moment`."""
        self.lay("ingest-shop", {"until": moment.isoformat()})
        self.say(f"params.yaml: ingest-shop.until: {moment:%Y-%m-%d}")

    @property
    def line(self) -> dict[str, Any]:
        """The newest line of the journal on the recommender."""
        found = Journal(self.shop.state).last(NAME)
        assert found is not None, "the journal is empty"
        return found

    def standing(self) -> dict[str, str]:
        """Alias to version number, told."""
        found = {
            alias: version.number
            for alias, version in Registry(self.shop.state).aliases(NAME).items()
        }
        self.say("registry: " + ", ".join(f"{name} version {at}" for name, at in found.items()))
        return found

    def decided(self, outcome: str) -> dict[str, Any]:
        """The newest decision, told; it must have this outcome."""
        line = self.line
        gain = line.get("gain")
        if gain:
            self.say(
                f"{line['metric']}: challenger {line['challenger_mean']:.3f}, {line['reference']} "
                f"{line['reference_mean']:.3f}; gain [{gain['low']:+.3f}, {gain['high']:+.3f}]"
            )
        self.say(f"journal: {line['outcome']}: {line['reason']} (by {line['who'].split()[0]})")
        assert line["outcome"] == outcome, f"{line['outcome']}, {outcome} was to come"
        return line

    def lists(self) -> Kept:
        """The newest lists, told; they must be those that the stage made, of the champion that is served."""
        found = list_archive.newest(self.shop.state)
        assert found is not None, "no lists are kept"
        champion = Registry(self.shop.state).aliases(NAME)[CHAMPION]
        assert found.facts.champion == champion.manifest, "the lists are another model's"
        (made,) = (self.shop.root / "data" / "recommend").glob("*/lists.parquet")
        assert file_hash(found.lists) == file_hash(made), "what was delivered is not what was made"
        self.say(
            f"lists of {found.facts.users} customers, {found.facts.rows:,} rows, by version {champion.number}, "
            f"knowing all until {found.facts.moment:%Y-%m-%d %H:%M}"
        )
        return found


def first_places(kept: Kept) -> dict[str, list[str]]:
    """Customer to the items on the first places."""
    table = pd.read_parquet(kept.lists).sort_values(["user_id", "rank"])
    table = table[table["rank"] <= SHOWN]
    return table.groupby("user_id")["item_id"].agg(list).to_dict()


def changed(one: Kept, other: Kept) -> int:
    """How many customers see other items on the first places."""
    before, now = first_places(one), first_places(other)
    return sum(before.get(name) != items for name, items in now.items())


def test_the_life_of_a_model(tmp_path: Path, warm_python: Path) -> None:
    shop = make_shop(tmp_path / "shop", "tiny", warm_python)
    story, state = Story(shop, read_params(shop.root)), shop.state
    print(f"\nA model's life, on the made shop, in {shop.root}")

    story.chapter("Twelve weeks after it opened, the shop trains its first model, in a hurry")
    story.look_until(OLD_WEEKS)
    story.train_with(HURRIED)
    story.run("dvc repro deliver")
    first = story.decided(PROMOTED)
    assert first["from"] is None and first["gain"]["mean"] > 0
    assert story.standing() == {CHAMPION: "1"}

    story.chapter("Everybody has a list")
    old = story.lists()
    table = pd.read_parquet(old.lists)
    assert (table.groupby("user_id").size() == table["rank"].max()).all(), "a list is short"
    for row in table[table["user_id"] == "user-0007"].head(SHOWN).itertuples():
        told = [row.reason, row.reason_item_id] if row.reason_item_id else [row.reason]
        story.say(f"user-0007, place {row.rank}: {row.item_id}, {' '.join(told)}")

    story.chapter("A week passes: the monitor sees how the lists did, and asks for training")
    story.look_until(OLD_WEEKS + LATER)
    story.run("dvc repro validate-interactions")
    story.run("python -m pipelines.monitor")
    look = json.loads((monitor.folder(state) / "newest.json").read_text("utf-8"))
    for one in look["findings"]:
        if one["check"] == "quality":
            more = one["more"]
            story.say(
                f"{one['what']}: NDCG {one['value']:.3f} [{more['low']:.3f}, {more['high']:.3f}] against what "
                f"{more['users']} customers bought since; what was popular {more['popularity']:.3f}"
            )
            assert one["what"].startswith(f"lists of {old.facts.moment:%Y-%m-%d}")
    drifts = [one for one in look["findings"] if one["check"] == "drift"]
    loud = sum(one["alarm"] for one in drifts)
    story.say(f"drift: {len(drifts)} columns looked at, {loud} alarms")
    for alarm in look["alarms"]:
        story.say(f"alarm: {alarm}")
    assert look["train"] and any("days unseen by the models" in one for one in look["alarms"])

    story.chapter("It is trained anew, with a slip in the members: the worse model is refused")
    story.train_with(SPOILT)
    story.run("dvc repro deliver")
    refused = story.decided(REFUSED)
    assert refused["gain"]["high"] < 0, "it was to be worse beyond chance"
    assert refused["test"] != first["test"], "both were to be judged on the rows of the new week"
    assert story.standing() == {CHALLENGER: "2", CHAMPION: "1"}
    fresh = story.lists()
    assert fresh.facts.moment > old.facts.moment, "the lists were to know the new week"

    story.chapter("It is trained with care: the better model is asked for, and waits")
    story.train_with([])
    set_choice(shop.root, "promotion", "ask")
    story.say("params.yaml: promotion: ask")
    story.run("dvc repro deliver")
    waits = story.decided(WAITS)
    assert waits["test"] == refused["test"] and waits["from"] == first["to"]
    assert story.standing() == {CHALLENGER: "3", CHAMPION: "1"}
    assert file_hash(story.lists().lists) == file_hash(fresh.lists), "nothing was to change yet"

    story.chapter("A person looks at the figures and says yes; the lists follow")
    asked = story.run("python -m pipelines.verdict waiting")
    story.say("\n".join(line for line in asked.splitlines() if line.startswith(("Make", "|"))))
    assert waits["to"][:12] in asked
    story.run(f"python -m pipelines.verdict approve {NAME} --who Ada", "the gain is clear")
    story.decided(APPROVED)
    assert story.standing() == {CHAMPION: "3", PREVIOUS: "1"}
    story.run("dvc repro deliver")
    better = story.lists()
    other = changed(fresh, better)
    story.say(f"{other} customers see other items on the first {SHOWN} places")
    assert other > 0

    story.chapter("Second thoughts: the champion before comes back, and so do its lists")
    story.run(f"python -m pipelines.verdict rollback {NAME} --who Ada", "customers complain")
    story.decided(ROLLED_BACK)
    assert story.standing() == {CHALLENGER: "3", CHAMPION: "1"}
    story.run("dvc repro deliver")
    assert file_hash(story.lists().lists) == file_hash(fresh.lists), (
        "the lists were to be as before"
    )
    story.say("the lists are, byte for byte, those of before the approval")
    assert story.line["outcome"] == ROLLED_BACK, "no run may promote what a person took back"

    story.chapter("The journal tells all of it, and would tell if it were touched")
    told = story.run(f"python -m pipelines.journal show {NAME}")
    story.say("\n".join(line[:110] for line in told.splitlines()))
    outcomes = [entry["outcome"] for entry in Journal(state).entries()]
    assert outcomes == [PROMOTED, REFUSED, WAITS, APPROVED, ROLLED_BACK]
    story.say(story.run("python -m pipelines.journal verify"))
    text = state.journal.read_text("utf-8")
    state.journal.write_text(text.replace('"outcome": "refused"', '"outcome": "promoted"'), "utf-8")
    story.say(story.run("python -m pipelines.journal verify", status=1))
    state.journal.write_text(text, "utf-8")
    story.run("python -m pipelines.journal verify")
