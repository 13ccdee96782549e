"""Figures to read, never tests: how fast the sandbox is, and what staff's commands take on a million payments."""
