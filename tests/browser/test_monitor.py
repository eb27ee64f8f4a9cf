"""The pages on the monitor's look and the last run, and the list of pages: legible, reached by keyboard, linked."""

import threading
from collections.abc import Iterator
from dataclasses import asdict
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines import run_page
from pipelines.harness.state import State
from pipelines.monitor import TRAIN, Finding, verdict, write
from pipelines.services.processes import LOOPBACK
from pipelines.services.report_server import Pages
from tests.browser.looking import both_schemes, both_widths, fits
from tests.browser.reachable import faults, untabbed
from tests.conftest import REPOSITORY
from tests.report_inputs import write_page
from tests.run_inputs import HOSTILE, write_two_runs

FINDINGS = [
    Finding("freshness", "days since the newest event", 0.5, "any age"),
    Finding("drift", "interactions.price", 0.31, "PSI 0.20, p < 0.001", True, TRAIN),
    Finding("quality", "lists against what users did", None, "not below", why="no list is due"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Path:
    """A project that ran twice, whose monitor looked twice and whose report is there."""
    root = tmp_path_factory.mktemp("looked")
    write_two_runs(root, migrated_database)
    (root / "pipelines").symlink_to(REPOSITORY / "pipelines")
    for day in (1, 2):
        look = {"at": f"2026-03-0{day}T02:00:00Z", "newest_event": "2026-03-01"}
        look |= {"findings": [asdict(one) for one in FINDINGS], **verdict(FINDINGS)}
        write(State(root), look, keep=5)
    write_page(root, [])
    run_page.write(root)
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """Of the server that shows them."""
    handler = type("TestPages", (Pages,), {"root": root, "log_message": lambda *words: None})
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@both_schemes
@both_widths
def test_axe_finds_nothing_serious_and_tab_reaches_all(
    address: str, browser: Any, scheme: str, width: int
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text))
    for place in ("/", "/.vitrine/monitor/index.html", "/.vitrine/report/run.html"):
        page.goto(address + place)
        assert fits(page)
        assert faults(page) == []
        assert untabbed(page) == []
    assert said == []
    context.close()


@pytest.mark.parametrize("served", [True, False])
def test_report_and_monitor_lead_to_each_other(
    root: Path, address: str, browser: Any, served: bool
) -> None:
    """From the disk and from the server, by the same links."""
    page = browser.new_page()
    page.goto((address if served else root.as_uri()) + "/data/report/report.html")
    page.get_by_role("link", name="What the monitor saw last").click()
    assert "interactions.price" in page.locator("main").inner_text()
    page.get_by_role("link", name="the report").click()
    assert page.title() == "Vitrine: report"
    page.get_by_role("link", name="How the last run went").click()
    assert page.title() == "Vitrine: the last run"
    assert HOSTILE in page.locator("main").inner_text()
    page.get_by_role("link", name="All that it saw").click()
    page.get_by_role("link", name="the last run").click()
    page.get_by_role("link", name="below").click()
    assert page.title() == "Vitrine: the last run" and page.url.endswith("#report")
    page.get_by_role("link", name="the report alone").click()
    assert page.title() == "Vitrine: report"
    page.go_back()
    page.get_by_role("link", name="All that it saw").click()
    page.get_by_role("link", name="the report").click()
    assert page.title() == "Vitrine: report"
    page.close()
