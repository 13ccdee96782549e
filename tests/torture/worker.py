"""What Celery's processes begin with, where the shop under torture has left delivering to them."""

from __future__ import annotations

from tests.torture.shop import create_app

celery = create_app().extensions["celery"]
