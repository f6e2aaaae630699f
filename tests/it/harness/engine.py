"""ClickHouse's HTTP interface, as far as the tests need it, before the engine that PyPI's chdb-core has.

usage: engine.py PORT FOLDER
"""

import gzip
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chdb import session

FOLDER = os.path.abspath(sys.argv[2])
ENGINE = session.Session(FOLDER)
LOCK = threading.Lock()
# What is no setting.
PARAMETERS = {"query", "wait_end_of_query"}


def answer(settings, sql, rows):
    with LOCK:
        if rows is not None:
            # As one block, as it came.
            path = os.path.join(FOLDER, "rows.native")
            with open(path, "wb") as file:
                file.write(rows)
            names = sql[sql.index("(") + 1 : sql.index(")")]
            words = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
            sql = sql.replace("FORMAT Native", f"SETTINGS {words} SELECT {names} FROM file('{path}', Native)")
        else:
            for name, value in settings.items():
                ENGINE.query(f"SET {name} = {value}")
        return ENGINE.query(sql, "TabSeparated").bytes() or b""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        try:
            if len(body) < length:
                raise RuntimeError("Code: 33. DB::Exception: Cannot read all data")
            url = urllib.parse.urlparse(self.path)
            parameters = dict(urllib.parse.parse_qsl(url.query))
            settings = {name: value for name, value in parameters.items() if name not in PARAMETERS}
            rows = None
            if self.headers.get("Content-Encoding") == "gzip":
                rows = gzip.decompress(body)
            status, octets = 200, answer(settings, parameters.get("query") or body.decode(), rows)
        except Exception as error:  # whatever it is, the client is told
            status, octets = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *words):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
