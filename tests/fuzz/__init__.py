"""Arbitrary and mutated notices and answers, thrown at a real shop: nothing may break, and no state may move that
the table does not move. ``python -m tests.fuzz --count 200000 --seed 1``, or a little of it as a test.
"""
