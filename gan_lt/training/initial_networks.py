"""What `--init-from` names: an imported or saved network, or a run, and the settings it brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gan_lt.config import TrainConfig, validate
from gan_lt.errors import InputError
from gan_lt.models import Discriminator, Generator
from gan_lt.models.pretrained import CONFIG_NAME, WEIGHTS_NAME, read_config
from gan_lt.training.checkpoint import DamagedCheckpointError, list_checkpoints, load_checkpoint
from gan_lt.training.run_directory import CONFIG_NAME as RUN_CONFIG_NAME
from gan_lt.training.run_directory import open_run

_GENERATOR_SETTINGS = (
    "z_dim",
    "w_dim",
    "channel_base",
    "channel_max",
    "mapping_layers",
    "architecture",
    "mapping_lr_multiplier",
    "noise_inputs",
    "conv_clamp",
    "w_avg_beta",
)
_DISCRIMINATOR_SETTINGS = (
    "channel_base",
    "channel_max",
    "architecture",
    "mapping_layers",
    "conv_clamp",
    "mbstd_group_size",
    "mbstd_channels",
    "cmap_dim",
)
_CLASS_SETTINGS = ("mapping_layers", "cmap_dim")
# these change neither a shape nor what a weight means, so the command line may set them against the network
_FREE = frozenset(
    {
        "generator.conv_clamp",
        "generator.w_avg_beta",
        "discriminator.conv_clamp",
        "discriminator.mbstd_group_size",
        "ema.rampup",
    }
)


@dataclass(frozen=True)
class InitialNetworks:
    """Networks to start from.

    Attributes:
        source: as it was named. G: the generator to train on. G_ema: its average (G itself where only one is known).
        D: the discriminator, None where the source has none.
        class_names: of the source's classes, None where it does not tell them.
    """

    source: str
    G: Generator
    G_ema: Generator
    D: Discriminator | None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        names = self.G.config["class_names"]
        return None if names is None else tuple(names)

    def settings(self) -> dict[str, Any]:
        """The configuration, by dotted name, that these networks have."""
        g = self.G.config
        values: dict[str, Any] = {f"generator.{name}": g[name] for name in _GENERATOR_SETTINGS}
        values["generator.conditional"] = self.G.num_classes > 0
        values["data.resolution"], values["data.channels"] = self.G.resolution, self.G.img_channels
        # the source's average is trained already: a short half-life at the start would throw it away
        values["ema.rampup"] = None
        if self.D is not None:
            # the class layers of a discriminator without classes do not exist yet
            known = [n for n in _DISCRIMINATOR_SETTINGS if self.D.num_classes or n not in _CLASS_SETTINGS]
            values.update({f"discriminator.{name}": self.D.config[name] for name in known})
        return values


def open_initial_networks(source: str | Path) -> InitialNetworks:
    """The networks that `source` names.

    Args:
        source: a StyleGAN2-ADA .pkl (or .safetensors with its names), a folder of `gan-lt import`, a folder or file of
            `save_pretrained`, a run (the networks of its last good checkpoint), or "user/name" on the Hugging Face Hub.

    Raises:
        InputError: nothing of the kind there, or a damaged file.
    """
    networks = _open(source)
    if not isinstance(networks.G, Generator):
        raise InputError(
            f"--init-from: {source} holds a {type(networks.G).__name__}; only StyleGAN2 networks can be fine-tuned"
        )
    return networks


def _open(source: str | Path) -> InitialNetworks:
    path = Path(source)
    if not path.exists():
        from gan_lt.interop.hub import is_repository_name

        if is_repository_name(str(source)):
            with torch.random.fork_rng(devices=[]):
                G = Generator.from_pretrained(str(source))
            return InitialNetworks(str(source), G, G, None)
        raise InputError(
            f"--init-from: {path} does not exist; pass a StyleGAN2-ADA .pkl, a run or the folder of a saved network"
        )
    with torch.random.fork_rng(
        devices=[]
    ):  # building networks draws numbers; training's must not depend on it
        if path.is_file() and path.name in (CONFIG_NAME, WEIGHTS_NAME):
            path = path.parent
        if path.is_file():
            from gan_lt.interop import load_stylegan2_ada

            G, D = load_stylegan2_ada(path)
            return InitialNetworks(str(source), G, G, D)
        if (path / RUN_CONFIG_NAME).is_file():
            return _from_run(path)
        if (path / "generator" / CONFIG_NAME).is_file():
            G = Generator.from_pretrained(path / "generator")
            has_d = (path / "discriminator" / CONFIG_NAME).is_file()
            D_saved = Discriminator.from_pretrained(path / "discriminator") if has_d else None
            return InitialNetworks(str(source), G, G, D_saved)
        if (path / CONFIG_NAME).is_file():
            G = Generator.from_pretrained(path)
            return InitialNetworks(str(source), G, G, None)
    raise InputError(
        f"--init-from: {path} holds no network ({CONFIG_NAME} is missing); pass a StyleGAN2-ADA .pkl, a run or the folder of "
        f"a saved network"
    )


def _from_run(run: Path) -> InitialNetworks:
    """Both networks and the average of a run's last good checkpoint."""
    from gan_lt.training.state import build_discriminator

    config = open_run(run)
    if config.backbone != "stylegan2":
        raise InputError(
            f"--init-from: {run} has backbone={config.backbone}; only StyleGAN2 networks can be fine-tuned"
        )
    for checkpoint in reversed(list_checkpoints(run / "checkpoints")):
        try:
            state = load_checkpoint(checkpoint)
        except DamagedCheckpointError:
            continue  # as in resuming: the one before it serves
        arguments = read_config(run / "network")
        arguments.pop("class", None)
        G, G_ema = Generator(**arguments).eval(), Generator(**arguments).eval()
        D = build_discriminator(config, G.num_classes, G.resolution, G.img_channels).eval()
        for network, key in ((G, "G"), (G_ema, "G_ema"), (D, "D")):
            try:
                network.load_state_dict(state[key])
            except (KeyError, RuntimeError) as error:
                raise InputError(
                    f"--init-from: {checkpoint}: its {key} does not fit the run's settings; restore the run's files"
                ) from error
        return InitialNetworks(str(run), G, G_ema, D)
    raise InputError(
        f"--init-from: {run} has no good checkpoint; train it on with --resume {run}, or name another"
    )


def adopt_settings(
    config: TrainConfig, networks: InitialNetworks, given: Sequence[str], where: str = "--init-from"
) -> TrainConfig:
    """`config` with the settings of the networks.

    Args:
        config: as preset and command line make it.
        given: dotted names (or sections) that were set on the command line.

    Raises:
        InputError: a setting of the command line that contradicts the networks.
    """
    values = config.model_dump()
    for name, value in networks.settings().items():
        section, key = name.split(".")
        now = values[section][key]
        is_given = name in given or section in given
        if is_given and now != value and name not in _FREE and not _gains_classes(name, now):
            raise InputError(
                f"{name}={now}: the network of {where} {networks.source} has {name}={value}; leave it out, or start afresh"
            )
        if not is_given:
            values[section][key] = value
    return validate(values)


def _gains_classes(name: str, value: object) -> bool:
    """Whether an unconditional network is asked to learn classes, which it can."""
    return name == "generator.conditional" and value is True


def given_names(options: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """The dotted names that options and `dotted.name=value` overrides set."""
    return [*options, *(text.partition("=")[0] for text in overrides)]


__all__ = ["InitialNetworks", "adopt_settings", "given_names", "open_initial_networks"]
