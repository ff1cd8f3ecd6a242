"""What the build must look like: no weak symbols, one version, instruction sets as promised."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

import fastoptim as fo

from support import ROOT, child


def kernel_objects(isa):
    return sorted(path for path in ROOT.glob(f"build/*/CMakeFiles/kernels_{isa}.dir/**/*.o")
                  if path.relative_to(ROOT).parts[1] != "sanitize")


@pytest.mark.skipif(not (ROOT / "build").is_dir(), reason="not built in this folder")
@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
@pytest.mark.parametrize("isa", [isa for isa in fo.build_info()["isa_built"]])
def test_kernel_objects_have_no_weak_symbol(isa):
    """A weak symbol compiled for a newer processor could replace everyone's copy of it."""
    objects = kernel_objects(isa)
    assert objects
    for path in objects:
        symbols = subprocess.run(["nm", "--demangle", str(path)], check=True,
                                 capture_output=True, text=True).stdout.splitlines()
        kinds = {line: line[17:18] for line in symbols}
        assert not [line for line, kind in kinds.items() if kind in "WwVvu"]
        # One way in: all else is local to the object.
        shared = [line for line, kind in kinds.items() if kind.isupper() and kind != "U"]
        assert [line.split()[-1] for line in shared] == [f"fastoptim::{isa}::table()"]


@pytest.mark.skipif(not (ROOT / "build").is_dir(), reason="not built in this folder")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
@pytest.mark.skipif("avx512" not in fo.build_info()["isa_built"], reason="has no AVX-512")
def test_the_kernels_that_prefetch_do():
    """Once GCC took the function for one without effect: results were right, steps slower."""
    objects = kernel_objects("avx512")
    assert objects
    for path in objects:
        listing = subprocess.run(["objdump", "-d", "--demangle", str(path)], check=True,
                                 capture_output=True, text=True).stdout
        sweeps = {function.partition("\n")[0]: "prefetch" in function
                  for function in listing.split("\n\n")
                  if "sweep_in_place<" in function.partition("\n")[0]}
        assert len(sweeps) > 9  # of nine rules and two types, some in the function that calls them
        assert all(sweeps.values()), sweeps


def test_every_instruction_set_is_built():
    expected = {"x86_64": ["baseline", "avx2", "avx512"]}.get(platform.machine(), ["baseline"])
    assert fo.build_info()["isa_built"] == expected
    assert "baseline" in fo.build_info()["isa_available"]


def test_forcing_an_instruction_set(isa):
    code = "import fastoptim as fo; print(fo.build_info()['isa'])"
    assert child.run(code, FASTOPTIM_ISA=isa).strip() == isa


def test_an_unavailable_instruction_set_is_refused_with_those_available():
    done = child.python("-c", "import fastoptim", FASTOPTIM_ISA="sse9")
    assert done.returncode != 0
    available = ", ".join(fo.build_info()["isa_available"])
    assert (f"FASTOPTIM_ISA must be one of those available here ({available}), got 'sse9'"
            in done.stderr)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_with_another_python_takes_an_environment_of_its_own():
    def made(*arguments):
        return subprocess.run(["make", "--dry-run", "lint", *arguments], cwd=ROOT, check=True,
                              capture_output=True, text=True, env=environment).stdout

    environment = {k: v for k, v in os.environ.items()
                   if k not in ("PYTHON", "VENV") and not k.startswith("MAKE")}
    own = ".venv-" + ".".join(map(str, sys.version_info[:2]))
    assert ".venv/bin/pre-commit" in made()
    assert f"{own}/bin/pre-commit" in made(f"PYTHON={sys.executable}")
    assert "other/bin/pre-commit" in made(f"PYTHON={sys.executable}", "VENV=other")


def test_no_include_points_upward():
    """kernels <- core <- shuffle <- bindings; and nothing in cpp/ includes from outside it."""
    rooms = ["kernels", "core", "shuffle", "bindings"]
    wrong = []
    for source in sorted((ROOT / "cpp").rglob("*.[ch]pp")):
        for name in re.findall(r'^#include "(.+)"', source.read_text(), re.MULTILINE):
            included = (source.parent / name).resolve()
            room = included.relative_to(ROOT / "cpp").parts[0] if included.is_file() and (
                ROOT / "cpp") in included.parents else None
            if room not in rooms[:rooms.index(source.parent.name) + 1]:
                wrong.append((source.name, name))
    assert not wrong


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert fo.__version__ == project["version"]
    assert f"## {fo.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_stub_is_that_of_the_core(tmp_path):
    """make stubs writes it."""
    done = child.python("-m", "pybind11_stubgen", "fastoptim._core", "--output-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    generated = (tmp_path / "fastoptim" / "_core.pyi").read_text()
    assert (ROOT / "python" / "fastoptim" / "_core.pyi").read_text() == generated


def test_import_needs_numpy_only():
    code = "import sys, fastoptim; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = child.run(code).split()
    extras = {"matplotlib", "sklearn", "pandas", "tqdm", "torch", "scipy", "vega_datasets"}
    assert not extras & set(loaded)
    assert "numpy" in loaded


def test_import_leaves_for_later_what_a_step_does_not_need():
    code = """
import sys, fastoptim as fo
later = {"MiniBatches", "Permutation", "reference", "schedules", "shuffle_"}
assert not later & set(vars(fo)) and later <= set(dir(fo)) and set(fo.__all__) <= set(dir(fo))
assert not {f"fastoptim.{name}" for name in
            ("batches", "permutation", "reference", "schedules")} & set(sys.modules)
for name in later:
    assert getattr(fo, name) is vars(fo)[name]
"""
    child.run(code)
