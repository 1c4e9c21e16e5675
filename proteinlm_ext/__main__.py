"""`python -m proteinlm_ext` is the `proteinlm` command."""

import sys

from proteinlm_ext.cli import main

sys.exit(main())
