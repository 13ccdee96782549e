"""What Celery's processes of `queue_shop` begin with."""

from __future__ import annotations

from tests.wire.queue_shop import create_app

celery = create_app().extensions["celery"]
