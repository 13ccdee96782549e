"""How these tests start programs, and where what they look at is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A folder with what was built already, of `make matrix`.
BUILT = os.environ.get("ZEUS_CVS_BUILT")


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its end, and return what it said."""
    done = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONUTF8": "1", **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
