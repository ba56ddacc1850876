"""Failures of the agent.

::

    CertctlError
    ├── AgentConfigProblem        wrong before any connection was opened: exit status 2
    │   ├── AgentNotEnrolled
    │   ├── AgentAlreadyEnrolled
    │   ├── AgentAlreadyRunning
    │   ├── StateUnusable
    │   ├── CredentialExposed
    │   └── KeyDirectoryRefused
    ├── KeyUnsupported            a job asks for a key that this host cannot make
    └── ForeignCertificate        the server returned a certificate for another key
"""

from __future__ import annotations

from certctl_core.kernel.errors import Invalid, Unprocessable


class AgentConfigProblem(Invalid):
    """Base of what is wrong with the agent's own set-up."""

    code = "agent_config"
    text = "The agent is not set up correctly."


class AgentNotEnrolled(AgentConfigProblem):
    """There is no credential, and no token to get one with."""

    code = "agent_not_enrolled"
    text = "There is no agent in {state_dir}."
    hint = "Enroll it first: 'certctl agent enroll --server URL --token TOKEN'."


class AgentAlreadyEnrolled(AgentConfigProblem):
    """The state directory belongs to an agent already."""

    code = "agent_already_enrolled"
    text = "The directory {state_dir} belongs to the agent {agent_id} already."
    hint = "Choose another directory with --state-dir, or remove this one."


class AgentAlreadyRunning(AgentConfigProblem):
    """Another process runs this agent."""

    code = "agent_already_running"
    text = "Another process runs the agent of {state_dir}."


class StateUnusable(AgentConfigProblem):
    """The state directory or a file in it cannot be used."""

    code = "agent_state_unusable"
    text = "The file {path} cannot be used: {reason}."


class CredentialExposed(AgentConfigProblem):
    """Others may read the credential file."""

    code = "credential_exposed"
    text = "The credential file {path} must belong to the agent's user and have mode 0600."
    hint = "Fix its owner and mode; if others may have read it, rotate the key."


class KeyDirectoryRefused(AgentConfigProblem):
    """The directory for private keys is not safe."""

    code = "key_directory_refused"
    text = "Private keys cannot be kept in {path}: {reason}."


class KeyUnsupported(Unprocessable):
    """A job asks for a key that this host cannot make."""

    code = "unsupported"
    text = "This host cannot make a key of the kind {name}."


class ForeignCertificate(Unprocessable):
    """The server returned a certificate for another key."""

    code = "pair_mismatch_returned"
    text = "The certificate that the server returned does not belong to the key of the request."
