"""Register a bundle and make it champion where it beats the one there is: `python -m pipelines.promote sentiment`.

The order of writes is what keeps a killed run harmless: the journal first, the alias `champion` after it in one write.
Whatever was cut off, the next run finishes. What a person decides is in `pipelines.verdict`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from models.bundle import manifest_hash
from pipelines.harness import BadData, Params, Run, VitrineError, stage
from pipelines.harness.params import flat, merged, read_params
from pipelines.harness.tracking import BUNDLE_TAG
from pipelines.journal import FAILED, PROMOTED, REFUSED, REJECTED, ROLLED_BACK, WAITS, Journal
from pipelines.promotion.card import Facts, encoders, lexicons, provenance, write_card
from pipelines.promotion.decision import Case, Decision, Rules, decide
from pipelines.promotion.frozen import (
    ROW,
    SCORE,
    Scores,
    Seal,
    check_scores,
    check_seal,
    cut_dates,
    read_scores,
    row_dates,
)
from pipelines.promotion.registry import (
    CHALLENGER,
    CHAMPION,
    SECONDS,
    TRAINED,
    VERDICT,
    Registry,
    Unreadable,
    Version,
    registered_name,
)
from pipelines.promotion.requirements import requirements

MEGABYTE = 1_000_000


class PromoteParams(Params):
    """margin: in the unit of the capability's metric. slice_drop: share of the reference's mean in the slice.

    min_slice_rows: smaller slices are not judged. side_drop: share of the reference's mean, for each figure beside the
    score. max_megabytes: size of a bundle. max_seconds: of a request. rounds: resamples of a bootstrap.
    """

    margin: float
    slice_drop: float
    min_slice_rows: int
    side_drop: dict[str, float]
    max_megabytes: float
    max_seconds: float
    rounds: int


@dataclass(frozen=True)
class Candidate:
    """What asks to be promoted: the scores that `evaluate` wrote, the rows, and the bundle."""

    capability: str
    scores: Scores
    rows: Path
    seal: Seal
    bundle: Path

    @property
    def megabytes(self) -> float:
        sizes = (path.stat().st_size for path in self.bundle.rglob("*") if path.is_file())
        return sum(sizes) / MEGABYTE


@stage
def promote(run: Run, params: PromoteParams) -> None:
    candidate = read_candidate(run)
    registry = Registry(run.state, run.tracker.client)
    journal = Journal(run.state)
    journal.belong(registry)
    rules = Rules(**params.model_dump(), seed=run.seed)
    version = register(run, registry, candidate)
    champion = settle(
        candidate, version, registry, journal, rules, run.promotion, f"run {run.tracker.run_id}"
    )
    line = journal.last(candidate.capability)
    if line and line["to"] == version.manifest:
        run.tracker.tag("decision", line["outcome"])
        run.tracker.tag("reason", line["reason"])
    else:
        run.tracker.tag("decision", version.tags.get(VERDICT, run.promotion))
    if champion is None:
        run.say("no champion: nothing is served for this capability")
    run.rows_in = run.rows_out = len(candidate.scores.table)
    run.measure("megabytes", candidate.megabytes)
    run.measure("challenger_is_champion", float(champion == version.manifest))
    write_receipt(run.output("receipt.json"), candidate, champion)


def read_candidate(run: Run) -> Candidate:
    """The challenger with its figures. Raises `BadData` where figures, rows and bundle don't belong together."""
    capability = run.instance or ""
    place = f"evaluate/{capability}"
    scores = read_scores(run.input(f"{place}/scores.parquet"))
    rows = run.input(f"{place}/rows")
    bundle = run.input(f"{capability}/bundle")
    seal = check_seal(rows)
    manifest = manifest_hash(bundle)
    if scores.bundle != manifest:
        raise BadData(
            f"data/{place}/scores.parquet was made with bundle {scores.bundle[:12]}, data/{capability}/bundle is "
            f"{manifest[:12]}: run `dvc repro evaluate@{capability}`"
        )
    if seal.part != "test" or seal != scores.seal:
        raise BadData(
            f"data/{place}: the scores are of rows {scores.seal.rows[:12]} ({scores.seal.part}), the frozen rows "
            f"are {seal.rows[:12]} ({seal.part}): run `dvc repro evaluate@{capability}`"
        )
    return Candidate(capability, scores, rows, seal, bundle)


def register(run: Run, registry: Registry, candidate: Candidate) -> Version:
    """The candidate's version, registered and loaded once by a process of its own."""
    example = run.input(f"evaluate/{candidate.capability}/example")
    manifest = candidate.scores.bundle
    version = registry.by_manifest(candidate.capability, manifest)
    if version is None:
        trained = run.tracker.made(candidate.capability, BUNDLE_TAG, manifest)
        figures = json.loads(
            run.input(f"evaluate/{candidate.capability}/metrics.json").read_text("utf-8")
        )
        card = write_card(facts(run, candidate, figures, trained))
        run.advance(0.2, "registering the bundle")
        version = registry.register(
            candidate.capability,
            candidate.bundle,
            models=run.root / "models",
            packages=requirements(run.root / "models", candidate.capability),
            example=example,
            card=card,
            tags={
                "test": candidate.seal.rows,
                "fitted": candidate.scores.learned.fitted,
                **({TRAINED: trained} if trained else {}),
                "git_commit": run.tracker.commit,
                "profile": run.profile,
                "metric": candidate.scores.metric,
                "quality": f"{figures['headline']['value']:.6f}",
                "baseline": figures["headline"]["baseline"],
                "baseline_quality": f"{figures['headline']['baseline_value']:.6f}",
            },
            run_id=run.tracker.run_id,
            scratch=run.partial / ".scratch",
            about=run.graph.nodes[candidate.capability].desc,
        )
        run.tracker.client.log_text(run.tracker.run_id, card, "model_card.md")
        run.say(f"registered {version.name} version {version.number}")
    if SECONDS not in version.tags:
        run.advance(0.5, "loading the registered version elsewhere")
        seconds = f"{registry.check(version, example):.4f}"
        registry.tag(version, SECONDS, seconds)
        version = replace(version, tags={**version.tags, SECONDS: seconds})
    return version


def facts(run: Run, candidate: Candidate, figures: Mapping[str, Any], trained: str | None) -> Facts:
    """What the candidate's card is written from. trained: the run that made the bundle, where MLflow knows it."""
    from pipelines.capabilities import capability

    split = run.input(
        next(dep for dep in run.node.deps if dep.startswith("data/split/")).removeprefix("data/")
    )
    document = read_params(run.root)
    name = candidate.capability
    return Facts(
        name=registered_name(name),
        about=run.graph.nodes[name].desc,
        profile=run.profile,
        commit=run.tracker.commit,
        manifest=candidate.scores.bundle,
        rows=candidate.seal.rows,
        fitted=candidate.scores.learned.fitted,
        run=run.tracker.page(trained) if trained else "",
        figures=figures,
        params=flat(merged({**document, "profile": run.profile}, name)),
        sources=provenance([split])
        + encoders(encoder_folders(run, name))
        + lexicons(deps_of(run, name)),
        dates={
            **{name: when for name, when in cut_dates(split).items() if when},
            **row_dates(split, capability(name).TIME),
            "registered": f"{datetime.now(UTC):%Y-%m-%d}",
        },
        megabytes=candidate.megabytes,
    )


def deps_of(run: Run, capability: str) -> set[str]:
    """What the capability's stage, and those that it is made from, read."""
    stages = {capability, *run.graph.upstream(capability)}
    return {dep for name in stages for dep in run.graph.nodes[name].deps}


def encoder_folders(run: Run, capability: str) -> list[Path]:
    """The folders of the frozen encoders that the capability, or a stage that it is made from, reads."""
    found = sorted(
        dep for dep in deps_of(run, capability) if dep.startswith("data/ingest-encoders/")
    )
    return [run.input(dep.removeprefix("data/")) for dep in found]


def settle(
    candidate: Candidate,
    version: Version,
    registry: Registry,
    journal: Journal,
    rules: Rules,
    mode: str,
    who: str,
) -> str | None:
    """Decide on a registered version, write the decision down and move the aliases; returns the champion's manifest.

    mode: `automatic` moves them, `ask` leaves the champion to a person, `never` leaves all as it is. Raises
    `Unreadable` where the champion can't be scored: the reason is in the journal, and nothing moved.
    """
    name = candidate.capability
    aliases = registry.aliases(name)
    champion = aliases.get(CHAMPION)
    if champion and champion.manifest == version.manifest:
        if aliases.get(CHALLENGER) == champion:
            registry.drop(name, CHALLENGER)
        return champion.manifest
    standing = champion.manifest if champion else None
    if mode == "never":
        return standing
    if aliases.get(CHALLENGER) != version:
        registry.point(name, CHALLENGER, version)
    verdict = version.tags.get(VERDICT)
    if verdict in (REJECTED, ROLLED_BACK):
        print(f"{name}: a person decided on this version ({verdict}); it is not promoted by itself")
        return standing
    entry = decided(candidate, version, champion, registry, journal, rules, mode, who)
    print(f"{name}: {entry['outcome']}: {entry['reason']}")
    if entry["outcome"] == FAILED:
        raise Unreadable(
            f"{name}: the champion can't be scored, so nothing was promoted: {entry['reason']}. "
            f"`python -m pipelines.verdict rollback {name}` brings the one before back, `approve {name}` "
            "puts the challenger in its place"
        )
    if entry["outcome"] != PROMOTED:
        return standing
    registry.crown(name, version, champion)
    return version.manifest


def decided(
    candidate: Candidate,
    version: Version,
    champion: Version | None,
    registry: Registry,
    journal: Journal,
    rules: Rules,
    mode: str,
    who: str,
) -> dict[str, Any]:
    """The journal's line on this candidate: the one there is for equal inputs, or a new one."""
    key = inputs_key(candidate, champion, rules, mode)
    last = journal.last(candidate.capability)
    if last and last["key"] == key and last["outcome"] in (PROMOTED, REFUSED, WAITS):
        journal.moor(last, registry)
        return last
    common = {
        "who": who,
        "capability": candidate.capability,
        "from": champion.manifest if champion else None,
        "to": candidate.scores.bundle,
        "test": candidate.seal.rows,
        "key": key,
    }
    try:
        case = make_case(candidate, version, champion, registry)
    except VitrineError as error:
        return journal.record({**common, "outcome": FAILED, "reason": str(error)}, registry)
    decision = decide(case, rules)
    outcome = REFUSED
    if decision.promote:
        outcome = PROMOTED if mode == "automatic" else WAITS
    entry = {**common, **told(case, decision, candidate), "outcome": outcome}
    return journal.record(entry, registry)


def told(case: Case, decision: Decision, candidate: Candidate) -> dict[str, Any]:
    """A decision as the journal keeps it."""
    return {
        "reason": decision.reason,
        "metric": candidate.scores.metric,
        "reference": case.reference_name,
        "challenger_mean": round(float(case.challenger[SCORE].mean()), 6),
        "reference_mean": round(float(case.reference[SCORE].mean()), 6) if decision.gain else None,
        "gain": asdict(decision.gain) if decision.gain else None,
        "guards": [asdict(guard) for guard in decision.guards],
    }


def make_case(
    candidate: Candidate, version: Version, champion: Version | None, registry: Registry
) -> Case:
    """Challenger and reference on the same frozen rows; a champion is fetched, verified and scored here and now.

    Raises `Unreadable` where it can't be.
    """
    from pipelines.capabilities import capability

    scores = candidate.scores
    if champion is None:
        best = scores.best_baseline()
        reference = scores.table[[ROW, best]].rename(columns={best: SCORE})
        name = best
    else:
        reference = champion_scores(candidate, champion, registry)
        name = "champion"
    return Case(
        challenger=scores.table,
        reference=reference,
        reference_name=name,
        first=champion is None,
        megabytes=candidate.megabytes,
        seconds=float(version.tags[SECONDS]),
        learned=scores.learned,
        expected_rows=scores.seal.rows,
        found_rows=candidate.seal.rows,
        sides=capability(candidate.capability).SIDES,
    )


def champion_scores(candidate: Candidate, champion: Version, registry: Registry) -> pd.DataFrame:
    """The champion's scores on the candidate's rows."""
    from models.kinds import load_model
    from pipelines.capabilities import capability

    with registry.fetch(champion) as folder:
        try:
            judge = capability(candidate.capability)
            table = judge.score(load_model(folder), candidate.rows)
            return check_scores(table, f"{champion.name} version {champion.number}")
        except (
            Exception
        ) as error:  # whatever a stored model of another day does wrong, it fails closed
            raise Unreadable(
                f"{champion.name} version {champion.number} can't be scored: {type(error).__name__}: {error}"
            ) from error


def inputs_key(candidate: Candidate, champion: Version | None, rules: Rules, mode: str) -> str:
    """Identity of everything that a decision depends on."""
    inputs = {
        "challenger": candidate.scores.bundle,
        "champion": champion.manifest if champion else None,
        "rows": candidate.seal.rows,
        "scores": candidate.scores.digest,
        "rules": asdict(rules),
        "mode": mode,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def write_receipt(path: Path, candidate: Candidate, champion: str | None) -> None:
    """What stands now: no version number and no time, so that nothing after it runs again for nothing."""
    note = {
        "capability": candidate.capability,
        "champion": champion,
        "metric": candidate.scores.metric,
        "name": registered_name(candidate.capability),
        "test": candidate.seal.rows,
    }
    path.write_text(json.dumps(note, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    promote.main()
