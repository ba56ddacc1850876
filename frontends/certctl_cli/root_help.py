"""What ``certctl --help`` prints: ready made, so that it appears at once.

Made by ``python -m certctl_cli.docs``; a test compares the two.
"""

from __future__ import annotations

TEXT = """\
Usage: certctl [OPTIONS] COMMAND [ARGS]...

  Order, renew, deploy, watch and revoke X.509 certificates.

  The options below may stand before or after a command. 'certctl serve' writes
  a client.toml that --data-dir reads: address, key and CA in one.

Options:
  --server URL         Address of the server, https only.  [env var:
                       CERTCTL_SERVER_URL]
  --api-key KEY        The API key. Others on this machine see a command line:
                       prefer the file.  [env var: CERTCTL_API_KEY]
  --api-key-file FILE  File with the API key.  [env var: CERTCTL_API_KEY_FILE]
  --ca-bundle FILE     PEM file with the CA that the server is checked with.
                       [env var: CERTCTL_SERVER_CA_BUNDLE_PATH]
  --data-dir DIR       Data directory of a server on this machine; its
                       client.toml has all three.  [env var: CERTCTL_DATA_DIR]
  --timeout SECONDS    Wait for each answer (default 30).  [0<x<=3600]
  --json               Answer with JSON on stdout.
  -v, --verbose        Show traces of failures.
  --version            Show the release and exit.
  -h, --help           Show this message and exit.

Certificates:
  issue         Make a key and get a certificate for it.
  certificates  List, show, renew, revoke and download certificates.
  issuers       List, show, create, change and test issuers.
  profiles      List, show, create, change and try certificate profiles.
  policies      List, show, create and change renewal policies.
  blocked-keys  List, block and unblock public keys, or lists of weak ones.
  ca            CA keys and trees of CAs: list, rotate, create, retire, revoke.
  crl           Check, show and regenerate the revocation lists.
  ocsp          Check OCSP, rotate its responders, purge answers.

Running it:
  trust        Show and reload the trust bundles.
  serve        Run the control plane.
  worker       Run its background part alone.
  agent        Enroll and run an agent on this host.
  config       Check and explain the settings.
  db           Upgrade and check the database schema.
  doctor       Look whether a disaster could be survived.
  dr           Rehearse a restore; bring back what a backup lacks.
  admin        Make API keys without a server.
  healthcheck  Exit 0 when the server on this host is healthy.

Servers and agents:
  agents   List, show and retire agents; make enrollment tokens.
  targets  List, show, create, link and test targets.
  jobs     List, show, cancel and retry jobs.

People and records:
  notifiers            List, show, create, change and test notifiers.
  notification-routes  List, show, create and change the routes of
                       notifications.
  keys                 List, create, rotate and revoke API keys.
  me                   Show who you are and what you may do.
  audit                List the audit log and verify it.

More:
  status      Show whether the server is ready, and its numbers.
  plugins     Show which plugins are installed.
  signers     Show where private keys are kept.
  api         Call any operation of the REST API.
  version     Show the release of this program and of the server.
  completion  Print the completion script for a shell.

Exit codes:
  0    done
  1    the server refused, or it failed
  2    the command line or a file it names is not usable
  3    there is no such object
  4    no valid API key, or not allowed
  5    no answer in time, or not finished in time
  130  interrupted

The commands under 'Running it' have codes of their own: see
docs/reference/exit-codes.md.
"""
