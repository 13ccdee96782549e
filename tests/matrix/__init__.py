"""``make matrix``: the package as others install it, with each Python that is here, and the oldest and newest it runs on.

Wheel and sdist are built once and checked. Then, for each Python, twice, with the newest dependencies and with the
lowest that pyproject.toml names: the wheel is installed into an environment of its own, and the tests of the sdist
are run against it, in a folder that has no source of the package.
"""
