"""A web page in a real browser: headless Chromium shows it, and it reports to the server it came from."""

import json
import os
import shutil
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from passo import PATH

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")


def missing():
    """What keeps pages from being tested here; nothing in CI."""
    return None if shutil.which("chromium", path=PATH) else "chromium is not installed"


class Page:
    """One page with a script. The script ends with a call of `report(value)`."""

    def __init__(self, folder):
        self.folder = folder
        self.reported, self.report, self.script = threading.Event(), None, ""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(page.html() if self.path == "/" else b"", 200 if self.path == "/" else 404)

            def do_POST(self):
                page.report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(b"", 200)
                page.reported.set()

            def answer(self, body, status):
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def html(self):
        return ("<!doctype html><title>page</title><script>"
                "const report = value => fetch('/report', {method: 'POST', body: JSON.stringify(value)});"
                f"(async () => {{ {self.script} }})().catch(error => report({{error: String(error)}}));"
                "</script>").encode()

    def show(self, script, seconds=120):
        """What the script reports."""
        self.script = script
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        log = self.folder / "chromium.log"
        environment = {"PATH": PATH, "HOME": str(self.folder), "LANG": "C.UTF-8"}
        with log.open("wb") as output:
            browser = subprocess.Popen(
                ["chromium", *FLAGS, f"--user-data-dir={self.folder / 'profile'}", self.origin + "/"],
                env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True)
        try:
            assert self.reported.wait(seconds), f"the page did not report:\n{log.read_text(errors='replace')[-3000:]}"
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            self.server.shutdown()
            self.server.server_close()
        return self.report
