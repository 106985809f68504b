"""Sample a balanced synthetic set from a trained network: python generate.py --help."""

import sys

from gan_lt.loading import loading

with loading():
    from gan_lt.commands import generate_command, run_command

if __name__ == "__main__":
    sys.exit(run_command(generate_command, sys.argv[1:]))
