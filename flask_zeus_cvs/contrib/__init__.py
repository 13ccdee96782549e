"""Extras: each needs a package that the shop installs for it, and is imported by the shop alone."""
