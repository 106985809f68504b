"""Training: the step, the loop, and what a run remembers and writes."""

from gan_lt.training.dataset import open_training_set
from gan_lt.training.loop import train
from gan_lt.training.run_directory import create_run, open_run

__all__ = ["create_run", "open_run", "open_training_set", "train"]
