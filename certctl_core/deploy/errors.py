"""Why a deployment stops. ``code`` is what the job's report carries (spec 07 JOB-08)."""

from __future__ import annotations

from certctl_core.kernel.errors import Unavailable, Unprocessable


class DeployError(Unprocessable):
    """Base of the failures of the transaction."""

    code = "deploy_failed"
    text = "The deployment failed."


class IdRefused(DeployError):
    """An id could leave its directory as a file name (MOD-02); data: ``what``."""

    code = "id_refused"
    text = "The {what} id cannot be used as a file name."


class PolicyDenied(DeployError):
    """The host's own policy forbids it; data: ``what``."""

    code = "policy_denied"
    text = "The policy of this host does not allow {what}."
    hint = "An administrator of the host can allow it in the agent's policy file."


class PolicyUnsafe(DeployError):
    """The policy file cannot be trusted or read; data: ``path``, ``reason``."""

    code = "policy_unsafe"
    text = "The policy file {path} cannot be used: {reason}."
    hint = "It must belong to root and be writable by root alone."


class PathRefused(DeployError):
    """A destination breaks the path rules (DEP-07); data: ``path``, ``reason``."""

    code = "path_refused"
    text = "The file {path} cannot be deployed: {reason}."


class CommandUnavailable(DeployError):
    """A program is absent or could be replaced by somebody else; data: ``program``, ``reason``."""

    code = "command_unavailable"
    text = "The program {program} cannot be run: {reason}."


class KeyMissing(DeployError):
    """The private key of the version is not on this host."""

    code = "key_missing"
    text = "The private key of this certificate is not on this host."


class CheckFailed(DeployError):
    """A check of the target itself said no; data: ``check``, ``reason``."""

    code = "check_failed"
    text = "The check {check} of the target failed: {reason}."


class TargetBusy(Unavailable):
    """Another deployment holds the target or one of its files."""

    code = "busy"
    text = "Another deployment is working on this target or on one of its files."


class BaselineBroken(DeployError):
    """The service's configuration was broken before anything was changed; data: ``output``."""

    code = "baseline_broken"
    text = "The configuration of the service was already broken before the deployment: {output}."
    hint = "Repair it, or deploy with force."


class WriteFailed(DeployError):
    """The file system refused; data: ``path``, ``reason``."""

    code = "write_failed"
    text = "The file {path} could not be written: {reason}."


class ValidateFailed(DeployError):
    """The service's configuration does not work with the new files; data: ``output``."""

    code = "validate_failed"
    text = "The service does not accept the new files: {output}."


class ReloadFailed(DeployError):
    """A reload command failed; data: ``output``."""

    code = "reload_failed"
    text = "The service could not be reloaded: {output}."


class VerifyFailed(DeployError):
    """The service serves something else than was deployed; data: ``reason``."""

    code = "verify_failed"
    text = "The service does not serve the deployed certificate: {reason}."


class ConnectFailed(DeployError):
    """The endpoint did not answer with TLS; data: ``reason``."""

    code = "connect_failed"
    text = "The endpoint cannot be reached: {reason}."


class Cancelled(DeployError):
    """The job was cancelled or the agent is stopping."""

    code = "cancelled"
    text = "The deployment was cancelled."


class TransactionDefect(DeployError):
    """The transaction or a target broke; data: ``what``. Details are in the log."""

    code = "deploy_internal"
    text = "The deployment stopped because of a defect: {what}."
