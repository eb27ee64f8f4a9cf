"""Take the pictures of the documentation anew: `python -m docs.pictures [FOLDER]`, after a finished `make demo`.

Needs chromium. What is up is used; what is not is started and stopped again.
"""

import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines import run_page
from pipelines.harness.errors import MissingResource
from pipelines.harness.graph import read_graph
from pipelines.harness.state import State
from pipelines.promotion.registry import CHAMPION, Registry
from pipelines.services import airflow, mlflow_server, processes, report_server, storefront
from pipelines.services.airflow import Api
from pipelines.services.processes import LOOPBACK
from pipelines.services.stack import NAMES, services_lock

OWNER = "pictures"
SIZE = {"width": 1600, "height": 1060}
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


def orchestration(root: Path, api: Api) -> dict[str, str]:
    """Airflow's pages: name of a picture to the address that it shows."""
    first = next(iter(read_graph(root).nodes.values())).meta["dag"]
    runs = [run for run in api.runs(first) if run["state"] == "success"]
    if not runs:
        raise MissingResource(f"Airflow has no finished run of {first}: run `make demo` first")
    run = quote(runs[0]["dag_run_id"], safe="")
    return {
        "airflow-graph": f"{api.address}/dags/{first}/runs/{run}",
        "airflow-grid": f"{api.address}/dags/{first}",
        **question(api),
    }


def question(api: Api) -> dict[str, str]:
    """The newest challenger about which Airflow asks a person, where one waits."""
    asked = api.request("GET", "/dags/promote/dagRuns/~/hitlDetails")["hitl_details"]
    waiting = [one["task_instance"] for one in asked if not one["response_received"]]
    if not waiting:
        print("no challenger waits for a person: airflow-actions stays as it is")
        return {}
    task, run = waiting[-1], quote(waiting[-1]["dag_run_id"], safe="")
    place = f"tasks/{task['task_id']}/mapped/{task['map_index']}/required_actions"
    return {"airflow-actions": f"{api.address}/dags/{task['dag_id']}/runs/{run}/{place}"}


def models(root: Path, mlflow: str) -> dict[str, str]:
    """MLflow's pages; the version is the champion of the model that was registered first."""
    crowned = [one for one in Registry(State(root)).champions() if CHAMPION in one.aliases]
    if not crowned:
        raise MissingResource("the registry has no champion: run `make demo` first")
    number = crowned[0].aliases[CHAMPION].number
    return {
        "mlflow-models": f"{mlflow}/#/models",
        "mlflow-version": f"{mlflow}/#/models/{quote(crowned[0].name, safe='')}/versions/{number}",
    }


def ours(root: Path, report: str, shop: str) -> dict[str, str]:
    """Our own pages, those that are there."""
    state = State(root)
    files = {
        "report": root / "data" / "report" / "report.html",
        "run": run_page.page_path(state),
        "monitor": state.home / "monitor" / "index.html",
    }
    found = {
        name: f"{report}/{path.relative_to(root).as_posix()}"
        for name, path in files.items()
        if path.exists()
    }
    return {**found, "shop": f"{shop}/"}


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
            # The whole graph is small on a page: twice the pixels, so that its names can be read.
            scale = 2 if name == "airflow-graph" else 1
            context = browser.new_context(
                viewport=SIZE, color_scheme="light", device_scale_factor=scale
            )
            context.add_init_script(
                "".join(f"localStorage.setItem('{key}', '{value}');" for key, value in SEEN.items())
            )
            page = context.new_page()
            page.goto(address, wait_until="load", timeout=WAIT)
            page.wait_for_selector("body *", state="attached", timeout=WAIT)
            page.wait_for_timeout(SETTLE)
            prepare(page, name)
            path = folder / f"{name}.png"
            # The shop's page is long: a person would scroll.
            page.screenshot(path=path, full_page=name == "shop")
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
    if name == "shop":
        page.locator("#user").fill(page.locator("#users option").nth(1).get_attribute("value"))
        page.keyboard.press("Enter")
        page.wait_for_selector("#list li", timeout=WAIT)
        page.get_by_role("button", name="why this?").first.click()
        picture = page.locator("#pictures button")
        if picture.count():
            picture.first.click()
            page.wait_for_selector("#alike button", timeout=WAIT)
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
            shop = storefront.begin(state, OWNER)
            if shop is None:
                raise MissingResource("the shop has nothing to show yet: run `make demo` first")
            storefront.ready(state, shop)
        places = [f"http://{LOOPBACK}:{one.port}" for one in (mlflow, report, shop)]
        addresses = {**orchestration(root, api), **models(root, places[0])}
        take({**addresses, **ours(root, *places[1:])}, folder)
    except MissingResource as error:
        print(f"pictures: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        mine = [processes.running(state, name) for name in NAMES]
        processes.stop(state, [one.name for one in mine if one and one.owner == OWNER])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
