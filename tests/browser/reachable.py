"""What tests of pages ask of every page: nothing serious found by axe, everything reached and seen by Tab."""

from typing import Any

CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']"
"""What a person acts on, or scrolls."""
SERIOUS = ("serious", "critical")
MOST = 400
"""Presses of Tab before a page counts as a trap."""


def faults(page: Any) -> list[str]:
    """What axe-core finds serious or critical on the page as it stands: rule, words, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {node['target']}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def untabbed(page: Any) -> list[str]:
    """The visible controls that Tab does not reach from the top, in their order, with an outline that shows it."""
    shown = page.evaluate(
        """controls => [...document.querySelectorAll(controls)]
            .filter(one => one.checkVisibility({visibilityProperty: true}) && !one.disabled)
            .map((one, at) => { one.dataset.reach = at; return one.outerHTML.slice(0, 120); })""",
        CONTROLS,
    )
    # A browser goes on from where the focus was last: here before the first control.
    page.evaluate(
        """() => { const start = document.createElement('span');
            start.tabIndex = -1;
            document.body.prepend(start);
            start.focus();
            start.remove(); }"""
    )
    reached: list[int] = []
    for _ in range(MOST):
        page.keyboard.press("Tab")
        at, outlined = page.evaluate(
            """() => { const one = document.activeElement;
                return [one === document.body ? null : +(one.dataset.reach ?? -1),
                        getComputedStyle(one).outlineStyle !== 'none']; }"""
        )
        if at is None or at in reached:
            break
        if at >= 0 and outlined:
            reached.append(at)
    assert reached == sorted(reached), "Tab goes another way than the page is read"
    return [words for at, words in enumerate(shown) if at not in reached]
