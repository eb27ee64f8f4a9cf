"""Small HTTP client for services on loopback; a proxy of the environment is never asked."""

import json
import urllib.error
import urllib.request
from typing import Any

SECONDS = 20.0


class Refused(Exception):
    """An answer that is no success. status: HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


def call(
    method: str, url: str, body: Any = None, token: str | None = None, seconds: float = SECONDS
) -> Any:
    """The JSON that `url` answers, or its text where that is no JSON.

    Raises `Refused` for an answer that is no success, `OSError` where nobody answers.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with opener.open(request, timeout=seconds) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.read().decode("utf-8", "replace")) from None
    try:
        return json.loads(text)
    except ValueError:
        return text


def answers(url: str) -> bool:
    """Whether somebody answers at `url`."""
    try:
        call("GET", url, seconds=2.0)
    except Refused:
        return True
    except OSError:
        return False
    return True
