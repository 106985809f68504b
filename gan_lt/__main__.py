"""`python -m gan_lt`: the same as `gan-lt`."""

import sys

from gan_lt.cli import main

if __name__ == "__main__":
    sys.exit(main())
