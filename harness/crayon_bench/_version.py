"""The version and the commit, where everything may read them."""

from pathlib import Path

__version__ = "0.1.0"


def commit() -> str | None:
    """Return the commit of a checkout of this project; None where the package is installed, which has its version."""
    import subprocess

    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
