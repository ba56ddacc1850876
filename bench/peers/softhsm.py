"""A SoftHSM token for CA keys; not a contender, but where some keep their keys."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from bench.model import Bench, Unavailable

HINT = "apt-get install softhsm2"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)


def token(bench: Bench) -> dict[str, str]:
    """Make a token; the settings of a server that keeps keys in it.

    Raises:
        Unavailable: SoftHSM is not installed.
    """
    util = shutil.which("softhsm2-util")
    module = next((path for path in _MODULES if Path(path).exists()), None)
    if util is None or module is None:
        raise Unavailable(what="softhsm2", hint=HINT)
    folder = bench.subfolder("softhsm")
    (folder / "tokens").mkdir(exist_ok=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    pin = secrets.token_hex(8)
    subprocess.run(
        [
            util, "--init-token", "--free", "--label", "bench", "--so-pin", pin, "--pin", pin,
        ],
        check=True,
        capture_output=True,
        env={"SOFTHSM2_CONF": str(config)},
    )  # fmt: skip
    pin_file = folder / "pin"
    pin_file.touch(0o600)
    pin_file.write_text(pin)
    return {
        "SOFTHSM2_CONF": str(config),
        "CERTCTL_PKCS11_MODULE": module,
        "CERTCTL_PKCS11_TOKEN": "bench",
        "CERTCTL_PKCS11_PIN_FILE": str(pin_file),
    }
