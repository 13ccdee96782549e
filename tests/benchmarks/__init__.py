"""How fast the sandbox is: figures to read, never tests."""
