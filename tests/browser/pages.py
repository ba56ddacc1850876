"""Serves the sample pages of the web interface as the application will: same policy, same files."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.frontends.ui import samples

# 08 HTTP-6, word for word.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ROUTES = {
    "/ui/": "dashboard",
    "/ui/search": "search",
    "/ui/certificates": "certificates-filtered",
    "/ui/certificates/new": "certificate-new",
}


@dataclass
class Site:
    """A running server.

    Attributes:
        address: Where it listens, without a slash at the end.
        gets: Paths that were asked for.
        posts: (path, form) of everything that was sent.
    """

    address: str
    gets: list[str] = field(default_factory=list)
    posts: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def page(self, name: str) -> str:
        return f"{self.address}/sample/{name}"


@contextmanager
def serve() -> Iterator[Site]:
    """Run the site on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            """Stay quiet."""

        def answer(self, body: bytes, kind: str, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            site.gets.append(self.path)
            if parts.path.startswith("/static/"):
                file = samples.UI / parts.path.lstrip("/")
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self.answer(file.read_bytes(), kind)
                return
            if parts.path == "/favicon.ico":  # asked for where a part of a page is shown alone
                self.answer(b"", "image/x-icon", 204)
                return
            name = _ROUTES.get(parts.path, parts.path.removeprefix("/sample/"))
            if name not in samples.PAGES:
                self.answer(b"not here", "text/plain", 404)
                return
            template, context = samples.PAGES[name]
            html = samples.environment().get_template(template).render(context)
            self.answer(html.encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            site.posts.append((self.path, parse_qs(body, keep_blank_values=True)))
            self.answer(b"<!doctype html><title>Sent</title><p>sent", "text/html")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
