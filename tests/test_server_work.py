"""A server for tests is used once it answers, and not before."""

import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Timer
from types import SimpleNamespace

import pytest
from server_work import told

ALIVE, ENDED = (SimpleNamespace(poll=lambda code=code: code) for code in (None, 1))


class Version(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api" else 404)
        self.end_headers()

    def log_message(self, *of):
        """Say nothing."""


def test_what_a_server_says_counts_once_it_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = {"url": f"http://127.0.0.1:{port}/"}
    (tmp_path / "jpserver-1.json").write_text(json.dumps(said))
    began = []

    def begin():
        began.append(HTTPServer(("127.0.0.1", port), Version))
        began[0].serve_forever(poll_interval=0.05)

    later = Timer(0.5, begin)
    later.start()
    try:
        assert told(tmp_path, ALIVE, tmp_path / "log") == said and began
    finally:
        later.join(1)
        began[0].shutdown()
        began[0].server_close()


def test_a_server_that_ended_is_reported_with_its_log(tmp_path):
    (tmp_path / "log").write_text("the port was taken")
    with pytest.raises(RuntimeError, match="did not start within .*\nthe port was taken"):
        told(tmp_path, ENDED, tmp_path / "log")
