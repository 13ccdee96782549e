"""The gateway's language: bytes in, frozen values out, and back.

Standard library only; no clock, no input or output. Nothing here raises but `InvalidField` and
`UnreadableNotice`, whatever bytes arrive.
"""
