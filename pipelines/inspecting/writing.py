"""Putting a proposal into `params.yaml` and `dvc.yaml`: only what is said anew changes, comments stay."""

import io
import json
import re
from pathlib import Path
from typing import Any

from pipelines.harness import BadConfig, Bug
from pipelines.harness.documents import parse
from pipelines.inspecting.proposal import Proposal
from pipelines.sources import files
from pipelines.sources.shop import STAGES, ShopParams

MARK = "  # own shop"
"""Behind each dep of `dvc.yaml` that this module wrote."""


def as_data(shop: ShopParams) -> dict[str, Any]:
    """The section as YAML has it: what says no more than the default is left out."""
    found: dict[str, Any] = shop.model_dump(exclude_defaults=True)
    return found


def write(root: Path, proposal: Proposal) -> None:
    """Write the section `shop`, the attributes to learn, the monitor's limit and the files that DVC watches. The caller holds the lock.

    Raises `BadConfig` where a file is not as it came, so that the place can't be found.
    """
    shop = proposal.shop()
    params, graph = root / "params.yaml", root / "dvc.yaml"
    text = with_shop(params.read_text(encoding="utf-8"), as_data(shop))
    if proposal.attributes:
        text = with_value(text, "split", "attributes", proposal.attributes)
        text = with_value(text, "split", "picture_attribute", proposal.picture_attribute)
    if proposal.max_age_days is not None:
        text = with_value(text, "monitor", "max_age_days", proposal.max_age_days)
    deps = with_deps(graph.read_text(encoding="utf-8"), shop)
    if parse(text)["shop"] != as_data(shop):
        raise Bug(
            "what was written into params.yaml does not read as it was meant; nothing changed"
        )
    for path, new in ((params, text), (graph, deps)):
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(new, encoding="utf-8")
        partial.replace(path)


def with_shop(text: str, shop: dict[str, Any]) -> str:
    """The text of `params.yaml` with another section `shop`; comments inside the old one stay where their keys do."""
    from ruamel.yaml import YAML

    lines = text.splitlines(keepends=True)
    at = next((at for at, line in enumerate(lines) if line.startswith("shop:")), None)
    if at is None:
        raise BadConfig("params.yaml has no section `shop`: add the line `shop: {}`")
    end = at + 1
    while end < len(lines) and (lines[end].startswith(" ") or not lines[end].strip()):
        end += 1
    while end > at + 1 and not lines[end - 1].strip():
        end -= 1
    tool = YAML()
    tool.width = 110
    tool.indent(mapping=2, sequence=4, offset=2)
    old = tool.load("".join(lines[at:end]))
    comment = re.search(r"\s#.*$", lines[at])
    body: Any = shop
    if old["shop"] and shop:
        body = old["shop"]
        _renew(body, shop)
    written = io.StringIO()
    tool.dump({"shop": body}, written)
    block = written.getvalue()
    first, _, rest = block.partition("\n")
    head = f"{first}{comment.group(0).rstrip() if comment and '#' not in first else ''}\n"
    return "".join([*lines[:at], head.replace("shop: #", "shop:  #"), rest, *lines[end:]])


def _renew(old: Any, new: Any) -> None:
    """Make a commented mapping or list say what `new` says."""
    if isinstance(new, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        for key, value in new.items():
            if key in old and type(value) in (dict, list) and isinstance(old[key], type(value)):
                _renew(old[key], value)
            elif old.get(key) != value or key not in old:
                old[key] = value
        return
    for at, value in enumerate(new):
        if at < len(old) and isinstance(value, dict) and isinstance(old[at], dict):
            _renew(old[at], value)
        elif at < len(old):
            if old[at] != value:
                old[at] = value
        else:
            old.append(value)
    del old[len(new) :]


def with_value(text: str, section: str, key: str, value: Any) -> str:
    """The text with `section.key` set in its one line, its comment kept. Raises `BadConfig` where it has no such line."""
    lines = text.splitlines(keepends=True)
    inside = False
    for at, line in enumerate(lines):
        if line.strip() and not line.startswith((" ", "#")):
            inside = line.startswith(f"{section}:")
        if inside and line.startswith(f"  {key}:"):
            comment = re.search(r"\s+#.*$", line.rstrip("\n"))
            shown = json.dumps(value, ensure_ascii=False)
            lines[at] = f"  {key}: {shown}{comment.group(0) if comment else ''}\n"
            return "".join(lines)
    raise BadConfig(f"params.yaml: section {section} has no line for {key}")


def with_deps(text: str, shop: ShopParams) -> str:
    """The text of `dvc.yaml` in which each ingest stage names the files that it reads, and no others of a shop."""
    lines = [line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(MARK)]
    wanted: dict[str, list[str]] = {}
    for table, stage in STAGES.items():
        for part in shop.parts(table):
            for pattern in part.files:
                paths = wanted.setdefault(stage, [])
                if files.watched(pattern) not in paths:
                    paths.append(files.watched(pattern))
    for stage, paths in wanted.items():
        start = lines.index(f"  {stage}:\n")
        at = lines.index("    deps:\n", start) + 1
        lines[at:at] = [f"      - {json.dumps(path, ensure_ascii=False)}{MARK}\n" for path in paths]
    return "".join(lines)
