"""``python -m example_shop``: the shop and the sandbox, ready to be tried."""

from __future__ import annotations

import sys

from example_shop.demo import main

sys.exit(main())
