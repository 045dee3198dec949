"""The quotes service: a price for an item, from Python's standard library alone."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PRICES = {"tea": 390, "coffee": 450}  # in cents


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/quotes/health":
            self.reply(200, {"status": "ok"})
        elif url.path.rstrip("/") == "/quotes":
            item = parse_qs(url.query).get("item", ["tea"])[0]
            price = PRICES.get(item)
            self.reply(404 if price is None else 200, {"item": item, "cents": price, "version": os.environ.get("VERSION", "dev")})
        else:
            self.reply(404, {"error": "not found"})

    def reply(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler)
    # shutdown() waits for the request in progress, so it must not run on this thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
