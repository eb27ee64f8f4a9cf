"""The last run with the report, the report alone, the monitor and the data docs as pages on loopback: `python -m pipelines.services.report_server PORT`.

A page's address is its place in the project, so that links between pages hold here and from the disk alike. Files below
these folders are served and nothing else: no listing, no other host name.
"""

import html
import os
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipelines.harness.state import State
from pipelines.services import processes
from pipelines.services.processes import LOOPBACK, Running, Service
from pipelines.services.web import answers

NAME = "report"
PORT = 8088
START_SECONDS = 30.0
ABOUT = {
    "report/run.html": "the last run and all of the report, in one file",
    "report/report.html": "the report alone, the same bytes from the same data",
    "monitor/index.html": "what the monitor saw last",
}
"""What the list of pages says of a page."""


def folders(root: Path) -> tuple[Path, ...]:
    """What is shown, in the order of the list of pages."""
    state = State(root)
    return state.home / "report", root / "data" / "report", state.home / "monitor", state.data_docs


class Pages(SimpleHTTPRequestHandler):
    """Answers GET and HEAD for files of these folders below `root`, and `/` with links to them."""

    root: Path

    def send_head(self):  # type: ignore[no-untyped-def]
        """As the base class does, but for our folders and our host names alone."""
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (LOOPBACK, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN, "another host name")
            return None
        if urlsplit(self.path).path == "/":
            self._index()
            return None
        if self._file() is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def translate_path(self, path: str) -> str:
        """The file behind an address; the base class asks for it."""
        return str(self._file() or os.devnull)

    def _file(self) -> Path | None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if ".." in parts or any("\0" in part for part in parts):
            return None
        found = self.root.joinpath(*parts).resolve()
        inside = any(found.is_relative_to(folder.resolve()) for folder in folders(self.root))
        return found if inside and found.is_file() else None

    def _index(self) -> None:
        pages = [
            (path.relative_to(self.root).as_posix(), path.relative_to(folder.parent).as_posix())
            for folder in folders(self.root)
            for path in sorted(folder.glob("*.html")) + sorted(folder.glob("*/index.html"))
        ]
        links = [
            f'<li><a href="/{quote(place)}">{html.escape(name)}</a> {ABOUT.get(name, "")}</li>'
            for place, name in pages
        ]
        said = "".join(links) or "<li>Nothing yet: run <code>make demo</code>.</li>"
        page = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Vitrine</title>'
            '<link rel="icon" href="data:,"><style>body{font:16px/1.6 system-ui;max-width:40rem;'
            "margin:3rem auto;padding:0 1rem;color:#1b1b1f}</style><h1>Vitrine</h1>"
            f"<ul>{said}</ul></html>"
        ).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(page)

    def end_headers(self) -> None:
        """With a word against guessing of types and against being framed."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "SAMEORIGIN")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def serve(root: Path, port: int) -> None:
    """Serve until the process is ended."""
    handler = type("RootPages", (Pages,), {"root": root})
    with ThreadingHTTPServer((LOOPBACK, port), handler) as server:
        server.serve_forever()


def start(state: State, owner: str) -> Running:
    """Start the server where it does not run, and wait until it answers."""
    alive = processes.running(state, NAME)
    if alive:
        return alive
    return processes.on_free_port(PORT, lambda port: _start(state, owner, port))


def _start(state: State, owner: str, port: int) -> Running:
    command = (sys.executable, "-m", "pipelines.services.report_server", str(port))
    found = processes.start(state, Service(NAME, command, os.environ, port), owner)
    processes.wait_until(
        state, [found], lambda: answers(f"http://{LOOPBACK}:{port}/"), START_SECONDS
    )
    return found


if __name__ == "__main__":
    serve(Path.cwd(), int(sys.argv[1]))
