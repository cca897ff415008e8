"""`python -m runbook_lib` is `runbook`."""

import sys

from .cli import main

sys.exit(main())
