"""Take the pictures of the documentation anew: `python -m docs.pictures [FOLDER]`, after a finished `make demo`.

Needs chromium. What is up is used; what is not is started and stopped again.
"""

import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.harness.errors import MissingResource
from pipelines.harness.graph import read_graph
from pipelines.harness.state import State
from pipelines.services import airflow, mlflow_server, processes, report_server
from pipelines.services.airflow import Api
from pipelines.services.processes import LOOPBACK
from pipelines.services.stack import NAMES, services_lock

OWNER = "pictures"
SIZE = {"width": 1600, "height": 1000}
SETTLE = 3000  # milliseconds for a page that draws after it loaded
WAIT = 60_000
SEEN = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
"""What MLflow's pages would open over themselves at a first visit."""


def browser_path() -> str:
    """Where chromium is. Raises `MissingResource` where it is not."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise MissingResource("chromium is needed to take pictures: apt install chromium")


def pages(root: Path, api: Api, mlflow: str, report: str) -> dict[str, str]:
    """Name of a picture to the address that it shows."""
    first = next(iter(read_graph(root).nodes.values())).meta["dag"]
    runs = [run for run in api.runs(first) if run["state"] == "success"]
    if not runs:
        raise MissingResource(f"Airflow has no finished run of {first}: run `make demo` first")
    run = quote(runs[0]["dag_run_id"], safe="")
    return {
        "airflow-graph": f"{api.address}/dags/{first}/runs/{run}",
        "airflow-grid": f"{api.address}/dags/{first}",
        "mlflow-models": f"{mlflow}/#/models",
        "report": f"{report}/data/report/report.html",
    }


def take(addresses: dict[str, str], folder: Path) -> None:
    """One picture an address, as `<folder>/<name>.png`."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        for name, address in addresses.items():
            # A context of its own: Airflow remembers whether the graph or the grid was looked at last.
            context = browser.new_context(viewport=SIZE, color_scheme="light")
            context.add_init_script(
                "".join(f"localStorage.setItem('{key}', '{value}');" for key, value in SEEN.items())
            )
            page = context.new_page()
            page.goto(address, wait_until="load", timeout=WAIT)
            page.wait_for_selector("body *", state="attached", timeout=WAIT)
            page.wait_for_timeout(SETTLE)
            prepare(page, name)
            path = folder / f"{name}.png"
            page.screenshot(path=path)
            print(path)
            context.close()
        browser.close()


def prepare(page: Any, name: str) -> None:
    """What a person would press before taking the picture."""
    if name.startswith("airflow-g"):
        expand = page.get_by_test_id("expand-all-button").first
        expand.wait_for(timeout=WAIT)
        expand.click(timeout=WAIT)
    if name == "airflow-graph":
        page.keyboard.press("g")
    if name.startswith("mlflow"):
        page.wait_for_timeout(SETTLE)  # what MLflow opens over its pages comes late
        tour = page.get_by_role("button", name="Try it now")
        if tour.count():
            tour.click()
        page.wait_for_timeout(SETTLE)
        close = page.get_by_test_id("assistant-close-button").or_(
            page.locator("[data-component-id*='assistant'][data-component-id*='close']")
        )
        if close.count() and close.first.is_visible():
            close.first.click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLE)


def main(words: list[str], root: Path) -> int:
    """Take all pictures."""
    folder = Path(words[0]) if words else root / "docs" / "pictures"
    state = State(root)
    try:
        browser_path()
        with services_lock(state):
            api = Api(airflow.start(state, OWNER)[0].port)
            mlflow = mlflow_server.start(state, OWNER)
            report = report_server.start(state, OWNER)
        places = [f"http://{LOOPBACK}:{one.port}" for one in (mlflow, report)]
        take(pages(root, api, *places), folder)
    except MissingResource as error:
        print(f"pictures: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        mine = [processes.running(state, name) for name in NAMES]
        processes.stop(state, [one.name for one in mine if one and one.owner == OWNER])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
