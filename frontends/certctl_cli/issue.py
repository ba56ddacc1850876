"""``certctl issue``: from a name to files that a server can use, in one command."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from certctl_client.errors import APIError

from certctl_cli.columns import ISSUED
from certctl_cli.failures import Failed
from certctl_cli.files import NewKeyFile, directory, refuse_existing, write_all
from certctl_cli.lazy import Command
from certctl_cli.options import state
from certctl_core.kernel.errors import CertctlError
from certctl_core.values import dataclass

if TYPE_CHECKING:
    from certctl_client import Client
    from certctl_client.types import Issued

    from certctl_cli.request import KeyAndRequest
    from certctl_core.pki.names import GeneralName

_KEY_TYPES = (
    *("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"),
    *("ml-dsa-44", "ml-dsa-65", "ml-dsa-87"),
)
_NAME_TAKEN = "certificate_name_taken"
_DECIDED = frozenset({400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 501})
"""With these the server has certainly not issued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be issued.

    Attributes:
        label: Name of the managed certificate; None leaves it to the server.
        names: The first is the common name; empty means the CSR's names.
        members: Further members of the creation (issuer, profile, policy, environment).
        attributes: Of the request's subject, besides the common name: (dotted OID, value).
    """

    label: str | None
    names: tuple[GeneralName, ...]
    members: Mapping[str, Any]
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def called(self) -> str:
        """What the managed certificate is called."""
        return self.label or (self.names[0].value if self.names else "")


@click.command("issue", cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--dns", multiple=True, metavar="NAME", help="A further host name; repeatable.")
@click.option("--ip", multiple=True, metavar="ADDRESS", help="A further IP address; repeatable.")
@click.option("--email", multiple=True, metavar="ADDRESS", help="A mail address; repeatable.")
@click.option("--uri", multiple=True, metavar="URI", help="A URI; repeatable.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Directory for key.pem, cert.pem, chain.pem and fullchain.pem.",
)
@click.option("--csr", type=click.File("r"), metavar="FILE", help="Your own request (- is stdin).")
@click.option(
    "--key-type",
    type=click.Choice(_KEY_TYPES),
    default="ecdsa-p256",
    show_default=True,
    help="Kind of the new key.",
)
@click.option(
    "--subject",
    metavar="DN",
    help="What the new request's subject has besides, such as OU=Web,O=Example; the profile "
    "decides what of it is issued.",
)
@click.option("--name", "label", metavar="LABEL", help="What to call it; the first name if absent.")
@click.option("--issuer", "issuer_id", metavar="ID", help="Who issues; the default issuer.")
@click.option("--profile", "profile_id", metavar="ID", help="What may be issued.")
@click.option("--policy", "policy_id", metavar="ID", help="When it is due for renewal.")
@click.option("--env", "environment", metavar="NAME", default="", help="Free text.")
@click.option("--renew", "is_renewing", is_flag=True, help="Renew it if it exists already.")
@click.option("--force", is_flag=True, help="Replace the files in DIR, also the key.")
def issue(  # noqa: PLR0917 - the command line
    names: tuple[str, ...],
    dns: tuple[str, ...],
    ip: tuple[str, ...],
    email: tuple[str, ...],
    uri: tuple[str, ...],
    out: Path,
    csr: Any,
    key_type: str,
    subject: str | None,
    label: str | None,
    issuer_id: str | None,
    profile_id: str | None,
    policy_id: str | None,
    environment: str,
    *,
    is_renewing: bool,
    force: bool,
) -> None:
    """Issue a certificate: a new key stays here (0600), only the request goes to the server.

    The first NAME is the common name; host names, addresses, mail addresses and URIs are told
    apart by their form. With --csr the key is yours and the names may be left out.
    """
    parsed = _names(names, dns=dns, ip=ip, email=email, uri=uri, is_needed=csr is None)
    wish = Wish(
        label=label,
        names=parsed,
        members={
            "issuer_id": issuer_id,
            "certificate_profile_id": profile_id,
            "renewal_policy_id": policy_id,
            "environment": environment,
        },
        attributes=_attributes(subject, has_csr=csr is not None),
    )
    csr_pem = csr.read() if csr else None
    if csr_pem is not None and is_renewing and not wish.called:
        wish = replace(wish, label=_name_in(csr_pem))
    if not force:
        files = ("cert.pem", "chain.pem", "fullchain.pem")
        refuse_existing([out / name for name in (() if csr else ("key.pem",)) + files])
    client = state().client()
    with directory(out):
        if csr_pem is not None:
            issued, key = _ask(client, wish, csr_pem, is_renewing=is_renewing), None
        else:
            issued, key = _with_new_key(
                client, wish, key_type, out / "key.pem", force=force, is_renewing=is_renewing
            )
        _finish(client, issued, out, key)


def _names(
    plain: tuple[str, ...], *, is_needed: bool, **typed: tuple[str, ...]
) -> tuple[GeneralName, ...]:
    from certctl_cli.request import read_names
    from certctl_core.pki.errors import PKIError

    try:
        names = read_names(plain, **typed)
    except PKIError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    if not names and is_needed:
        message = "Give at least one NAME, or a request with --csr."
        raise click.UsageError(message, click.get_current_context())
    return names


def _attributes(subject: str | None, *, has_csr: bool) -> tuple[tuple[str, str], ...]:
    from certctl_core.pki.errors import PKIError
    from certctl_core.pki.x509 import parse_attributes, subject_name

    if subject is None:
        return ()
    if has_csr:
        message = "--subject is for a new request; the one of --csr has its own."
        raise click.UsageError(message, click.get_current_context())
    try:
        pairs = tuple((oid, str(value)) for oid, value in parse_attributes(subject))
        subject_name(None, pairs)
    except PKIError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    return pairs


def _name_in(csr_pem: str) -> str | None:
    """What the server calls the certificate of this request; None when it cannot be read."""
    from certctl_core.pki.errors import PKIError
    from certctl_core.pki.x509 import parse_csr

    try:
        csr = parse_csr(csr_pem)
    except PKIError:
        return None  # the server says what is wrong with it
    return csr.common_name or (csr.names[0].value if csr.names else None)


def _with_new_key(
    client: Client, wish: Wish, key_type: str, path: Path, *, force: bool, is_renewing: bool
) -> tuple[Issued, Path]:
    """Make the key, write it, ask; the key stays unless the server has certainly refused."""
    from certctl_cli.request import ALGORITHMS, make

    output = state().output
    with output.progress("Making the key"):
        made: KeyAndRequest = make(wish.names, ALGORITHMS[key_type], attributes=wish.attributes)
    file = NewKeyFile(path, made.key_pem, is_replacing=force)
    try:
        issued = _ask(client, wish, made.csr_pem, is_renewing=is_renewing)
    except (APIError, click.ClickException, click.Abort) as error:
        if not isinstance(error, APIError) or error.status in _DECIDED:
            file.drop()
        else:
            output.note(f"The new key is kept in {file.lies_at}.")
        raise
    except CertctlError as error:
        if error.data.get("was_sent", True):
            output.note(f"It is not known whether it was issued; the new key is in {file.lies_at}.")
        else:
            file.drop()
        raise
    file.keep()
    return issued, path


def _ask(client: Client, wish: Wish, csr_pem: str, *, is_renewing: bool) -> Issued:
    """Create the certificate, or renew the one that has the name."""
    output = state().output
    with output.progress("Waiting for the issuer"):
        if is_renewing and wish.called:
            known = client.certificates.find(wish.called)
            if known is not None:
                return _renewed(client, known["id"], csr_pem)
        try:
            return _created(client, wish, csr_pem)
        except APIError as error:
            if error.code != _NAME_TAKEN or not wish.called:
                raise
            refused = error
    known = client.certificates.find(wish.called)
    if known is None or not _agrees_to_renew(wish.called):
        raise APIError(
            status=refused.status,
            document={
                "code": refused.code,
                "detail": f"A certificate named {wish.called} exists already.",
                "hint": "Give --renew to renew it, or --name to call this one otherwise.",
                "request_id": refused.request_id,
            },
        )
    return _renewed(client, known["id"], csr_pem)


def _created(client: Client, wish: Wish, csr_pem: str) -> Issued:
    created = client.certificates.create(
        name=wish.called or None,
        common_name=wish.names[0].value if wish.names else None,
        sans=[name.value for name in wish.names[1:]],
        csr_pem=csr_pem,
        managed_renewal=False,  # the key lies here, so nobody else can renew it
        **wish.members,
    )
    return _issued(created.get("issued"))


def _renewed(client: Client, certificate_id: str, csr_pem: str) -> Issued:
    return _issued(client.certificates.renew(certificate_id, csr_pem=csr_pem).get("issued"))


def _issued(issued: Issued | None) -> Issued:
    if issued is None:
        raise Failed(reason="The server took the request without issuing a certificate.")
    return issued


def _agrees_to_renew(name: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return click.confirm(f"A certificate named {name} exists already. Renew it?", err=True)


def _finish(client: Client, issued: Issued, out: Path, key: Path | None) -> None:
    output = state().output
    leaf, chain = issued["certificate_pem"], issued["chain_pem"]
    texts = {
        "cert": leaf,
        "chain": chain or _authorities(client, issued["certificate"]["issuer_id"]),
        "fullchain": leaf + chain,
    }
    paths = {name: out / f"{name}.pem" for name, text in texts.items() if text}
    write_all({path: texts[name] for name, path in paths.items()}, is_replacing=True)
    if key is not None:
        paths = {"key": key, **paths}
    if output.is_json:
        output.document({**issued, "files": {name: str(path) for name, path in paths.items()}})
        return
    output.form(issued, ISSUED)
    for path in paths.values():
        output.text(f"  {path}")


def _authorities(client: Client, issuer_id: str) -> str:
    """Where a root issues by itself there is no chain to send: the file then holds the root."""
    try:
        return "".join(client.issuers.ca_chain(issuer_id)["certificates"])
    except APIError:
        return ""  # not allowed to look, or the issuer cannot tell: no file then
