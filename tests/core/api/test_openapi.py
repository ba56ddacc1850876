"""OpenAPI and the operation table (01 API-25): one document, complete, and true to its operations."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel

from certctl_core.api import OperationTable, problem
from certctl_core.api.problems import typed_error
from certctl_core.app import Core
from certctl_core.kernel import errors
from certctl_core.kernel.errors import HTTP_STATUS, CertctlError, ErrorKind, FieldError
from certctl_core.kernel.operations import Access, Operation, Transaction
from certctl_core.people.access import CATALOGUE

ONE_ENGINE = pytest.mark.parametrize("database_engine", ["sqlite"])


@pytest.fixture
def document(core: Core) -> dict[str, Any]:
    return core.openapi()


@ONE_ENGINE
class TestDocument:
    def test_it_is_valid_openapi(self, document: dict[str, Any]) -> None:
        validator = pytest.importorskip("openapi_spec_validator")
        validator.validate(json.loads(json.dumps(document)))

    def test_references_lead_somewhere_and_names_are_unique(self, document: dict[str, Any]) -> None:
        text = json.dumps(document)
        schemas = document["components"]["schemas"]
        for reference in set(re.findall(r'"\$ref": "([^"]+)"', text)):
            assert reference.startswith("#/components/schemas/")
            assert reference.rpartition("/")[2] in schemas
        ids = [
            entry["operationId"] for path in document["paths"].values() for entry in path.values()
        ]
        assert len(ids) == len(set(ids))

    def test_every_operation_is_there_and_only_they(
        self, core: Core, document: dict[str, Any]
    ) -> None:
        described = {
            (method.upper(), path, entry["operationId"])
            for path, methods in document["paths"].items()
            for method, entry in methods.items()
        }
        assert described == {(item.method, f"/api/v1{item.path}", item.name) for item in core.table}

    @pytest.mark.spec("01/API-25")
    def test_each_is_public_or_has_its_permission(
        self, core: Core, document: dict[str, Any]
    ) -> None:
        public = {"auth.info", "auth.bootstrap_state", "auth.bootstrap", "version", "agents.enroll"}
        for operation in core.table:
            entry = document["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
            if operation.access is Access.PUBLIC:
                assert operation.name in public
                assert entry["security"] == []
            else:
                assert entry["security"]
            if operation.access is Access.GATED:
                assert entry["x-certctl-permission"] == operation.permission
                assert operation.permission in CATALOGUE
            else:
                assert operation.permission is None

    def test_path_parameters_are_those_of_the_path(
        self, core: Core, document: dict[str, Any]
    ) -> None:
        for path, methods in document["paths"].items():
            named = re.findall(r"\{([a-z_]+)\}", path)
            for entry in methods.values():
                given = [item["name"] for item in entry["parameters"] if item["in"] == "path"]
                assert given == named
                assert len({(p["name"], p["in"]) for p in entry["parameters"]}) == len(
                    entry["parameters"]
                )

    def test_writes_are_never_reads(self, core: Core) -> None:
        for operation in core.table:
            if operation.method in {"PUT", "PATCH", "DELETE"}:
                assert operation.transaction is not Transaction.READ
            if operation.is_list:
                assert operation.method == "GET"
                assert operation.query is not None or operation.name.endswith("_types.list")
                assert operation.output is not None
            assert bool(operation.body) <= (operation.method in {"POST", "PUT", "PATCH"})

    @pytest.mark.spec("05/SEC-5")
    def test_no_view_shows_a_secret(self, document: dict[str, Any]) -> None:
        """Members that hold a credential appear only where it is shown once."""
        secret = re.compile(r"(^|_)(key_value|password|passphrase|secret|private_key|token)$")
        shown_once = {"NewAPIKeyView", "BootstrapView", "NewTokenView"}
        found = {
            name
            for name, schema in document["components"]["schemas"].items()
            for member in schema.get("properties", {})
            if secret.search(member)
        }
        views = {name for name in found if "View" in name}
        assert views <= shown_once | {name for name in views if "Enroll" in name or "New" in name}


class Empty(BaseModel):
    """Nothing."""


def operation(**members: Any) -> Operation:
    base: dict[str, Any] = {
        "name": "things.get",
        "method": "GET",
        "path": "/things/{thing_id}",
        "summary": "Show a thing",
        "permission": "certificate.read",
        "output": Empty,
        "run": lambda _call: Empty(),
    }
    return Operation(**(base | members))


@pytest.mark.spec("05/PIPE-1")
@pytest.mark.parametrize(
    "second",
    [
        operation(path="/others"),
        operation(name="things.other", path="/things/{other_id}"),
        operation(name="things.other", path="/x", permission="no.such"),
    ],
)
def test_an_installation_with_a_bad_table_does_not_start(second: Operation) -> None:
    with pytest.raises(TypeError):
        OperationTable([operation(), second], permissions=CATALOGUE)


@pytest.mark.spec("05/PIPE-1")
def test_a_permission_belongs_to_gated_operations() -> None:
    for members in (
        {"permission": None},
        {"access": Access.PUBLIC},
        {"access": Access.AUTHENTICATED},
    ):
        with pytest.raises(TypeError):
            operation(**members)


class TestProblems:
    """01 API-07, DESIGN §7."""

    @pytest.mark.spec("01/API-07")
    def test_every_kind_has_a_status_and_a_title(self) -> None:
        assert set(HTTP_STATUS) == set(ErrorKind)
        for leaf in (
            errors.Invalid, errors.Unauthenticated, errors.Forbidden, errors.NotFound,
            errors.MethodNotAllowed, errors.Conflict, errors.Gone, errors.PreconditionFailed,
            errors.PayloadTooLarge, errors.UnsupportedMediaType, errors.Unprocessable,
            errors.RateLimited, errors.NotSupported, errors.Unavailable, errors.Internal,
        ):  # fmt: skip
            found = problem(leaf(), request_id="r")
            assert found.status == HTTP_STATUS[leaf.kind]
            assert found.document == found.document | {
                "type": f"urn:certctl:problem:{leaf.code}",
                "status": found.status,
                "code": leaf.code,
                "request_id": "r",
            }
            assert found.document["title"]
            assert found.document["detail"]

    def test_members_fields_and_headers(self) -> None:
        class Odd(errors.Conflict):
            """A conflict with data."""

            code = "odd"
            text = "There are {count} of {secret}."
            hint = "Do this."
            members = ("count",)

        error = Odd(
            count=3, secret="x", log={"cause": "internal text"},
            fields=[FieldError(field="a.b", message="is odd")],
        )  # fmt: skip
        document = problem(error, request_id="r").document
        assert (document["count"], document["hint"]) == (3, "Do this.")
        assert document["fields"] == [{"field": "a.b", "message": "is odd"}]
        assert "secret" not in document
        assert "internal text" not in json.dumps(document)

        def headers(error: CertctlError) -> dict[str, str]:
            return dict(problem(error, request_id="r").headers)

        assert headers(errors.RateLimited(retry_after_seconds=7)) == {"Retry-After": "7"}
        assert headers(errors.Unavailable()) == {"Retry-After": "1"}
        assert headers(errors.MethodNotAllowed(allow="GET")) == {"Allow": "GET"}
        assert headers(errors.Unauthenticated())["WWW-Authenticate"].startswith("Bearer")

    def test_a_defect_tells_nothing(self) -> None:
        for error in (ZeroDivisionError("/etc/secret"), KeyError("password"), OSError(13, "x")):
            document = problem(error, request_id="r").document
            assert (document["status"], document["code"]) == (500, "internal")
            assert "secret" not in json.dumps(document)
            assert typed_error(error).kind is ErrorKind.INTERNAL
