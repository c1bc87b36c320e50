"""`python -m minivlm` is `minivlm`."""

import sys

from minivlm.cli import main

sys.exit(main())
