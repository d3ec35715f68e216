"""A payment provider on this machine, for trying the workflow: `python3 provider.py [PORT]`. Standard library only.

It authorizes, captures and voids, knows who calls by an API key, and answers the same request with the same
authorization (Idempotency-Key). Cards tell it what to do: 4000000000000002 is declined, 4000000000000119 finds the
provider busy once, every other card is good.
"""

import errno
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8097
KEY = "demo-key"
DECLINED, BUSY_ONCE = "4000000000000002", "4000000000000119"
lock = threading.Lock()
authorizations, by_request, busy = {}, {}, set()


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("x-api-key") != KEY:
            return self.answer(401, {"error": "unknown_key"})
        path = self.path.strip("/").split("/")
        with lock:
            if path == ["v1", "authorizations"]:
                return self.answer(*authorize(json.loads(body), self.headers.get("idempotency-key")))
            if path[:2] == ["v1", "authorizations"] and len(path) == 4 and path[3] in ("capture", "void"):
                return self.answer(*settle(path[2], path[3]))
        return self.answer(404, {"error": "unknown_path"})

    def do_GET(self):
        with lock:
            self.answer(200, {"authorizations": list(authorizations.values())})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format, *arguments):
        pass


def authorize(order, request):
    if request in by_request:
        return 200, authorizations[by_request[request]]
    if order["card"] == BUSY_ONCE and request not in busy:
        busy.add(request)
        return 503, {"error": "busy"}
    if order["card"] == DECLINED:
        return 402, {"error": "card_declined"}
    name = f"auth_{len(authorizations) + 1:04d}"
    authorizations[name] = {"id": name, "orderId": order["orderId"], "amountCents": order["amountCents"], "status": "AUTHORIZED"}
    by_request[request] = name
    return 201, authorizations[name]


def settle(name, action):
    if name not in authorizations:
        return 404, {"error": "unknown_authorization"}
    wanted = {"capture": "CAPTURED", "void": "VOIDED"}[action]
    if authorizations[name]["status"] not in ("AUTHORIZED", wanted):
        return 409, {"error": "settled_otherwise", "status": authorizations[name]["status"]}
    authorizations[name]["status"] = wanted
    return 200, authorizations[name]


if __name__ == "__main__":
    try:
        server = ThreadingHTTPServer(("127.0.0.1", PORT), Provider)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        print(f"somebody listens on port {PORT} already; they are called", flush=True)
        sys.exit()
    print(f"payment provider on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
