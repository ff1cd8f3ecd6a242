"""``fastoptim demo``: trains a small network by six methods and draws the results."""

from importlib.util import find_spec
from pathlib import Path

__all__ = ["run"]

# The name that is imported, and the name that is installed.
_EXTRA = {
    "matplotlib": "matplotlib",
    "sklearn": "scikit-learn",
    "tqdm": "tqdm",
    "vega_datasets": "vega-datasets",
}


def run(out_dir: Path | str, *, quick: bool = False, seed: int = 0) -> None:
    """Train, print the table of results, and write the pictures into `out_dir`.

    With `quick` there are fewer passes over the data: every row and every picture, but
    lower accuracies. `seed` determines the initial weights and the order of the samples.

    On an interrupt, the rows that are done are printed before KeyboardInterrupt is raised.

    Raises ImportError if a package of the ``demo`` extra is missing, OSError if `out_dir` cannot
    be created.
    """
    missing = [package for module, package in _EXTRA.items() if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"fastoptim demo needs {', '.join(_EXTRA.values())} (missing: "
            f"{', '.join(missing)}): pip install 'fastoptim[demo]'"
        )
    # Imported here, because these modules import the extra.
    from fastoptim.demo import pictures, train

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    data = train.load_digits()
    epochs = 8 if quick else 40
    print(train.introduction(data, epochs), flush=True)
    results: list[train.Result] = []
    try:
        results.extend(train.train_all(data, epochs=epochs, seed=seed))
    finally:  # also on an interrupt
        if results:
            print(train.table(results))
    print()
    for path in pictures.draw_all(results, out_dir, seed=seed):
        print(f"wrote {path}")
