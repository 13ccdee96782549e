"""How gunicorn serves the shop: two workers, each with a few threads."""

from __future__ import annotations

workers = 2
threads = 4
loglevel = "warning"
control_socket_disable = True
