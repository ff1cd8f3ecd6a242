"""bench/loop.py runs, reports within 80 columns, and its bars are about the worst process."""

import json
import sys

import pytest

from support import ROOT, child

sys.path.insert(0, str(ROOT / "bench"))
from loops import report  # noqa: E402


def test_the_loops_that_need_numpy_alone(tmp_path):
    pytest.importorskip("matplotlib")
    ran = child.python(
        ROOT / "bench" / "loop.py", "--loops", "nothing", "numpy", "--sizes", "1e3",
        "--processes", "1", "--seconds", "0", "--json", tmp_path / "loop.json",
        "--picture", tmp_path / "loop.png")
    assert ran.returncode == 0 and ran.stderr == ""
    assert ran.stdout.isascii() and max(map(len, ran.stdout.splitlines())) <= 80
    runs = json.loads((tmp_path / "loop.json").read_text())["runs"]
    assert {run["loop"] for run in runs} == {"nothing", "numpy"}
    assert report.timeout_way(report.ASLEEP) in {run["way"] for run in runs}
    for run in runs:
        assert abs(run["n"] - 1000) < 500 and run["threads"] >= 1
        assert all(ms > 0 for ms in run["ms"]["fastoptim"].values())
    assert (tmp_path / "loop.png").read_bytes().startswith(b"\x89PNG")


def run(way, ours, *, fused=None, gradients=1.0, loop="transformer"):
    """A made-up process: ms a step in the loop and 20 ms later."""
    ms = {"fastoptim": {"0": ours[0], "20": ours[1], "gradients": 123456.0}}
    if fused is not None:
        ms["torch fused"] = {"0": fused, "20": fused, "gradients": 10.0}
    return {"loop": loop, "title": loop, "n": 5_764_560, "tensors": 75, "way": way, "ms": ms,
            "gradients_ratio": gradients}


def test_a_bar_holds_where_it_holds_in_every_process():
    runs = [run("auto", (3.3, 3.2), fused=4.6), run("auto", (3.6, 3.2), fused=4.6),
            run("pool", (9.9, 3.2), fused=4.6)]
    later, fused, gradients = report.bars(runs)
    assert later.figures == pytest.approx([3.3 / 3.2, 3.6 / 3.2])
    assert later.line().split()[-3:] == ["1.078", "1.125", "missed"]
    assert fused.figures == pytest.approx([4.6 / 3.3, 4.6 / 3.6])
    assert fused.line().split()[-2:] == ["1.278", "missed"]
    assert gradients.line().split()[-1] == "holds"
    assert report.Bar("", 1.3, float("inf"), [1.38, 1.31]).line().split()[-2:] == ["1.310", "holds"]
    assert report.Bar("", 0.98, 1.02, [1.01, 0.97]).line().split()[-2:] == ["0.970", "missed"]


def test_sleeping_threads_of_blas_are_what_the_loop_is_compared_with():
    runs = [run("auto", (0.8, 1), loop="numpy"), run("auto", (1.6, 1), loop="numpy"),
            run(report.timeout_way(report.ASLEEP), (0.8, 1), loop="numpy")]
    asleep, _ = report.bars(runs)
    assert asleep.figures == pytest.approx([1, 2])


def test_tables_hold_80_columns_whatever_the_figures():
    runs = [run(way, (12345.678, 1e5), fused=99999.9, loop=loop)
            for way in ("auto", "BLAS timeout 10") for loop in ("transformer", "numpy")]
    pauses = {pause: 99999.9 for pause in ("0", "0.5", "5", "20", "gradients")}
    runs.append(run("auto", (1, 1), loop="nothing") | {"ms": {"fastoptim": pauses}})
    for text in (report.tables(runs), report.bars_text(runs)):
        assert max(map(len, text.splitlines())) <= 80
