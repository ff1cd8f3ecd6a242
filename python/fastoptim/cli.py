"""The command line: fastoptim demo | info."""

import argparse
import sys
from pathlib import Path

import fastoptim as fo


def _info(_: argparse.Namespace) -> None:
    for name, value in fo.build_info().items():
        print(f"{name:14} {', '.join(value) if isinstance(value, list) else value}")


def _demo(args: argparse.Namespace) -> None:
    from fastoptim import demo  # matplotlib and scikit-learn are wanted here only

    demo.run(args.out, quick=args.quick, seed=args.seed)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="fastoptim", description="The optimizer step on CPU memory."
    )
    parser.add_argument("--version", action="version", version=f"fastoptim {fo.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser(
        "demo", help="train a network on scanned digits by each method; table and pictures"
    )
    demo.add_argument("--out", type=Path, default=Path("demo-output"),
                      help="folder for the pictures (default: %(default)s)")
    demo.add_argument("--quick", action="store_true", help="fewer epochs")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="version, instruction sets, threads, compiler")
    info.set_defaults(run=_info)

    args = parser.parse_args(argv)
    try:
        args.run(args)
    except (ImportError, OSError, ValueError) as error:
        print(f"fastoptim: {error}", file=sys.stderr)
        return 1
    return 0
