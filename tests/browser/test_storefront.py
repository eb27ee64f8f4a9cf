"""The shop page: in a real browser, by keyboard, and as an interface that follows promotions and refuses strangers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import expect

from pipelines.services.web import Refused, call
from pipelines.storefront.goods import Lists
from tests.browser.looking import heard
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

PROTECTIONS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}
"""What every answer says besides its content policy."""


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
    said, asked = heard(opened)
    opened.goto(shop[0], wait_until="networkidle")
    yield opened
    context.close()
    assert said == [] and all(url.startswith(shop[0]) for url in asked)


def titles(page: Any) -> list[str]:
    return page.locator("#list .title").all_inner_texts()


def name(page: Any, user: str) -> None:
    """Type a user's id and press Enter."""
    page.locator("#user").fill(user)
    page.keyboard.press("Enter")


def test_a_customers_list_and_its_reasons(page: Any) -> None:
    name(page, "user 1")
    page.wait_for_selector("#list li")
    assert titles(page) == [f"Product {at}" for at in range(3, 9)]
    page.get_by_role("button", name="why this? Product 3").click()
    assert HOSTILE in page.locator(".why").first.inner_text()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390


def test_users_are_suggested_by_their_beginning_and_any_can_be_named(page: Any, shop: Any) -> None:
    """By keyboard from the field on; a suggestion that is taken needs no further key."""
    offered = "[...document.querySelectorAll('#users option')].map(one => one.value)"
    assert page.evaluate(offered) == [f"user {at}" for at in range(5)]
    page.get_by_label("A customer").focus()
    page.keyboard.type("user 3")
    expect(page.locator("#users option")).to_have_count(1)
    assert page.evaluate(offered) == ["user 3"]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("The list of user 3.")
    page.locator("#user").evaluate(
        """field => { field.value = "user 3"; document.querySelector("#said").textContent = "";
            field.dispatchEvent(new InputEvent("input", {inputType: "insertReplacementText"})); }"""
    )
    expect(page.locator("#said")).to_have_text("The list of user 3.")
    listed = titles(page)
    for stranger in ("user", HOSTILE, "a/b?c"):
        name(page, stranger)
        told = f"Nobody called “{stranger}” has a list. This is what somebody new gets."
        expect(page.locator("#said")).to_have_text(told)
        new = call("POST", f"{shop[0]}/api/fold-in", {"items": []})["items"]
        assert titles(page) == [one["title"] for one in new] != listed
    assert faults(page) == []


def test_suggestions_are_few_and_need_no_look_at_all_users() -> None:
    """Every id can be found, also one that sorts last; what is compared grows with the logarithm."""
    compared = 0

    class Counted(str):
        __slots__ = ()

        def __lt__(self, other: str) -> bool:
            nonlocal compared
            compared += 1
            return str.__lt__(self, other)

    ids = sorted(f"u{at:05d}" for at in range(40_000)) + ["é1", "客户 7"]
    users = np.empty(len(ids), dtype=object)
    users[:] = [Counted(one) for one in ids]
    table = pa.table({"item_id": pa.array([], pa.string())})
    lists = Lists(users, np.zeros(len(ids) + 1, int), table, [], "", "", ("", 0))
    assert lists.beginning("u0123", 20) == [f"u0123{at}" for at in range(10)]
    assert lists.beginning("u", 20) == [f"u{at:05d}" for at in range(20)]
    assert lists.beginning("客", 20) == ["客户 7"] and lists.beginning("v", 20) == []
    assert compared <= 4 * 17
    spread = lists.beginning("", 20)
    assert len(spread) == 20 and spread[-1] > "u35000"


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


def test_pictures_that_look_alike(page: Any) -> None:
    """From some pictures of all, from those found, and from a product of the list; of one kind where one is chosen."""
    page.locator("#pictures button").nth(3).click()
    page.wait_for_selector("#alike img")
    assert page.locator("#alike img").count() == 8
    page.locator("#alike button").first.click()
    expect(page.locator("#nearest")).to_contain_text("Nearest to Product")
    name(page, "user 0")
    page.get_by_role("button", name="looks alike Product 2").click()
    expect(page.locator("#nearest")).to_have_text("Nearest to Product 2")
    assert page.locator("#alike img").first.get_attribute("alt") in {"Product 1", "Product 3"}
    page.select_option("#kind", "shelf 2")
    expect(page.locator("#alike button")).to_have_count(1)
    assert page.locator("#alike img").first.get_attribute("alt") == "Product 7"
    page.select_option("#kind", "kind 1")
    expect(page.locator("#alike button")).to_have_count(5)
    page.locator("#alike").scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('#alike img')].every(one => one.naturalWidth > 0)"
    )


def test_cards_show_a_products_picture_where_there_is_one(page: Any) -> None:
    name(page, "user 3")
    page.wait_for_selector("#list li")
    pictured = page.locator("#list li:has(img) .title").all_inner_texts()
    assert pictured == ["Product 9"] and len(titles(page)) == 6
    page.locator("#new").click()
    page.locator("#find").fill("product 1")
    expect(page.locator("#products button")).to_have_count(13)
    assert page.locator("#products button:has(img)").all_inner_texts() == ["Product 1\nshelf 1"]


def test_what_buyers_say_from_a_listed_product_and_by_choice(page: Any) -> None:
    name(page, "user 0")
    page.get_by_role("button", name="what buyers say Product 1").click()
    expect(page.locator("#said-hint")).to_contain_text("Product 1")
    parts = page.locator(".aspect")
    expect(parts).to_have_count(2)
    assert "75 %" in parts.first.inner_text() and "41 % to 93 %" in parts.first.inner_text()
    assert "6 praise, 2 blame, of 9 reviews" in parts.first.inner_text()
    assert parts.nth(1).locator("svg").count() == 0  # nobody judges it
    page.get_by_text("Quotes on weight").click()
    expect(parts.first.locator("blockquote")).to_contain_text(HOSTILE)
    assert page.get_by_role("button", name="what buyers say").count() == 1
    page.select_option("#spoken", label="reviews that name no product")
    expect(page.locator(".aspect")).to_have_count(1)
    expect(page.locator(".aspect h3")).to_have_text("质量")
    assert page.locator(".aspect h3 span").get_attribute("lang") == "zh"


def test_an_answer_with_its_review_and_others(page: Any) -> None:
    page.locator("#open-ask").click()
    page.wait_for_selector("#ask:not([hidden])")
    assert page.locator("#item option").all_inner_texts() == ["Product 1"]
    page.keyboard.type("Is it heavy?")
    page.keyboard.press("Enter")
    expect(page.locator("#answered")).to_contain_text("It is <b>light</b>.")
    assert page.locator("#answer mark").inner_text() == "It is <b>light</b>."
    shown = page.locator("#answer blockquote").first.inner_text()
    assert "I took it along." in shown and "review r1, 2026-01-05, 4 stars" in shown
    assert "1 say yes (r1), 1 say no (r2)" in page.locator("#answer").inner_text()
    page.get_by_text("Further quotes (1)").click()
    expect(page.locator("#answer details")).to_contain_text("Too light for me. <img")
    assert page.locator("#answer details cite").inner_text() == "review r2"
    page.locator("#question").fill("Is there nothing?")
    page.keyboard.press("Enter")
    expect(page.locator("#answered")).to_contain_text("No review answers that.")
    assert page.locator("#answer mark").count() == 0
    page.get_by_text("Reviews that come nearest (2)").click()
    expect(page.locator("#answer details")).to_contain_text("I took it along.")


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
    page.select_option("#spoken", label="Product 1")
    page.wait_for_selector(".aspect")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
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
    told = {name: answer.headers[name] for name in PROTECTIONS}
    assert told == PROTECTIONS
    for path, status in (("/assets/shop.js", 200), ("/api/state", 200), ("/nowhere", 404)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert {name: answer.headers[name] for name in PROTECTIONS} == PROTECTIONS
        assert answer.headers["Content-Security-Policy"] == policy
    connection.request("GET", "/", headers={"Host": "shop.example"})
    assert connection.getresponse().status == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"/api/users?q={'x' * 1001}", None, 422),
        ("GET", "/api/alike/nothing", None, 404),
        ("GET", f"/api/alike/k%2003%2Fx?kind={'x' * 201}", None, 422),
        ("GET", "/api/said?item=p02", None, 404),
        ("GET", "/pictures/..%2f..%2fetc%2fpasswd", None, 404),
        ("GET", "/assets/..%2f..%2fapp.py", None, 404),
        ("GET", "/docs", None, 404),
        ("POST", "/api/lists/user%201", {}, 405),
        ("POST", "/api/fold-in", {"items": ["x"] * 51}, 422),
        ("POST", "/api/fold-in", {"items": 3}, 422),
        ("POST", "/api/ask", {"item": "p01", "question": "x" * 501}, 422),
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
