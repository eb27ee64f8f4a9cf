"""An S3 server that answers every request with a status while a file holds one: `flaky_store.py HOST PORT TLS FILE`.

It is moto's, as `make cluster` starts it, with one layer before it. TLS: the file of its key and its certificate.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

CODES = {"503": "SlowDown", "403": "InvalidAccessKeyId"}


class Flaky:
    """A WSGI application around another one. mode: the file."""

    def __init__(self, inner: Any, mode: Path) -> None:
        self._inner, self._mode = inner, mode

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status = self._mode.read_text().strip() if self._mode.exists() else ""
        if not status or environ["PATH_INFO"].startswith("/moto-api"):
            return self._inner(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        text = f"<Error><Code>{CODES[status]}</Code><Message>as asked by a test</Message></Error>"
        start(f"{status} {CODES[status]}", [("Content-Type", "application/xml")])
        return [text.encode()]


def main(host: str, port: str, tls: str, mode: str) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    served = Flaky(DomainDispatcherApplication(create_backend_app), Path(mode))
    run_simple(host, int(port), served, threaded=True, ssl_context=(tls, tls))


if __name__ == "__main__":
    main(*sys.argv[1:])
