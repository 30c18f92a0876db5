"""Runs the conformance suite's clients, each in a fork of an interpreter that has imported the SDK.

    python clients.py SOCKET SCRIPT

A run of the suite starts some thirty clients at once. Importing the SDK takes each of them longer than
everything that it then does; and lest they wait for one another, only a few run at a time.

Whoever connects to SOCKET is told `turn` when it is its turn, and then sends its order, one line of JSON:
`url`, the script's argument; `environment`, what it finds there besides; `stdout` and `stderr`, files for
what it writes; `moved`, a port and the one of this machine that the client reaches in its place, or null.
The answer is its exit code.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
AT_ONCE = 4


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def move(port: int, place: int) -> None:
    """What happens when a gateway takes over the name of a server: who goes there comes to the gateway."""
    connect = socket.socket.connect

    def connect_moved(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[1] == port:
            if self.family == socket.AF_INET6:
                raise ConnectionRefusedError("the gateway listens on 127.0.0.1")
            address = ("127.0.0.1", place)
        connect(self, address)

    socket.socket.connect = connect_moved


def run(script: str, order: dict[str, Any]) -> NoReturn:
    end_with_parent()
    for file, descriptor in ((order["stdout"], 1), (order["stderr"], 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.environ.update(order["environment"])
    if order["moved"]:
        move(*order["moved"])
    sys.argv = [script, order["url"]]
    runpy.run_path(script, run_name="__main__")
    sys.exit(0)


def serve(connection: socket.socket, script: str) -> NoReturn:
    end_with_parent()
    connection.sendall(b"turn\n")
    order = json.loads(connection.makefile(encoding="utf-8").readline())
    child = os.fork()
    if child == 0:
        connection.close()
        run(script, order)
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    path, script = sys.argv[1:]
    runpy.run_path(script, run_name="imported")
    # Whoever does not answer for ten seconds is an old server to the SDK. Here it is a busy machine.
    importlib.import_module("mcp.client.session").DISCOVER_TIMEOUT_SECONDS = 60.0
    # The first connection imports this.
    importlib.import_module("httpcore2")
    # A collection in a fork would write to, and so copy, every page that holds an object.
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        print(f"clients take orders at {path}", flush=True)
        running = 0
        while True:
            while running == AT_ONCE:
                os.wait()
                running -= 1
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                serve(connection, script)
            running += 1
            connection.close()


main()
