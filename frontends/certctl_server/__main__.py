"""``python -m certctl_server``: the control plane with the settings of the environment alone."""

from __future__ import annotations

import os
import sys

from certctl_server.commands import serve, worker

if __name__ == "__main__":
    command = worker if sys.argv[1:] == ["worker"] else serve
    sys.exit(command({}, config_file=None, environ=os.environ))
