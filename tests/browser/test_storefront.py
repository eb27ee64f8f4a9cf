"""The shop page: in a real browser, by keyboard, and as an interface that follows promotions and refuses strangers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from pipelines.services.web import Refused, call
from tests.browser.reachable import faults, untabbed
from tests.browser.shop_front import (
    HOSTILE,
    ITEMS,
    Shelved,
    front,
    serving,
    write_lists,
    write_shop,
)
from tests.waiting import poll


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(address, front, registry, root) of one served shop."""
    root = tmp_path_factory.mktemp("front")
    write_shop(root)
    registry = Shelved()
    made = front(root, registry)
    with serving(made) as address:
        yield address, made, registry, root


@pytest.fixture
def page(shop: Any, browser: Any) -> Iterator[Any]:
    """The page, opened; at the end it must have been silent and have asked nobody else."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    said: list[str] = []
    strangers: list[str] = []
    opened.on("console", lambda line: said.append(line.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda box: said.append(box.message))
    opened.on(
        "request",
        lambda one: strangers.append(one.url) if not one.url.startswith(("data:", shop[0])) else 0,
    )
    opened.goto(shop[0], wait_until="networkidle")
    yield opened
    context.close()
    assert said == [] and strangers == []


def titles(page: Any) -> list[str]:
    return page.locator("#list .title").all_inner_texts()


def test_a_customers_list_and_its_reasons(page: Any) -> None:
    page.select_option("#user", "user 1")
    page.wait_for_selector("#list li")
    assert titles(page) == [f"Product {at}" for at in range(3, 9)]
    page.get_by_role("button", name="why this? Product 3").click()
    assert HOSTILE in page.locator(".why").first.inner_text()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390


def test_three_clicks_change_the_list_by_keyboard(page: Any) -> None:
    """Everything is reached and done with Tab, letters and Enter."""
    page.locator("#new").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#list li")
    page.wait_for_selector("#products button")
    before = titles(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("product 3")
    expect(page.locator("#products button")).to_have_count(12)
    for _ in range(3):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("3 clicks")
    after = titles(page)
    assert len(after) == 6 and after != before
    assert page.locator("#products [aria-pressed=true]").count() == 3
    assert not set(after) & {"Product 3", "Product 13", "Product 23"}  # what was clicked
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("4 clicks")
    assert titles(page) != after


def test_pictures_that_look_alike_and_an_answer(page: Any) -> None:
    page.locator("#pictures button").nth(3).click()
    page.wait_for_selector("#alike img")
    assert page.locator("#alike img").count() == 8
    page.wait_for_load_state("networkidle")
    loaded = "[...document.querySelectorAll('#alike img')].every(one => one.naturalWidth > 0)"
    assert page.evaluate(loaded)
    page.locator("#open-ask").click()
    page.wait_for_selector("#ask:not([hidden])")
    page.keyboard.type("Is it heavy?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("light")
    assert "<b>light</b>" in page.locator("#answer").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_tab_reaches_all(page: Any, scheme: str) -> None:
    """As the page opens, and with everything on it that clicks bring."""
    page.emulate_media(color_scheme=scheme)
    assert faults(page) == []
    page.locator("#pictures button").first.click()
    page.wait_for_selector("#alike img")
    page.locator("#open-ask").click()
    page.wait_for_selector("#ask:not([hidden])")
    page.locator("#question").fill("Is it heavy?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("light")
    page.locator("#new").click()
    page.wait_for_selector("#products button")
    page.locator("#products button").first.click()
    page.wait_for_selector("#list li")
    page.get_by_role("button", name="why this?").first.click()
    page.wait_for_load_state("networkidle")
    assert faults(page) == []
    assert untabbed(page) == []


def test_all_controls_are_named(page: Any) -> None:
    nameless = """[...document.querySelectorAll('button, input, select, a')].filter(one =>
        !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length
          || one.querySelector('img[alt]'))).length"""
    assert page.evaluate(nameless) == 0
    assert page.evaluate("document.documentElement.lang") == "en"


def test_headers_and_other_hosts(shop: Any) -> None:
    import http.client

    host = shop[0].removeprefix("http://")
    connection = http.client.HTTPConnection(host)
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    connection.request("GET", "/", headers={"Host": "shop.example"})
    assert connection.getresponse().status == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/lists/nobody", None, 404),
        ("GET", "/api/alike/nothing", None, 404),
        ("GET", "/pictures/..%2f..%2fetc%2fpasswd", None, 404),
        ("GET", "/assets/..%2f..%2fapp.py", None, 404),
        ("GET", "/docs", None, 404),
        ("POST", "/api/lists/user%201", {}, 405),
        ("POST", "/api/fold-in", {"items": ["x"] * 51}, 422),
        ("POST", "/api/fold-in", {"items": 3}, 422),
        ("POST", "/api/ask", {"item": "camera", "question": "x" * 501}, 422),
        ("POST", "/api/ask", {"item": "none", "question": "x"}, 404),
    ],
)
def test_what_is_not_there_or_not_allowed(
    shop: Any, method: str, path: str, body: Any, status: int
) -> None:
    with pytest.raises(Refused) as refused:
        call(method, shop[0] + path, body)
    assert refused.value.status == status


def test_unknown_items_are_as_good_as_none(shop: Any) -> None:
    new = call("POST", f"{shop[0]}/api/fold-in", {"items": ["gone"]})
    assert new["items"] == call("POST", f"{shop[0]}/api/fold-in", {"items": []})["items"]
    one = call("POST", f"{shop[0]}/api/fold-in", {"items": [ITEMS[10]]})
    assert {item["id"] for item in one["items"]} == {"p07", "p08", "p09", "p11", "p12", "p13"}
    assert all("Product 10" in item["why"] for item in one["items"])


def test_promotions_and_new_lists_are_followed_and_a_registry_that_is_away_is_told(
    shop: Any,
) -> None:
    address, made, registry, root = shop
    made.follower.SECONDS = 0.05
    user = quote("user 0")
    before = call("GET", f"{address}/api/lists/{user}")["items"]
    write_lists(root, "2026-02-11T00:00:00+00:00", shift=20)
    poll(lambda: call("GET", f"{address}/api/lists/{user}")["items"] != before, "the new lists", 30)
    was = registry.models["recommender"]
    registry.models["recommender"] = replace(was, manifest="c" * 64)

    def serves() -> str:
        return call("POST", f"{address}/api/fold-in", {"items": []})["champion"]

    poll(lambda: serves() == "c" * 64, "the promoted champion", 30)
    registry.away = True
    poll(lambda: call("GET", f"{address}/api/state")["faults"], "the fault", 30)
    assert "away" in call("GET", f"{address}/api/state")["faults"]["recommender"]
    assert serves() == "c" * 64
    registry.away = False
