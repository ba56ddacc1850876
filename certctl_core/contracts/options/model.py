"""``PluginConfig`` and the helpers that declare its fields (spec 06 §1.2).

One model drives validation, JSON Schema, the HTML form, command-line flags, environment names and
the reference page, so every field says what it is::

    class WidgetsConfig(PluginConfig):
        base_url: HttpsUrl = option(title="API URL", help="Where the CA answers.")
        api_key: Secret = secret(title="API key", help="From the portal, page Keys.")
        client: ClientCert | None = client_cert(title="Client certificate", required=False)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticUndefined
from typing_extensions import override

from certctl_core.contracts.options.fields import PemBundle
from certctl_core.contracts.options.references import is_reference
from certctl_core.kernel.events import JSON
from certctl_core.kernel.secrets import Credential, Secret, open_private_key
from certctl_core.pki.errors import KeyRejected
from certctl_core.pki.keys import spki_der

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

EXTENSION = "x-certctl"
"""The member of a field's JSON Schema that holds its option metadata."""


def metadata(field: FieldInfo) -> dict[str, Any]:
    """The option metadata of a field; empty for one declared without ``option``."""
    extra = field.json_schema_extra
    found = extra.get(EXTENSION) if isinstance(extra, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def _holds_secret(annotation: object) -> bool:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            return any(_holds_secret(f.annotation) for f in annotation.model_fields.values())
        return issubclass(annotation, Secret)
    return any(_holds_secret(part) for part in get_args(annotation))


class ConfigModel(BaseModel):
    """Base of everything inside a plugin configuration: strict about keys, immutable, silent.

    Error messages never repeat the input, which may be a secret.
    """

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
        defer_build=True,  # of all that are installed, few are used
    )

    @override
    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a secret that is not declared as one, and a declaration without a secret."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            declared = bool(metadata(field).get("secret"))
            if declared != _holds_secret(field.annotation):
                message = f"{cls.__name__}.{name}: secret() and the type Secret go together"
                raise TypeError(message)


class PluginConfig(ConfigModel):
    """Base of a plugin's configuration.

    Attributes:
        schema_version: Raise it when a stored configuration of the older form no longer validates,
            and bring old ones forward in ``upgrade``.
    """

    schema_version: ClassVar[int] = 1

    @classmethod
    def upgrade(
        cls,
        raw: dict[str, JSON],
        from_version: int,  # noqa: ARG003 - for those who override it
    ) -> dict[str, JSON]:
        """Bring a stored configuration of an older ``schema_version`` into today's form.

        Called at load, before validation, with the secrets in their places.

        Args:
            raw: The stored configuration; may be changed and returned.
            from_version: The version it was stored with, lower than ``schema_version``.

        Raises:
            ValueError: It cannot be brought forward; the instance becomes unavailable with the
                message.
        """
        return raw

    @classmethod
    def generate_secrets(cls) -> dict[str, Secret]:
        """Secrets that the core makes when an instance is created without them.

        Called once, at creation. The core fills the fields that the input leaves out, stores them
        like any secret, and shows them once in its answer.

        Returns:
            By field name; empty unless a plugin offers some.
        """
        return {}


def option(
    default: Any = PydanticUndefined,
    *,
    title: str,
    help: str = "",  # noqa: A002 - the word of CFG-1
    group: str = "General",
    order: int | None = None,
    advanced: bool = False,
    visible_when: Mapping[str, object] | None = None,
    placeholder: str = "",
    example: str = "",
    choices_from: str = "",
    env: str = "",
    since: str = "",
    pem: bool = False,
    **constraints: Any,
) -> Any:
    """Declare a field.

    Args:
        default: Its value when absent; without one the field is required.
        title: A short label.
        help: One or two sentences for the operator.
        group: The heading it stands under.
        order: Its place in the group; the order of declaration otherwise.
        advanced: Folded away in forms.
        visible_when: ``{field: value}`` or ``{field: [values]}``: shown only then.
        placeholder: Grey text of an empty input.
        example: A value for the reference page.
        choices_from: Name of a method of the plugin class that lists the choices.
        env: Overrides the last part of the environment name.
        since: Product version that brought it.
        pem: Forms give it several lines; ``PemBundle`` has them anyway.
        constraints: ``ge``, ``le``, ``min_length``, ``max_length``, ``pattern`` as in pydantic.
    """
    given: dict[str, object] = {
        "group": group,
        "order": order,
        "advanced": advanced or None,
        "visible_when": dict(visible_when) if visible_when else None,
        "placeholder": placeholder or None,
        "example": example or None,
        "choices_from": choices_from or None,
        "env": env or None,
        "since": since or None,
        "secret": constraints.pop("_secret", None),
    }
    extra: dict[str, Any] = {
        EXTENSION: {name: value for name, value in given.items() if value is not None}
    }
    if given["secret"] == "value":  # noqa: S105 - a mark, not a secret
        extra |= {"writeOnly": True, "format": "password"}
    if pem:
        extra["contentMediaType"] = "application/x-pem-file"
    return Field(
        default, title=title, description=help or None, json_schema_extra=extra, **constraints
    )


def secret(default: Any = PydanticUndefined, *, title: str = "Secret", **metadata: Any) -> Any:
    """Declare a field of type ``Secret`` (or a list or map of them): sealed, write-only.

    Args:
        default: None for an optional one; secrets have no other default.
        title: A short label.
        metadata: As for ``option``.
    """
    return option(default, title=title, _secret="value", **metadata)  # noqa: S106 - a mark


def client_cert(
    *, title: str = "Client certificate", required: bool = True, **metadata: Any
) -> Any:
    """Declare a field of type ``ClientCert``.

    Args:
        title: A short label.
        required: False gives it the default None; the type is then ``ClientCert | None``.
        metadata: As for ``option``.
    """
    default = PydanticUndefined if required else None
    return option(default, title=title, _secret="inside", **metadata)  # noqa: S106 - a mark


class ClientCert(ConfigModel):
    """A certificate with its key, to authenticate with by TLS."""

    cert: PemBundle = option(
        title="Certificate", help="PEM: the client certificate, then its chain."
    )
    key: Secret = secret(title="Private key", help="PEM, plain or encrypted.", pem=True)
    passphrase: Secret | None = secret(
        None, title="Passphrase", help="Of the private key, if it is encrypted.", advanced=True
    )

    @model_validator(mode="after")
    def _key_belongs_to_certificate(self) -> Self:
        texts = [self.cert, self.key.reveal()]
        if self.passphrase is not None:
            texts.append(self.passphrase.reveal())
        if any(is_reference(text) for text in texts):
            return self  # Checked again when the references are resolved.
        try:
            key = open_private_key(Credential(self.key), passphrase=self.passphrase)
        except KeyRejected as error:
            raise ValueError(error.detail) from None
        if spki_der(key.public_key()) != spki_der(self.cert.certificates[0].public_key()):
            message = "The private key does not belong to the certificate."
            raise ValueError(message)
        return self


def config_schema(model: type[ConfigModel]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration, with ``x-certctl`` for every field.

    Every field has ``group`` and ``order``; secret ones also ``writeOnly`` and ``format``.
    """
    schema = model.model_json_schema(mode="validation")
    for part in (schema, *schema.get("$defs", {}).values()):
        for place, field in enumerate(part.get("properties", {}).values()):
            known = field.setdefault(EXTENSION, {})
            known.setdefault("group", "General")
            known.setdefault("order", place)
            if "secret" in known:
                known["secret"] = True
    return schema


def nested_models(annotation: object) -> Iterator[type[ConfigModel]]:
    """The configuration models inside a type, e.g. in ``ClientCert | None``."""
    if isinstance(annotation, type) and issubclass(annotation, ConfigModel):
        yield annotation
    elif get_origin(annotation) not in (dict, list, tuple):
        for part in get_args(annotation):
            yield from nested_models(part)
