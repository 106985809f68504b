"""gan-lt doctor tells in which precision training runs here."""

from __future__ import annotations

import json

import pytest
import torch

from gan_lt import doctor


@pytest.mark.parametrize(("pairs", "expected"), [(True, "bf16"), (False, "fp32")])
def test_the_precision_of_this_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pairs: bool, expected: str
) -> None:
    monkeypatch.setattr(doctor, "time_operations", list)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: pairs)
    assert doctor.doctor_command([]) == 0
    assert f"auto is {expected} on cpu" in capsys.readouterr().out
    assert doctor.doctor_command(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"]["cpu"] == expected
