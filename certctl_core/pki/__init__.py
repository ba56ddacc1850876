"""Pure PKI: parse, build, check and sign X.509 objects; no I/O, no clock, no kernel.

=============  =========================================================================
Module         Job
=============  =========================================================================
``errors``     the tree of every failure of this floor
``serials``    serial numbers and their canonical hexadecimal form
``reasons``    CRLReason
``keys``       algorithms, key ids, strength
``names``      SubjectAltName values and their safety
``x509``       certification requests and certificates: read, build, describe
``chain``      order and verify certification paths
``lint``       RFC 5280 checks on a certificate that is about to leave
``crl``        certificate revocation lists as bytes
``ocsp``       OCSP requests and responses as bytes
=============  =========================================================================
"""
