"""The pictures of ``fastoptim demo``, computed with fastoptim's own steps, rates and averages."""

from collections.abc import Iterator
from pathlib import Path

from fastoptim import plotting
from fastoptim.demo.pictures import descent, rates, series
from fastoptim.demo.train import Result

__all__ = ["draw_all"]


def draw_all(results: list[Result], out_dir: Path, *, seed: int = 0) -> Iterator[Path]:
    """Write every picture into `out_dir`, a PNG each; yields the paths as it goes."""
    pictures = {
        "batch_sizes": lambda: descent.batch_sizes(results[:3]),
        "bowl": descent.bowl,
        "moving_averages": series.moving_averages,
        "bias_correction": series.bias_correction,
        "schedules": rates.schedules,
        "settling": lambda: rates.settling(seed=seed),
    }
    for name, draw in pictures.items():
        path = out_dir / f"{name}.png"
        plotting.save(draw, path)
        yield path
