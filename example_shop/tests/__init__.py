"""Tests of the example shop, as a shop owner would write them: the sandbox is ZEUS, and the pages are real."""
