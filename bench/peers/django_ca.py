"""django-ca under gunicorn (one worker, four threads), on a PostgreSQL of its own, without TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509

from bench.material import request_pem
from bench.model import Bench, Broken, Unavailable
from bench.peers.postgres import postgres
from bench.processes import free_port, run, running

HINT = "a virtual environment 'django' in the peers' folder with django-ca[postgres] and gunicorn"
_SETTINGS = """
from pathlib import Path
SECRET_KEY = "bench" * 12
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "site_urls"
CA_USE_CELERY = False
CA_DIR = "{folder}/files"
CA_DEFAULT_HOSTNAME = "127.0.0.1:{port}"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django_object_actions", "django_ca",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
DATABASES = {{"default": {{
    "ENGINE": "django.db.backends.postgresql", "NAME": "{name}", "USER": "postgres",
    "HOST": "{host}", "CONN_MAX_AGE": 600,
}}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STORAGES = {{
    "default": {{"BACKEND": "django.core.files.storage.FileSystemStorage"}},
    "staticfiles": {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
    "django-ca": {{
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {{"location": "{folder}/files"}},
    }},
}}
"""
_URLS = """
from django.urls import include, path
urlpatterns = [path("django_ca/", include("django_ca.urls"))]
"""
_WSGI = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoCA:
    """A running installation with one certificate."""

    ocsp_url: str
    leaf: x509.Certificate
    issuer: x509.Certificate


@contextmanager
def server(bench: Bench) -> Iterator[DjangoCA]:
    """A fresh installation with an EC root, a leaf and a responder certificate.

    Raises:
        Unavailable: Its environment was not made.
    """
    binaries = bench.peers / "django" / "bin"
    if not (binaries / "gunicorn").exists():
        raise Unavailable(what="django-ca", hint=HINT)
    folder = bench.subfolder("django-ca")
    (folder / "files").mkdir(exist_ok=True)
    port = free_port()
    with postgres(bench, "django-ca") as uri:
        parts = urlsplit(uri)
        host = parse_qs(parts.query).get("host", [parts.hostname or ""])[0]
        (folder / "site_settings.py").write_text(
            _SETTINGS.format(folder=folder, port=port, name=parts.path.lstrip("/"), host=host)
        )
        (folder / "site_urls.py").write_text(_URLS)
        (folder / "site_wsgi.py").write_text(_WSGI)
        leaf, issuer = _set_up(binaries, folder)
        command = [str(binaries / "gunicorn"), "-w", "1", "--threads", "4", "-b"]
        command += [f"127.0.0.1:{port}", "--keep-alive", "60", "site_wsgi:application"]
        with running(bench.on_server(command), log=folder / "log", port=port, cwd=folder):
            yield DjangoCA(
                ocsp_url=f"http://127.0.0.1:{port}/django_ca/ocsp/{_serial(issuer)}/cert/",
                leaf=leaf,
                issuer=issuer,
            )


def _set_up(binaries: Path, folder: Path) -> tuple[x509.Certificate, x509.Certificate]:
    def django(*arguments: str) -> str:
        return run(
            [str(binaries / "django-admin"), *arguments],
            cwd=folder,
            DJANGO_SETTINGS_MODULE="site_settings",
            PYTHONPATH=str(folder),
        )

    name = "www.example.test"
    (folder / "leaf.csr").write_text(request_pem(name))
    django("migrate", "--verbosity=0")
    django("init_ca", "--key-type=EC", "--path-length=0", "root", "CN=bench root")
    serial = _authority_serial(django("list_cas"))
    signed = django(
        "sign_cert",
        f"--ca={serial}",
        f"--csr={folder / 'leaf.csr'}",
        f"--subject=CN={name}",
    )
    shown = django("view_ca", serial, "--no-wrap")
    return _certificate_in(signed), _certificate_in(shown)


def _certificate_in(text: str) -> x509.Certificate:
    start = text.find("-----BEGIN CERTIFICATE-----")
    if start < 0:
        raise Broken(what="django-ca", why=f"no certificate in {text[-300:]}")
    return x509.load_pem_x509_certificate(text[start:].encode())


def _authority_serial(listing: str) -> str:
    found = re.search(r"[0-9A-F]{2}(?::[0-9A-F]{2}){7,}", listing)
    if found is None:
        raise Broken(what="django-ca", why=f"no CA in {listing[-300:]}")
    return found[0].replace(":", "")


def _serial(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:X}"


def version(bench: Bench) -> str:
    """What its environment holds."""
    python = str(bench.peers / "django" / "bin" / "python")
    code = "import importlib.metadata as m; print('django-ca', m.version('django-ca'))"
    return run([python, "-c", code]).strip()
