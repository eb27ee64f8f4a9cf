"""What is proposed for a shop: mappings with their grounds, questions for a person, files that can't be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.harness import BadConfig
from pipelines.sources.shop import Part, ShopParams


@dataclass(frozen=True)
class Question:
    """What only a person can tell. key: how `--choose KEY=OPTION` names it."""

    key: str
    text: str
    options: tuple[str, ...]


@dataclass
class Proposal:
    """Collects what is proposed. chosen: the answers that were given, by key."""

    chosen: Mapping[str, str]
    parts: dict[str, list[Part]] = field(default_factory=dict)
    grounds: dict[str, list[str]] = field(default_factory=dict)
    """Table to the lines that say why."""
    questions: list[Question] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    """Columns of products that the attributes model may fill in."""
    picture_attribute: str = ""
    layouts: dict[str, str] = field(default_factory=dict)
    """Names of the layouts that fitted, to their licence."""
    used: set[str] = field(default_factory=set)
    bots_above: int = 0
    max_age_days: int | None = None
    """What the monitor's limit becomes; None: it stays as it is."""

    def add(self, table: str, part: Part, grounds: list[str]) -> None:
        self.parts.setdefault(table, []).append(part)
        self.grounds.setdefault(table, []).extend(grounds)

    def ask(self, key: str, text: str, options: tuple[str, ...]) -> str | None:
        """The answer that was given to a question; None, and the question is noted, where there is none yet.

        Raises `BadConfig` for an answer that is none of the options (`…` among them allows any).
        """
        answer = self.chosen.get(key)
        self.used.add(key)
        if answer is None:
            question = Question(key, text, options)
            if question not in self.questions:
                self.questions.append(question)
            return None
        if "…" not in options and answer not in options:
            raise BadConfig(f"--choose {key}={answer}: the options are {', '.join(options)}")
        return answer

    def shop(self) -> ShopParams:
        """The proposal as the section `shop`."""
        names = list(self.layouts) or ["own shop"]
        licences = list(dict.fromkeys(self.layouts.values())) or ["own"]
        return ShopParams(
            **self.parts,  # type: ignore[arg-type]
            bots_above=self.bots_above,
            source=", ".join(names),
            licence="; ".join(licences),
        )
