"""What bounds training on many processes: a small model of a step, from measured or assumed figures.

    python -m benchmarks.scaling [--images-per-second X] [--batch-per-process N] [--parameters P] [--link GB/S] [--nodes-of N]
                                 [--node-link GB/S] [--latency-us T] [--classes K] [--json FILE]

A step takes the time of its images, plus two averages of gradients (one for each network), plus the exchange of w and the
scalars. Averages are rings: each process sends and receives 2 (N - 1) / N of the bytes over the slowest link on the ring, in
2 (N - 1) messages. Nothing overlaps: our step averages gradients after the backward pass, so this is what it takes, not a
bound from below. Figures that were not measured are assumptions, and are printed as such.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

PROCESSES = (1, 8, 64, 1024)


@dataclass(frozen=True)
class Machine:
    """What a cluster is made of.

    images_per_second: of one process alone, both networks' steps included. link, node_link: GB/s within a node and
    between nodes, per process. per_node: processes. latency: seconds a message.
    """

    images_per_second: float
    link: float
    node_link: float
    per_node: int
    latency: float


@dataclass(frozen=True)
class Step:
    """Milliseconds of one step on `processes`, and what they yield."""

    processes: int
    batch: int
    compute: float
    gradients: float
    gathering: float
    images_per_second: float
    efficiency: float


def ring_seconds(payload: float, processes: int, machine: Machine) -> float:
    """One all-reduce of `payload` bytes."""
    if processes == 1:
        return 0.0
    # a ring through several nodes is as slow as its slowest link
    speed = machine.link if processes <= machine.per_node else min(machine.link, machine.node_link)
    return 2 * (processes - 1) / processes * payload / (speed * 1e9) + 2 * (processes - 1) * machine.latency


def model_step(
    processes: int, batch_per_process: int, parameters: float, w_dim: int, machine: Machine
) -> Step:
    """The time of one step; parameters: of both networks together."""
    batch = processes * batch_per_process
    compute = batch_per_process / machine.images_per_second
    gradients = ring_seconds(4 * parameters, processes, machine)
    # w of the whole batch with its gradient, labels, and a handful of scalar averages
    gathering = 2 * ring_seconds(4 * batch * w_dim / 2, processes, machine) + 4 * ring_seconds(
        64, processes, machine
    )
    seconds = compute + gradients + gathering
    speed = batch / seconds
    return Step(
        processes,
        batch,
        1e3 * compute,
        1e3 * gradients,
        1e3 * gathering,
        speed,
        speed / (processes * machine.images_per_second),
    )


def class_table_bytes(classes: int, w_dim: int) -> float:
    """What K classes add to the gradients: an embedding in G and one in D, dense."""
    return 2.0 * 4 * classes * w_dim


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--images-per-second", type=float, default=1000.0, help="of one process (assumed 1000)"
    )
    parser.add_argument("--batch-per-process", type=int, default=16)
    parser.add_argument(
        "--parameters", type=float, default=50e6, help="of both networks, without class tables"
    )
    parser.add_argument("--w-dim", type=int, default=512)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--link", type=float, default=200.0, help="GB/s within a node (assumed 200)")
    parser.add_argument(
        "--node-link", type=float, default=25.0, help="GB/s between nodes, a process (assumed 25)"
    )
    parser.add_argument("--nodes-of", type=int, default=8, help="processes a node")
    parser.add_argument("--latency-us", type=float, default=5.0, help="a message (assumed 5)")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    machine = Machine(args.images_per_second, args.link, args.node_link, args.nodes_of, args.latency_us / 1e6)
    parameters = args.parameters + class_table_bytes(args.classes, args.w_dim) / 4
    steps = [model_step(n, args.batch_per_process, parameters, args.w_dim, machine) for n in PROCESSES]
    print(
        f"{args.images_per_second:g} img/s a process, {parameters / 1e6:.0f}M parameters ({args.classes:,} classes), "
        f"{args.link:g} / {args.node_link:g} GB/s"
    )
    print("processes   batch  compute  gradients  gathering     img/s  efficiency")
    for step in steps:
        print(
            f"{step.processes:>9,} {step.batch:>7,} {step.compute:>6.1f} ms {step.gradients:>7.1f} ms {step.gathering:>7.1f} ms "
            f"{step.images_per_second:>9,.0f} {step.efficiency:>10.0%}"
        )
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(step) for step in steps], indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
