"""What several tests share: cases, references, refusals, and Python in a child process."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
