"""The scaling model: what it must give in cases one can work out by hand."""

from __future__ import annotations

import pytest

from benchmarks.scaling import Machine, main, model_step, ring_seconds


def test_a_ring_moves_twice_the_bytes_less_one_share() -> None:
    machine = Machine(1000, link=100, node_link=10, per_node=8, latency=0)
    assert ring_seconds(1e9, 1, machine) == 0
    assert ring_seconds(1e9, 2, machine) == pytest.approx(0.01)
    assert ring_seconds(1e9, 16, machine) == pytest.approx(2 * 15 / 16 / 10), "the link between nodes bounds"
    late = Machine(1000, link=100, node_link=10, per_node=8, latency=1e-3)
    assert ring_seconds(0, 4, late) == pytest.approx(6e-3)


def test_one_process_computes_only_and_efficiency_falls() -> None:
    machine = Machine(500, link=100, node_link=10, per_node=8, latency=1e-6)
    steps = [model_step(n, 16, 50e6, 512, machine) for n in (1, 8, 64)]
    assert steps[0].images_per_second == pytest.approx(500)
    assert steps[0].gradients == steps[0].gathering == 0
    assert steps[0].efficiency > steps[1].efficiency > steps[2].efficiency > 0


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images-per-second", "500"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= 84
