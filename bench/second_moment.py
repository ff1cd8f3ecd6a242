"""The error of Adam's second moment in fewer bytes: ``python bench/second_moment.py``.

5000 steps with beta2 = 0.999 on 4096 elements whose gradients are normal, each with a magnitude of
its own. The magnitudes cover six orders in all, and those that share a scale in q8 as many as the
table says. "Sparse": 5 % of the gradients are not zero. sqrt(v) is compared with that of float64.
Needs ml_dtypes.
"""

import numpy as np

import fastoptim as fo

CASES = [
    ("bfloat16", "stochastic", 6),
    ("bfloat16", "nearest", 6),
    ("q8", "stochastic", 2),
    ("q8", "stochastic", 4),
    ("q8", "stochastic", 5),
    ("q8", "stochastic", 6),
    ("q8", "nearest", 4),
]


def ratios(state_dtype: str, rounding: str, within: int, sparse: bool) -> np.ndarray:
    """sqrt(v) over that of float64."""
    n, rng = 4096, np.random.default_rng(0)
    magnitude = 10.0 ** (rng.uniform(-within, 0, n)
                         + np.repeat(rng.uniform(within - 6, 0, n // 128), 128))
    p, g, v = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n)
    opt = fo.Adam(p, g, lr=0.0, state_dtype=state_dtype, rounding=rounding)
    for _ in range(5000):
        g[...] = rng.standard_normal(n, np.float32) * magnitude
        if sparse:
            g *= rng.random(n) < 0.05
        opt.step()
        v = 0.999 * v + 0.001 * g.astype(np.float64)**2
    s = opt.state[0]
    got = fo.storage.dequantize(s["v"], s["v_scales"]) if state_dtype == "q8" else s["v"]
    return np.sqrt(got.astype(np.float64) / v)


def main() -> None:
    print(f"{'':24}orders of magnitude{'gradients':>12}{'median':>9}{'rms error':>11}"
          f"{'stored as 0':>13}")
    for state_dtype, rounding, within in CASES:
        for sparse in (False, True):
            r = ratios(state_dtype, rounding, within, sparse)
            print(f"{state_dtype + ', ' + rounding:24}{within:>19}"
                  f"{'sparse' if sparse else 'dense':>12}{np.median(r):9.3f}"
                  f"{100 * np.sqrt(np.mean((r - 1)**2)):9.1f} %{100 * np.mean(r == 0):11.1f} %")


if __name__ == "__main__":
    main()
