"""The fault test: real servers, real databases, killed workers, receivers that misbehave, and a judge who counts.

``python -m tests.torture`` runs it in full, ``make test`` in a shorter form.
"""
