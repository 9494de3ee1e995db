"""Identifies a served model, since a multi-model server can serve one archive under several names.

The key of a served model is its archive's content digest. In multi-model mode it is `DIGEST@NAME`, with the name under
which the server has the model, percent-encoded. The monitor, the status, the record and the contracts in the runtime
directory use this key.
"""

import hashlib
from urllib.parse import quote, unquote

from driftserve.archive.contract import Contract

# Most bytes of an encoded name. A key is a part of file names, which may have 255 bytes. SageMaker's names are shorter.
_MOST_NAME_BYTES = 160
_HASH_DIGITS = 16


def served_key(digest: str, server_name: str = "") -> str:
    """Return the key of an archive that a multi-model server has under `server_name`; "" if it serves only one model.

    >>> served_key("c0ffee"), served_key("c0ffee", "night shift")
    ('c0ffee', 'c0ffee@night%20shift')
    """
    return f"{digest}@{encoded_name(server_name)}" if server_name else digest


def encoded_name(server_name: str) -> str:
    """Return a server's name of a model as it is in keys. A long name is cut, and gets a hash at its end."""
    encoded = quote(server_name, safe="", errors="backslashreplace")
    if len(encoded) <= _MOST_NAME_BYTES:
        return encoded
    return f"{encoded[: _MOST_NAME_BYTES - _HASH_DIGITS]}{hashlib.sha256(encoded.encode()).hexdigest()[:_HASH_DIGITS]}"


def digest_of(key: str) -> str:
    """Return the content digest of a served model's archive."""
    return key.partition("@")[0]


def encoded_name_of(key: str) -> str:
    """Return the encoded name in a key; "" if the key has none."""
    return key.partition("@")[2]


def display_name(contract: Contract, key: str) -> str:
    """Return `name/version`, with ` as NAME` if the server has the model under another name than the archive's.

    Metrics, reports, logs and `driftserve status` show it.
    """
    server_name = unquote(encoded_name_of(key))
    if server_name in ("", contract.name):
        return contract.display_name
    return f"{contract.display_name} as {server_name}"
