"""A web hook on loopback that keeps what it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sink:
    """address: where to post. refuse: how many messages to answer with 503 before it takes one."""

    address: str = ""
    refuse: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Sink]:
    """A sink that answers until the block ends."""
    sink = Sink()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = 200
            if sink.refuse:
                sink.refuse, code = sink.refuse - 1, 503
            else:
                sink.bodies.append(json.loads(body))
                sink.tokens.append(self.headers.get("Authorization"))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        sink.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join()
