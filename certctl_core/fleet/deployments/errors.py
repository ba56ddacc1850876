"""Failures of the deployments room."""

from __future__ import annotations

from certctl_core.kernel.errors import Conflict, Invalid, Unprocessable


class JobNotAwaitingCSR(Conflict):
    """The job takes no CSR now: late, finished, or another request is being carried out."""

    code = "job_not_awaiting_csr"
    text = "The job {job_id} is {job_status}; it takes no certificate request now."
    members = ("job_status",)


class DeployTargetNotLinked(Invalid):
    """A deployment was asked for a target that the certificate is not linked to."""

    code = "target_not_linked_here"
    text = "The certificate {certificate_id} is not linked to the target {target_id}."
    hint = "Link it to the target first."


class NothingToDeploy(Conflict):
    """No target of the certificate can take a deployment."""

    code = "nothing_to_deploy"
    text = "No enabled target of {certificate_id} has an agent that holds an issued certificate."
    hint = "Link it to a target, and wait for its first certificate."


class ReportIncomplete(Unprocessable):
    """A report does not say what a report of this kind of job has to say."""

    code = "report_incomplete"
    text = "The report on the job {job_id} lacks or contradicts {what}."


class NoKeyOffered(Unprocessable):
    """The profile allows no key that an agent can make (KEY-03)."""

    code = "no_key_offered"
    text = "The profile {profile_id} allows no key that an agent can make."
