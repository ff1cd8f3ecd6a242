"""What a type checker sees: nothing in right programs, every mistake in wrong ones."""

import inspect
import re
import typing
from pathlib import Path

import pytest

import fastoptim as fo

from support import ROOT, TESTS, child

PROGRAMS = TESTS / "typing"


@pytest.fixture(scope="module")
def found():
    """(file, line) -> the errors there, of mypy under the options of pyproject.toml."""
    pytest.importorskip("mypy")
    done = child.python("-m", "mypy", "--hide-error-context", "--no-pretty",
                        PROGRAMS / "right.py", PROGRAMS / "wrong.py", cwd=ROOT, timeout=600)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    errors = {}
    for path, line, message in re.findall(r"^(.+?):(\d+): error: (.*)$", done.stdout, re.MULTILINE):
        errors.setdefault((Path(path).name, int(line)), []).append(message)
    return errors


def test_the_right_program_has_no_error(found):
    assert {at: messages for at, messages in found.items() if at[0] == "right.py"} == {}


def lines_of_wrong():
    return enumerate((PROGRAMS / "wrong.py").read_text().splitlines(), 1)


@pytest.mark.parametrize(("number", "line"), [
    pytest.param(number, line, id=line.partition("  # wrong")[0])
    for number, line in lines_of_wrong() if line.endswith("# wrong")])
def test_each_wrong_line_has_an_error(found, number, line):
    assert ("wrong.py", number) in found


def test_what_is_not_marked_wrong_has_no_error(found):
    marked = {number for number, line in lines_of_wrong() if line.endswith("# wrong")}
    assert {at for at in found if at[0] == "wrong.py" and at[1] not in marked} == set()


def test_the_overloads_of_mini_batches_take_the_options_that_it_takes():
    def options(function):
        return {name: (parameter.default, parameter.annotation)
                for name, parameter in inspect.signature(function).parameters.items()
                if parameter.kind is inspect.Parameter.KEYWORD_ONLY}

    overloads = typing.get_overloads(fo.MiniBatches.__init__)
    assert len(overloads) == 5
    for overload in overloads:
        assert options(overload) == options(fo.MiniBatches.__init__)


def test_the_package_says_that_it_is_typed():
    assert (Path(fo.__file__).parent / "py.typed").is_file()
