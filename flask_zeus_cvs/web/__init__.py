"""What is reached over HTTP: the checkout form, the result page and the callback."""

from __future__ import annotations
