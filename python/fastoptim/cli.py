"""The command line: fastoptim demo | bench | info."""

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


def _bench(args: argparse.Namespace) -> None:
    from fastoptim import bench  # tqdm and matplotlib are wanted here only

    if args.storage:
        from fastoptim.bench import storage

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
        dtype=args.dtype,
        threads=args.threads,
        seconds=args.seconds if args.seconds is not None else 1.0 if args.quick else 5.0,
        json=args.json,
        picture=args.picture,
    )


def _size(text: str) -> int:
    """1000 or 1e3."""
    n = int(float(text))
    if n < 1:
        raise ValueError(text)
    return n


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

    bench = commands.add_parser(
        "bench", help="time a step against NumPy's and against what memory allows"
    )
    bench.add_argument("--sizes", type=_size, nargs="+", metavar="N",
                       help="elements, as 1000 or 1e3 (default: 10^3 to 10^8)")
    bench.add_argument("--rules", nargs="+", choices=["sgd", "momentum", "rmsprop", "adam"],
                       help="default: all")
    bench.add_argument("--storage", action="store_true",
                       help="Adam in bfloat16, float16 and q8 instead, at one size "
                            "(default: 10^8)")
    bench.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    bench.add_argument("--threads", type=int, help="default: as many as a step uses")
    bench.add_argument("--seconds", type=float,
                       help="for each row; 7 rounds at least (default: 5, with --quick 1)")
    bench.add_argument("--quick", action="store_true", help="three sizes, in less than a minute")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    bench.add_argument("--picture", type=Path, metavar="FILE", help="write a picture (PNG)")
    bench.set_defaults(run=_bench)

    info = commands.add_parser("info", help="version, instruction sets, threads, compiler")
    info.set_defaults(run=_info)

    args = parser.parse_args(argv)
    try:
        args.run(args)
    except (ImportError, OSError, ValueError) as error:
        print(f"fastoptim: {error}", file=sys.stderr)
        return 1
    return 0
