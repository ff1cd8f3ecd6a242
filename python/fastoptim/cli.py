"""The command line: fastoptim demo | bench | info."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import fastoptim as fo
from fastoptim import checks
from fastoptim.threads import MAX_THREADS

RULES = ("sgd", "momentum", "rmsprop", "adam")
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def _info(_: argparse.Namespace) -> None:
    """What is asked of everyone who reports a fault: the build, the machine, NumPy and its BLAS."""
    from fastoptim import blas
    from fastoptim.bench import machine

    for name, value in {**fo.build_info(), **machine.system(), **blas.describe()}.items():
        print(f"{name:14} {', '.join(value) if isinstance(value, list) else value}")


def _demo(args: argparse.Namespace) -> None:
    from fastoptim import demo  # matplotlib and scikit-learn are wanted here only

    demo.run(args.out, quick=args.quick, seed=args.seed)


def _bench(args: argparse.Namespace) -> None:
    from fastoptim import bench  # tqdm and matplotlib are wanted here only

    if args.storage:
        from fastoptim.bench import storage

        ignored = ["--rules"] * bool(args.rules) + ["--dtype"] * bool(args.dtype)
        ignored += ["all --sizes but the first"] * (len(args.sizes or []) > 1)
        if ignored:
            print(f"fastoptim bench --storage ignores {', '.join(ignored)}: it times Adam in its "
                  "own types at one size", file=sys.stderr)
        storage.run(
            n=args.sizes[0] if args.sizes else 10**7 if args.quick else 10**8,
            threads=args.threads,
            seconds=args.seconds if args.seconds is not None else 5.0 if args.quick else 20.0,
            json=args.json,
            picture=args.picture,
        )
        return
    bench.run(
        sizes=args.sizes or (bench.QUICK_SIZES if args.quick else bench.SIZES),
        rules=args.rules or bench.RULES,
        dtype=args.dtype or "float32",
        threads=args.threads,
        seconds=args.seconds if args.seconds is not None else 1.0 if args.quick else 5.0,
        json=args.json,
        picture=args.picture,
    )


# What arguments are made of. argparse puts the argument's name before what these raise.


def _integer(low: int, high: int | None = None) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            n = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
        try:
            return checks.integer("it", n, low=low, high=high)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("it ")) from None

    return convert


def _size(text: str) -> int:
    """1000 or 1e3."""
    try:
        n = int(text) if text.isdecimal() else float(text)
        if n >= 1 and n == int(n):
            return int(n)
    except (OverflowError, ValueError):  # infinity, and what is no number
        pass
    raise argparse.ArgumentTypeError(
        f"must be a whole number of elements >= 1, as 1000 or 1e3, got {text!r}")


def _seconds(text: str) -> float:
    try:
        return checks.number("it", float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a finite number of seconds >= 0, got {text!r}") from None


def _file(text: str) -> Path:
    """A path that can be written to: known by opening it, before an hour's work is done."""
    path = Path(text)
    there = path.exists()
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"must be a file that can be written, got {text!r}: {error.strerror}") from None
    if not there:
        path.unlink()
    return path


def _folder(text: str) -> Path:
    """A folder that can be written to, or that can be made: nothing is made yet."""
    path = Path(text)
    nearest = next((p for p in (path, *path.absolute().parents) if p.exists()), path)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "may not be written" if nearest.is_dir() else "is no folder"
        raise argparse.ArgumentTypeError(
            f"must be a folder that can be written, got {text!r}: {str(nearest)!r} {problem}")
    return path


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong: the usage, which it would print first, is for --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISUSED, f"{self.prog}: {message} ({self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastoptim", description="The optimizer step on CPU memory.",
        epilog=f"Exit status: 0 done, {FAILED} failed, {MISUSED} a wrong argument, "
               f"{INTERRUPTED} interrupted.")
    parser.add_argument("--version", action="version", version=f"fastoptim {fo.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser(
        "demo", help="train a network on scanned digits by each method; table and pictures"
    )
    demo.add_argument("--out", type=_folder, default="demo-output", metavar="FOLDER",
                      help="for the pictures (default: %(default)s)")
    demo.add_argument("--quick", action="store_true", help="fewer epochs")
    demo.add_argument("--seed", type=_integer(0, 2**128 - 1), default=0, metavar="N",
                      help="of the weights and the shuffling (default: %(default)s)")
    demo.set_defaults(run=_demo)

    bench = commands.add_parser(
        "bench", help="time a step against NumPy's and against what memory allows"
    )
    bench.add_argument("--sizes", type=_size, nargs="+", metavar="N",
                       help="elements, as 1000 or 1e3 (default: 10^3 to 10^8)")
    bench.add_argument("--rules", nargs="+", choices=RULES, metavar="RULE",
                       help=f"of {', '.join(RULES)} (default: all)")
    bench.add_argument("--storage", action="store_true",
                       help="Adam in bfloat16, float16 and q8 instead, at one size "
                            "(default: 10^8); ignores --rules and --dtype")
    bench.add_argument("--dtype", choices=["float32", "float64"],
                       help="default: float32")
    bench.add_argument("--threads", type=_integer(1, MAX_THREADS), metavar="N",
                       help="default: as many as a step uses")
    bench.add_argument("--seconds", type=_seconds, metavar="S",
                       help="for each row; 7 rounds at least (default: 5, with --quick 1)")
    bench.add_argument("--quick", action="store_true", help="three sizes, in less than a minute")
    bench.add_argument("--json", type=_file, metavar="FILE", help="write every figure")
    bench.add_argument("--picture", type=_file, metavar="FILE", help="write a picture (PNG)")
    bench.set_defaults(run=_bench)

    info = commands.add_parser(
        "info", help="version, instruction sets, threads, machine, BLAS: for a bug report")
    info.set_defaults(run=_info)
    return parser


def main(argv: list[str] | None = None) -> int:
    try:
        args = _parser().parse_args(argv)
        args.run(args)
    except KeyboardInterrupt:
        print("fastoptim: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ImportError, MemoryError, OSError, ValueError) as error:
        print(f"fastoptim: {error}", file=sys.stderr)
        return FAILED
    return 0
