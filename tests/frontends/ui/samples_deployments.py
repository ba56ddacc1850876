"""Deployments for the pages: one that went well, one that was rolled back."""

from __future__ import annotations

from tests.frontends.ui import samples_data as data

DEPLOYMENTS = [
    {
        "id": "dep-1",
        "job_id": "job-1",
        "certificate_id": data.CERTIFICATES[5]["id"],
        "target_id": "tgt-1",
        "agent_id": "ag-1",
        "version_id": "cv-6",
        "outcome": "deployed",
        "stages": [
            {"name": "write_files", "ok": True, "detail": ""},
            {"name": "config_test", "ok": True, "detail": "nginx -t"},
            {"name": "reload", "ok": True, "detail": ""},
            {"name": "handshake", "ok": True, "detail": "serves the new certificate"},
        ],
        "fingerprint_sha256": data.versions()[0]["fingerprint_sha256"],
        "verification": {"status": "success"},
        "started_at": data.at(days=38),
        "finished_at": data.at(days=38),
    },
    {
        "id": "dep-2",
        "job_id": "job-2",
        "certificate_id": data.CERTIFICATES[5]["id"],
        "target_id": "tgt-2",
        "agent_id": "ag-2",
        "version_id": "cv-6",
        "outcome": "rolled_back",
        "stages": [{"name": "config_test", "ok": False, "detail": "exit 1"}],
        "fingerprint_sha256": data.versions()[0]["fingerprint_sha256"],
        "verification": None,
        "started_at": data.at(days=38),
        "finished_at": data.at(days=38),
    },
]
