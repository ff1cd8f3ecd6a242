"""The command line: what it refuses, and how it ends."""

import json
import os
import signal
import time

import pytest

from fastoptim import cli

from support import child


def refused(arguments, capsys):
    """The one line on stderr with which a command is refused, before it prints anything else."""
    try:
        status = cli.main(arguments)
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert status in (cli.FAILED, cli.MISUSED)
    assert out == "" and err.endswith("\n") and err.count("\n") == 1
    assert err.startswith("fastoptim")
    return err


@pytest.mark.parametrize("arguments, message", [
    ("--sizes inf", "argument --sizes: must be a whole number of elements >= 1, as 1000 or 1e3, "
                    "got 'inf'"),
    ("--sizes nan", "got 'nan'"),
    ("--sizes abc", "argument --sizes: must be a whole number of elements >= 1.* got 'abc'"),
    ("--sizes 1e3 0", "--sizes: must be a whole number of elements >= 1.* got '0'"),
    ("--sizes 1e3 -5", "--sizes|unrecognized"),
    ("--sizes 2.5", "--sizes: must be a whole number of elements .* got '2.5'"),
    ("--sizes 1e30", r"sizes must fit into memory, which is .* GB, got 1e\+30, which takes .* GB"),
    ("--storage --sizes 1e30", r"1e\+30 elements need .* GB of memory, got .* GB free"),
    ("--seconds -1", "--seconds: must be a finite number of seconds >= 0, got '-1'"),
    ("--seconds inf", "--seconds: must be a finite number of seconds >= 0, got 'inf'"),
    ("--seconds soon", "--seconds: must be a finite number of seconds >= 0, got 'soon'"),
    ("--threads 0", r"--threads: must be in \[1, 1024\], got 0"),
    ("--threads many", "--threads: must be an integer, got 'many'"),
    ("--rules sdg", "--rules: invalid choice: 'sdg'"),
    ("--dtype int8", "--dtype: invalid choice: 'int8'"),
    ("--json FOLDER", "--json: must be a file that can be written, got '.*': Is a directory"),
    ("--json FOLDER/no/x.json", "--json: must be a file .* No such file or directory"),
    ("--storage --picture FOLDER/no/x.png", "--picture: must be a file that can be written"),
])
def test_bench_refuses_at_once(arguments, message, capsys, tmp_path):
    pytest.importorskip("tqdm")
    pytest.importorskip("ml_dtypes")
    words = [word.replace("FOLDER", str(tmp_path)) for word in arguments.split()]
    line = refused(["bench", *words], capsys)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(line)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments, message", [
    ("--seed -1", "argument --seed: must be in [0, 2**128 - 1], got -1"),
    ("--seed 1.5", "argument --seed: must be an integer, got '1.5'"),
    ("--out FOLDER/file", "argument --out: must be a folder that can be written, got"),
    ("--out FOLDER/file/new", "file' is no folder"),
])
def test_demo_refuses_at_once(arguments, message, capsys, tmp_path):
    (tmp_path / "file").touch()
    words = [word.replace("FOLDER", str(tmp_path)) for word in arguments.split()]
    assert message in refused(["demo", *words], capsys)


@pytest.mark.parametrize("arguments", [[], ["benhc"], ["info", "more"]])
def test_what_is_no_command_is_refused_in_one_line(arguments, capsys):
    refused(arguments, capsys)


def test_a_file_that_can_be_written_is_left_as_it_was(tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text("kept")
    assert (cli._file(str(old)), cli._file(str(new))) == (old, new)
    assert old.read_text() == "kept" and not new.exists()


@pytest.mark.parametrize("command", [[], ["demo"], ["bench"], ["info"]])
def test_usage_and_help_fit_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        cli.main([*command, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: fastoptim") and max(map(len, out.splitlines())) <= 80


def test_bench_storage_says_what_it_ignores(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    from fastoptim.bench import storage

    monkeypatch.setattr(storage, "run", lambda **options: None)
    assert cli.main(["bench", "--storage", "--sizes", "1e3"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["bench", "--storage", "--rules", "adam", "--dtype", "float32",
                     "--sizes", "1e3", "1e4"]) == 0
    assert ("--storage ignores --rules, --dtype, all --sizes but the first"
            in capsys.readouterr().err)


def interrupt_at(call, monkeypatch, module):
    """Makes that call of take_turns, from 1, end with Ctrl-C."""
    take_turns, calls = module.take_turns, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return take_turns(*arguments, **options)

    monkeypatch.setattr(module, "take_turns", interrupted)


def test_an_interrupted_bench_keeps_the_rows_that_are_done(capsys, monkeypatch, tmp_path):
    pytest.importorskip("tqdm")
    from fastoptim.bench import timing

    interrupt_at(3, monkeypatch, timing)
    path = tmp_path / "rows.json"
    assert cli.main(["bench", "--sizes", "1000", "2000", "--rules", "sgd", "adam", "--seconds",
                     "0", "--threads", "1", "--json", str(path)]) == cli.INTERRUPTED
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "fastoptim: interrupted" and "Traceback" not in err
    assert "sgd, float32" in out and "2000" in out and f"wrote {path}" in out
    assert [row["n"] for row in json.loads(path.read_text())["rows"]] == [1000, 2000]


def test_an_interrupted_bench_of_storage_keeps_the_rounds_that_are_done(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    pytest.importorskip("ml_dtypes")
    from fastoptim.bench import timing

    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 20:  # in the third round of seven
            raise KeyboardInterrupt

    monkeypatch.setattr(timing, "SAMPLE", 0)
    monkeypatch.setattr(timing.time, "sleep", sleep)
    assert cli.main(["bench", "--storage", "--sizes", "1000", "--seconds", "0",
                     "--threads", "1"]) == cli.INTERRUPTED
    out, err = capsys.readouterr()
    assert err == "fastoptim: interrupted\n" and "bfloat16, q8 state" in out


@pytest.mark.skipif(os.name != "posix", reason="SIGINT")
def test_an_interrupted_demo_ends_with_one_line(tmp_path):
    for module in ("matplotlib", "sklearn", "tqdm", "vega_datasets"):
        pytest.importorskip(module)
    # A shell's background jobs are started with SIGINT ignored.
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from fastoptim.cli import main; sys.exit(main(sys.argv[1:]))")
    process = child.start_python("-u", "-W", "ignore", "-c", code, "demo", "--out", tmp_path)
    try:
        assert process.stdout.readline().startswith("Digits:")
        time.sleep(0.5)  # into the training, which takes some seconds
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == cli.INTERRUPTED
    assert err.splitlines()[-1] == "fastoptim: interrupted" and "Traceback" not in err
    assert not list(tmp_path.iterdir())
