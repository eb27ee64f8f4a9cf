"""What the documentation's tests take out of its pages: code blocks, commands, links, names of files."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^|\n)\n((?:    \S.*\n(?:\n(?=    ))?)+)")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
BEGINS = ("make ", "python -m ", "dvc ")
SEPARATORS = {"&&", ";", "|", "||"}


@dataclass(frozen=True)
class Block:
    """One fenced block. title: the file that it belongs to, or empty."""

    language: str
    title: str
    text: str


def pages() -> list[Path]:
    """Every page that is written by hand."""
    beside = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")]
    return beside + sorted((REPOSITORY / "docs").rglob("*.md"))


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(*match.groups()) for match in FENCE.finditer(text)]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text)


def commands(text: str) -> Iterator[tuple[str, ...]]:
    """The words of every command of a page: of shell blocks, of indented blocks, and of spans in the text.

    Blocks with a title are steps of an example, which a test of its own follows.
    """
    for block in blocks(text):
        if block.language == "bash" and not block.title:
            yield from shell(block.text)
    rest = prose(text)
    for match in INDENTED.finditer(rest):
        for line in match[1].splitlines():
            if line.strip().startswith(BEGINS):
                yield from shell(line.strip())
    for match in SPAN.finditer(rest):
        if match[1].startswith(BEGINS) and "…" not in match[1]:
            yield from shell(match[1])


def shell(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each command in lines of shell; settings of variables before a command are left out."""
    whole = ""
    for line in text.splitlines():
        whole = f"{whole}\n{line}" if whole else line
        try:
            lexer = shlex.shlex(whole.replace("\\\n", " "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # a quotation that goes on in the next line
            continue
        if whole.endswith("\\"):
            continue
        whole = ""
        command: list[str] = []
        for word in [*words, ";"]:
            if word in SEPARATORS:
                if command:
                    yield tuple(command)
                command = []
            elif command or not re.fullmatch(r"[A-Z_]+=\S*", word):
                command.append(word)
    assert not whole, f"a command that does not end: {whole}"
