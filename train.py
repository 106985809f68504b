"""Train a class-conditional GAN on imbalanced images: python train.py --help."""

import sys

from gan_lt.loading import loading

with loading():
    from gan_lt.commands import run_command, train_command

if __name__ == "__main__":
    sys.exit(run_command(train_command, sys.argv[1:]))
