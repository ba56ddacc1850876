"""Bodies and answers of the renewal room."""

from pydantic import Field

from certctl_core.kernel.operations import Input, View
from certctl_core.lifecycle.certificates import IssuedView


class RenewCertificate(Input):
    """How to renew."""

    csr_pem: str | None = Field(
        None, max_length=32768, description="Issue at once from this request."
    )
    force: bool = Field(default=False, description="Replace a renewal that is under way.")


class RenewalView(View):
    """What a renewal request led to: an issued certificate, or jobs that wait for CSRs."""

    status: str = Field(description="`issued` or `renewal_triggered`.")
    job_ids: list[str] = Field(default_factory=list)
    issued: IssuedView | None = None
