"""The bench command runs, agrees with itself, and reports within 80 columns."""

import json

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import _core, bench, cli
from fastoptim.bench import contenders, machine, report
from fastoptim.bench.timing import MIN_ROUNDS, Timings, repeated, take_turns

pytest.importorskip("tqdm")


def test_the_command_prints_tables_and_writes_json_and_a_picture(
        tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    arguments = ["bench", "--sizes", "1e3", "2000", "--rules", "sgd", "adam", "--threads", "1",
                 "--seconds", "0", "--json", "bench.json", "--picture", "bench.png"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()
    assert "1 thread," in out and fo.build_info()["isa"] in out and "10^3" in out

    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["machine"]["threads"] == 1
    assert [(row["rule"], row["n"]) for row in content["rows"]] == [
        ("sgd", 1000), ("sgd", 2000), ("adam", 1000), ("adam", 2000)]
    for row in content["rows"]:
        assert list(row["ns_per_element"]) == ["roofline", "fastoptim", "in place", "one-liner"]
        for ns in row["ns_per_element"].values():
            assert 0 < ns["q1"] <= ns["median"] <= ns["q3"] and ns["rounds"] >= MIN_ROUNDS
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_holds_80_columns_whatever_the_figures():
    rounds = {name: [x] * 7 for name, x in
              (("roofline", 1e8), ("fastoptim", 99e8), ("in place", 9999e8),
               ("one-liner", 99999e8))}
    rows = [report.Row("adam", "float64", n, Timings(rounds)) for n in (10**8, 12_345_678)]
    assert max(map(len, report.table(rows).splitlines())) <= 80


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", bench.RULES)
def test_every_contender_gets_the_same_bytes(rule, dtype):
    contenders.check(rule, 1001, dtype)


def test_a_contender_that_does_nothing_is_found_out(monkeypatch):
    monkeypatch.setitem(contenders.MAKERS, "idle", lambda rule, p, g: lambda: None)
    with pytest.raises(AssertionError, match="idle must get the same bytes as fastoptim.ref"):
        contenders.check("adam", 1001, "float32")


def test_what_does_not_fit_into_memory_is_left_out(capsys, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100_000)
    bench.run(sizes=[1000, 10_000], rules=["adam"], seconds=0)
    out = capsys.readouterr().out
    assert "adam 10^4: left out" in out and "adam 10^3: left out" not in out


def test_ratios_are_taken_within_a_round():
    timings = Timings({"a": [1, 10, 100], "b": [2, 30, 400]})
    assert timings["a"] == 10 and timings["b"] == 30
    assert timings.ratio("b", to="a") == 3


def test_contenders_take_turns_after_a_warm_up(monkeypatch):
    monkeypatch.setattr("fastoptim.bench.timing.SAMPLE", 0)
    calls = []
    works = {name: repeated(lambda name=name: calls.append(name)) for name in "ab"}
    timings = take_turns(works, seconds=0)
    assert [len(timings.rounds[name]) for name in "ab"] == [MIN_ROUNDS] * 2
    assert calls == ["a", "a", "b", "b"] + ["a", "b"] * MIN_ROUNDS


@pytest.mark.parametrize("n", [0, 1, 17, 100_003])
@pytest.mark.parametrize("n_states", range(4))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("serial", [False, True])
def test_the_roofline_is_a_pass_over_its_arrays(dtype, n_states, n, serial):
    arrays = [np.full(n, k + 1.0, dtype) for k in range(2 + n_states)]
    _core.roofline(arrays, passes=2, serial=serial)
    for k, x in enumerate(arrays):
        start, g = k + 1.0, 2.0
        assert (x == (g if k == 1 else (start / 2 + g) / 2 + g)).all()


@pytest.mark.parametrize("arrays, error, match", [
    ([np.ones(3)], ValueError, "arrays must be 2 to 5, got 1"),
    ([np.ones(3)] * 6, ValueError, "arrays must be 2 to 5, got 6"),
    ([np.ones(3, np.int8)] * 2, TypeError, "array 0 must have dtype float32 or float64"),
    ([np.ones(3), np.ones(4)], ValueError, r"array 1 must have shape \(3,\), got \(4,\)"),
    ([np.ones(3), np.ones(6)[::2]], ValueError, "array 1 must be contiguous"),
])
def test_the_roofline_refuses_other_arrays(arrays, error, match):
    with pytest.raises(error, match=match):
        _core.roofline(arrays)


def test_header_names_the_machine_in_80_columns():
    lines = machine.header(machine.describe() | {"cpu": "x" * 200}).splitlines()
    assert max(map(len, lines)) <= 80


def test_the_storage_table(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    threads = fo.get_num_threads()
    try:
        assert cli.main(["bench", "--storage", "--sizes", "2000", "--threads", "1", "--seconds",
                         "0", "--json", "bench.json", "--picture", "bench.png"]) == 0
    finally:
        fo.set_num_threads(threads)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    row, = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert list(row["ns_per_element"])[0] == "float32 roofline" and len(row["ns_per_element"]) == 7
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("fastoptim.bench.machine.available_memory", lambda: 10**6)
    assert cli.main(["bench", "--storage"]) == 1
    assert "1e+08 elements need" in capsys.readouterr().err
