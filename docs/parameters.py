"""The page of every parameter, written from `params.yaml` and the typed classes that read it.

The build of the documentation calls `page`; to see it alone: `python -m docs.parameters`.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.harness.params import COMMON as SHARED
from pipelines.harness.params import TOP_LEVEL, merged

HEAD = """\
# Parameters

This page is written from `params.yaml` and from the classes that read it, at each build of the documentation.

A stage reads the section of its own name. The values of the chosen profile are laid over it, mappings in it key by key. A
key that the class does not know is refused, and so is a value of another type; the message names both. `towers.dim` is
the key `dim` of the mapping `towers`: the settings of a model, as its own class declares them. Sections that begin with
`door-` belong to the verbs of the benchmark door.

## The choices of a run

| key | value here | meaning |
|---|---|---|
"""
TOP = re.compile(r"^(\w+): *([^#\n]*?) *(?:# *(.*))?$")
INNER = re.compile(r"^  (\w+): *[^#\n]*# *(.*)$")
COMMON = {
    "seed": "of all that is drawn",
    "batch": "rows at a time",
    "epochs": "passes over the training rows",
    "rate": "of learning, at its highest",
    "decay": "of weights, per step",
    "dropout": "share of the inner values that a training step leaves out",
    "hidden": "width of the inner layer",
    "dim": "length of a vector",
    "width": "length of a vector",
    "mixup": "how strongly two training rows are blended; 0: not at all",
    "folds": "parts that the training rows are cut into, so that each is judged by what has not seen it",
    "rounds": "how often it is done again",
    "encoder": "`package`, `hub:NAME`, or one without weights (`hashing`, `pixels`)",
    "reranker": "`package`, `hub:NAME`, or one without weights (`overlap`)",
    "memory_gb": "what tables may take in memory; more goes to disk",
    "max_tokens": "of one text; what is longer is cut",
    "candidates": "sentences that are looked at closely",
    "layer_decay": "how much slower each layer below learns",
    "smoothing": "share of a label's weight that is spread over all labels",
    "valid_days": "length of the time before test that models are compared on",
    "test_days": "length of the time at the end that nothing is tuned on",
    "max_eval_rows": "of a task's valid and of its test part; above it some are drawn",
    "windows": "cuts in time that training examples are made at",
    "window_days": "length of one cut",
}
"""What names mean that many classes share, where the class says no more."""
YAML_END = "\n...\n"
WORD = re.compile(r"\b((?:\w+, )*\w+): ")


@dataclass(frozen=True)
class Kind:
    """A class of parameters as its source has it. fields: name to type; words: docstrings, those of bases first.

    settings: of each field that holds a model's settings, their class.
    """

    name: str
    module: str
    fields: Mapping[str, str]
    words: tuple[str, ...]
    settings: Mapping[str, "Kind"]


def kinds(root: Path) -> dict[str, Kind]:
    """Section of `params.yaml` to the class that reads it, read without importing what stages import.

    A choice of `SHARED` is the class of its name, in `models/`. The function under `@stage` says which; another class is named
    after its section: `DoorAnswerParams` reads `door-answer`.
    """
    classes: dict[str, tuple[str, ast.ClassDef]] = {}
    stages: dict[str, str] = {}
    settings = sorted(root.glob("models/*/settings.py"))
    for path in [*sorted(root.glob("pipelines/**/*.py")), *settings]:
        text = path.read_text("utf-8")
        if "Params" not in text and path not in settings:
            continue
        module = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = (module, node)
            elif isinstance(node, ast.FunctionDef) and any(
                ast.unparse(mark) == "stage" for mark in node.decorator_list
            ):
                annotation = node.args.args[1].annotation
                stages[node.name.replace("_", "-")] = ast.unparse(annotation) if annotation else ""
    found = {name: _kind(name.capitalize(), classes) for name in SHARED}
    for name in classes:
        if name.endswith("Params"):
            words = re.findall("[A-Z][a-z]*", name.removesuffix("Params"))
            found["-".join(words).lower()] = _kind(name, classes)
    return found | {section: _kind(name, classes) for section, name in stages.items()}


def _kind(name: str, classes: Mapping[str, tuple[str, ast.ClassDef]]) -> Kind:
    module, node = classes.get(name, ("", ast.ClassDef(name, [], [], [], [])))
    bases = [_kind(name, classes) for name in map(ast.unparse, node.bases) if name != "Params"]
    fields = {field: kind for base in bases for field, kind in base.fields.items()}
    for line in node.body:
        if isinstance(line, ast.AnnAssign):
            fields[ast.unparse(line.target)] = ast.unparse(line.annotation)
    own = (ast.get_docstring(node) or "",) if node.body else ()
    settings = {
        field: _kind(type_name, classes)
        for field, type_name in fields.items()
        if type_name.endswith("Settings") and type_name in classes
    }
    words = tuple(text for base in bases for text in base.words) + own
    return Kind(name, module, fields, words, settings)


def comments(text: str) -> dict[tuple[str, str], str]:
    """(section, key) to the comment behind it in `params.yaml`; the key of a choice of the run is ``."""
    found: dict[tuple[str, str], str] = {}
    section = ""
    for line in text.splitlines():
        if top := TOP.match(line):
            section = top[1]
        elif match := re.match(r"^([\w-]+):", line):
            section = match[1]
        if top and top[3]:
            found[section, ""] = top[3]
        if (inner := INNER.match(line)) and section != "profiles":
            found[section, inner[1]] = inner[2]
    return found


def meanings(kind: Kind) -> dict[str, str]:
    """What the docstrings of a class and of those that it extends say of each field, as `name, name: words`."""
    found: dict[str, str] = {}
    for words in kind.words:
        text = " ".join(words.split())
        marks = [
            (match, [word for word in match[1].split(", ") if word in kind.fields])
            for match in WORD.finditer(text)
        ]
        marks = [(match, names) for match, names in marks if names]
        ends = [*(match.start() for match, _ in marks[1:]), len(text)][: len(marks)]
        for (match, names), end in zip(marks, ends, strict=True):
            for name in names:
                found[name] = text[match.end() : end].strip()
    return found


def cell(value: Any) -> str:
    """A value for a table of Markdown, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return f"`{escaped(text.removesuffix(YAML_END).strip())}`"


def rows(
    kind: Kind, given: Mapping[str, Mapping[str, Any]], told: Mapping[str, str], before: str = ""
) -> Iterator[str]:
    """One line of the table a field: type, value (each profile's where they differ), meaning.

    given: of each profile, its values. told: comments by key. before: what the keys begin with.
    """
    words = meanings(kind)
    for field, type_name in kind.fields.items():
        if field in SHARED:
            link = f"as [{field}](#{field})"
            yield f"| `{before}{field}` | `{type_name}` | {link} | {escaped(words.get(field, ''))} |"
            continue
        if field in kind.settings:
            within = {profile: values.get(field, {}) for profile, values in given.items()}
            yield from rows(kind.settings[field], within, {}, f"{before}{field}.")
            continue
        cells = {
            profile: cell(values[field]) if field in values else "not set"
            for profile, values in given.items()
        }
        shown = next(iter(cells.values()))
        if any(value != shown for value in cells.values()):
            shown = "<br>".join(f"{profile}: {value}" for profile, value in cells.items())
        meaning = told.get(field) or words.get(field) or COMMON.get(field, "")
        yield f"| `{before}{field}` | `{escaped(type_name)}` | {shown} | {escaped(meaning)} |"


def escaped(text: str) -> str:
    """A text that may stand in a cell of a table."""
    return text.replace("|", "\\|")


def page(root: Path) -> str:
    """The page, as Markdown. Raises `KeyError` for a section that no class reads."""
    text = (root / "params.yaml").read_text("utf-8")
    document = yaml.safe_load(text)
    told = comments(text)
    known = kinds(root)
    lines = [HEAD.rstrip("\n")]
    for key in document:
        if key in TOP_LEVEL - {"profiles"}:
            meaning = escaped(told.get((key, "")) or COMMON.get(key, ""))
            lines.append(f"| `{key}` | {cell(document[key])} | {meaning} |")
    sections = [key for key in document if key not in TOP_LEVEL or key in known]
    sections += [
        key for profile in document["profiles"].values() for key in profile if key not in sections
    ]
    for name in dict.fromkeys(sections):
        kind = known[name]
        lines += ["", f"## {name}", ""]
        if not kind.fields:
            lines.append("No parameters.")
            continue
        lines += [f"Read as `{kind.module}.{kind.name}`.", ""]
        lines += [f"> {' '.join(words.split())}\n" for words in kind.words if words]
        lines += ["| key | type | value | meaning |", "|---|---|---|---|"]
        given = {
            profile: merged({**document, "profile": profile}, name)
            for profile in document["profiles"]
        }
        lines += rows(kind, given, {key: text for (of, key), text in told.items() if of == name})
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(Path.cwd()))
