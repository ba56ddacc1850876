"""The nginx target keeps the contract of targets (spec 07 PLG-05)."""

from __future__ import annotations

import pytest
from certctl_targets.nginx import Nginx

from certctl_core.contracts.targets import FileTarget
from certctl_core.testing.target import TargetLab, target_contract


def _nginx(lab: TargetLab) -> tuple[type[FileTarget], dict[str, object]]:
    return Nginx, {
        "cert_path": lab.path("cert.pem"),
        "key_path": lab.path("key.pem"),
        "validate_command": lab.validate_command,
        "reload_command": lab.reload_command,
        "verify": lab.verify,
    }


def _with_chain_file(lab: TargetLab) -> tuple[type[FileTarget], dict[str, object]]:
    target, config = _nginx(lab)
    return target, {**config, "chain_path": lab.path("chain.pem")}


TestNginx = pytest.mark.spec("07/PLG-05")(target_contract(_nginx))
TestNginxWithChainFile = target_contract(_with_chain_file)


@pytest.mark.spec("07/TGT-01")
def test_the_certificate_file_holds_the_chain(tmp_path) -> None:
    lab = TargetLab(tmp_path)
    bundle = lab.authority.issue("v1")
    engine = lab.engine()
    plain = engine.build(*_nginx(lab), target_id="tgt-1").plan(bundle)
    split = engine.build(*_with_chain_file(lab), target_id="tgt-1").plan(bundle)
    lab.close()

    assert [file.data for file in plain.files] == [bundle.fullchain.encode(), bundle.key]
    assert [file.data for file in split.files] == [
        bundle.leaf.encode(),
        bundle.chain.encode(),
        bundle.key,
    ]
