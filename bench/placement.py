"""Where the roof's arrays lie best: ``python bench/placement.py``.

Measures the plain loop of bench/roof.hpp with arrays that begin at different distances from the
start of a page, on huge pages and on small ones. cpp/roof.hpp takes its placement from this.
"""

from __future__ import annotations

import argparse

from peers import prepare

PLACES = [(stagger, True) for stagger in (0, 64, 128, 256, 320, 512, 1024, 2048)]
PLACES += [(0, False), (256, False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=lambda text: int(float(text)), default=10**7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each table")
    args = parser.parse_args()
    prepare(args.threads)

    from fastoptim import _core
    from fastoptim.bench import machine
    from fastoptim.bench.timing import take_turns

    print(machine.header(machine.describe()))
    for dtype in ("float32", "float64"):
        for n_states in range(3):
            arrays = {place: _core.Roofline(dtype, n_states, args.n, stagger=place[0],
                                        huge_pages=place[1]) for place in PLACES}
            timings = take_turns({place: x.run for place, x in arrays.items()},
                                 seconds=args.seconds)
            print(f"\n{args.n:,} elements, {dtype}, {n_states} states: ns an element, "
                  "and times that of the first")
            for place in PLACES:
                pages = "huge pages" if place[1] else "small pages"
                print(f"  {place[0]:>5} bytes apart, {pages:<12}{timings[place] / args.n:>8.3f}"
                      f"{timings.ratio(place, to=PLACES[0]):>8.3f}")


if __name__ == "__main__":
    main()
