"""nginx with one worker, serving files over TLS 1.3 without an access log."""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench.material import make_authority
from bench.model import Bench
from bench.processes import first_line, free_port, program, running

HINT = "apt-get install nginx"
_CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=100;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/ca.pem;
    ssl_certificate_key {folder}/ca-key.pem;
    ssl_protocols TLSv1.3;
    root {folder}/www;
    default_type application/octet-stream;
  }}
}}
"""


@contextmanager
def static(bench: Bench, files: Mapping[str, bytes]) -> Iterator[str]:
    """A server of these files; gives its base URL."""
    path = program(bench, "nginx", HINT)
    folder = bench.subfolder("nginx")
    # The files are ours alone to read, so the worker has to be us.
    user = "user root;" if os.geteuid() == 0 else ""
    make_authority(folder)
    (folder / "www").mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / "www" / name).write_bytes(data)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, user=user))
    command = [path, "-p", str(folder), "-c", str(config)]
    with running(bench.on_server(command), log=folder / "log", port=port):
        yield f"https://127.0.0.1:{port}"


def etag(url: str) -> str:
    """The entity tag of a file."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(url, context=context) as answer:
        return str(answer.headers["ETag"])


def version(bench: Bench) -> str:
    """What it says about itself."""
    return first_line(bench, "nginx", "-v")
