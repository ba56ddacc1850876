"""What the cryptography library may raise while it reads foreign bytes."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
    KeyError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.AttributeNotFound,
    x509.ExtensionNotFound,
    # Raised only where the interpreter turns warnings into errors: the library warns about
    # over-long attributes and odd serial numbers of foreign certificates.
    UserWarning,
)
"""Everything a parse or a verification of the library can end in; none of it may cross a module."""
