"""Who asks the server: `python -I -S client.py SOCKET REAL WORDS…` does what `REAL WORDS…` does.

It hands the server its words, folder, variables and standard streams, waits, and ends with the status that it is told.
When it is killed the server kills what it forked. It imports little, since it is started before each stage.
"""

import ctypes
import json
import os
import signal
import socket
import sys

TAKEN = (["-m"], ["-I", "-B"])
"""How calls begin that the server takes; the real interpreter has the others."""
PR_SET_PDEATHSIG = 1
UNTOLD = 1
"""The exit status where the server died in between."""


def main(address: str, real: str, words: list[str]) -> int:
    """The exit status of the call; does not return where the real interpreter takes it."""
    with socket.socket(socket.AF_UNIX) as line:
        if not any(words[: len(taken)] == taken for taken in TAKEN) or line.connect_ex(address):
            os.execv(real, [real, *words])
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        umask = os.umask(0)
        os.umask(umask)
        call = {"words": words, "cwd": os.getcwd(), "env": dict(os.environ), "umask": umask}
        text = json.dumps(call).encode()
        socket.send_fds(line, [len(text).to_bytes(8, "big")], [0, 1, 2])
        line.sendall(text)
        status = line.recv(4)
    if not status:
        print("the warm interpreter died in between; try again", file=sys.stderr)
        return UNTOLD
    return int.from_bytes(status, "big")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
