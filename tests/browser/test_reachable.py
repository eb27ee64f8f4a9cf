"""The questions that every page is asked find what is wrong with a page that is."""

from typing import Any

from tests.browser.reachable import faults, untabbed

WRONG = """<!doctype html><html lang="en"><title>wrong</title><style>.bare:focus { outline: 0 }</style>
<main><h1>Wrong</h1><p style="color:#bbb;background:#fff">pale</p><input>
<a href="#a">seen</a><a href="#b" class="bare">unseen</a><button tabindex="-1">unreached</button></main></html>"""


def test_what_is_wrong_is_found(browser: Any) -> None:
    page = browser.new_page()
    page.set_content(WRONG)
    assert {fault.partition(":")[0] for fault in faults(page)} == {"color-contrast", "label"}
    assert [words.partition(">")[2] for words in untabbed(page)] == [
        "unseen</a>",
        "unreached</button>",
    ]
    page.close()
