"""`python -m nanodistil` is the command `nanodistil`."""

import sys

from nanodistil.cli import main

sys.exit(main())
