"""Draws the pictures of the docs from bench/results: ``python bench/redraw.py [NAME ...]``.

Measures nothing. NAME is of bench, peers, storage, epoch, shuffle, loop (default: all).
"""

import argparse
import json
from pathlib import Path

import epoch
import shuffle
from loops import report as loops

from fastoptim.bench import report, storage

ROOT = Path(__file__).parents[1]


def draw_bench(source, picture):
    report.draw(picture, *report.read_json(source), report.TITLE)


def draw_peers(source, picture):
    report.draw(picture, *report.read_json(source), "One Adam step, by library")


def draw_storage(source, picture):
    machine, (row,) = report.read_json(source)
    storage.draw(picture, machine, row)


def draw_epoch(source, picture):
    content = json.loads(source.read_text())
    epoch.draw(picture, content["machine"], content["seconds"], content["rows"])


def draw_shuffle(source, picture):
    content = json.loads(source.read_text())
    table = {(cell["row"], cell["batch"]): cell["seconds"] for cell in content["epochs"]}
    shuffle.draw(picture, table, content["mib"])


def draw_loop(source, picture):
    content = json.loads(source.read_text())
    loops.draw(picture, content["machine"], content["runs"])


PICTURES = {"bench": draw_bench, "peers": draw_peers, "storage": draw_storage,
            "epoch": draw_epoch, "shuffle": draw_shuffle, "loop": draw_loop}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in PICTURES]:
        parser.error(f"NAME must be of {', '.join(PICTURES)}, got {', '.join(unknown)}")
    for name in args.names or PICTURES:
        picture = args.out / f"{name}.png"
        PICTURES[name](args.results / f"{name}.json", picture)
        print(f"drew {picture}")


if __name__ == "__main__":
    main()
