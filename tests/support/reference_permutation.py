"""perm-v1 in plain Python and NumPy: the definition that the C++ equals.

Nothing here is fast or clever; docs/permutation.md says the same in words.
"""

import json

import numpy as np

MASK32 = (1 << 32) - 1
MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio, odd
NAME = int.from_bytes(b"perm-v1", "big")
TABLE_LIMIT = 1 << 16
ROUNDS = 8


def mix64(x):
    """A bijection of 64-bit words in which every input bit reaches every output bit."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK64
    return x ^ x >> 31


def key_word(index, n, seed, epoch, stream=0):
    """Word number `index` of the key of one order."""
    h = NAME
    for word in (index, stream, n, seed & MASK64, seed >> 64, epoch):
        h = mix64((h ^ word) + GOLDEN & MASK64)
    return mix64(h)


def hash32(x):
    """The round function on an array of uint32."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x21F0AAAD)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x735A2D97)
    return x ^ (x >> np.uint32(15))


def table(n, seed, epoch, stream=0):
    """The order of n <= 65536 rows: Fisher-Yates from the last place down."""
    key0, key1 = (key_word(i, n, seed, epoch, stream) for i in range(2))
    rows = list(range(n))
    counter = 0
    for last in range(n - 1, 0, -1):
        bound = last + 1
        while True:
            draw = mix64(mix64(key0 + counter * GOLDEN & MASK64) ^ key1) >> 32
            counter += 1
            product = draw * bound
            if product & MASK32 >= (1 << 32) % bound:
                break
        other = product >> 32
        rows[last], rows[other] = rows[other], rows[last]
    return np.array(rows, np.int64)


def round_keys(n, seed, epoch, stream=0):
    keys = []
    for i in range(ROUNDS // 2):
        word = key_word(i, n, seed, epoch, stream)
        keys += [word & MASK32, word >> 32]
    return keys


def network(x, bits, keys):
    """One pass of the Feistel network over x, an array of uint64 below 2**bits."""
    low_bits = bits - bits // 2
    low_mask = np.uint32((1 << low_bits) - 1)
    high_mask = np.uint32((1 << (bits // 2)) - 1)
    high = (x >> np.uint64(low_bits)).astype(np.uint32)
    low = x.astype(np.uint32) & low_mask
    for i, key in enumerate(keys):
        if i % 2 == 0:
            high = high + hash32(low ^ np.uint32(key)) & high_mask
        else:
            low = low + hash32(high ^ np.uint32(key)) & low_mask
    return high.astype(np.uint64) << np.uint64(low_bits) | low.astype(np.uint64)


def rows_at(positions, n, seed=0, epoch=0, stream=0, rounds=ROUNDS):
    """The rows at the given positions of the order of (n, seed, epoch)."""
    positions = np.asarray(positions)
    if n <= TABLE_LIMIT:
        return table(n, seed, epoch, stream)[positions]
    keys = round_keys(n, seed, epoch, stream)[:rounds]
    bits = (n - 1).bit_length()
    x = network(positions.astype(np.uint64), bits, keys)
    outside = np.flatnonzero(x >= n)
    while len(outside):
        x[outside] = network(x[outside], bits, keys)
        outside = outside[x[outside] >= n]
    return x.astype(np.int64)


def permutation(n, seed=0, epoch=0, stream=0, rounds=ROUNDS):
    """The whole order as an array of n rows."""
    return rows_at(np.arange(n), n, seed, epoch, stream, rounds)


def block_permutation(n, seed, epoch, block_rows, window_blocks):
    """The order in which blocks are shuffled, then the rows inside a window of blocks."""
    blocks = -(-n // block_rows)
    block_order = permutation(blocks, seed, epoch, stream=1).tolist()
    order = [np.arange(0)]
    for w, start in enumerate(range(0, blocks, window_blocks)):
        window = block_order[start : start + window_blocks]
        window.sort(key=lambda block: (block + 1) * block_rows > n)  # a short one goes last
        rows = [np.arange(b * block_rows, min((b + 1) * block_rows, n)) for b in window]
        rows = np.concatenate(rows)
        order.append(rows[permutation(len(rows), seed, epoch, stream=2 + w)])
    return np.concatenate(order)


def vectors():
    """What data/permutation.json holds; `python -m support.reference_permutation` prints it."""
    seeds = ((0, 0), (1, 0), (0, 1), ((1 << 128) - 1, (1 << 64) - 1), (1 << 64, 3))
    small = [
        {"n": n, "seed": seed, "epoch": epoch, "rows": permutation(n, seed, epoch).tolist()}
        for n in (0, 1, 2, 3, 5, 10, 32)
        for seed, epoch in seeds
    ]
    large = []
    for n in (65535, 65536, 65537, 131072, 10**6, (1 << 26) + 1, 10**8, 10**12, 1 << 48):
        positions = [0, 1, 2, 1000, n // 3, n - 2, n - 1]
        for seed, epoch in seeds:
            rows = rows_at(positions, n, seed, epoch).tolist()
            large.append(
                {"n": n, "seed": seed, "epoch": epoch, "positions": positions, "rows": rows}
            )
    blocks = [
        {"n": n, "seed": 7, "epoch": 2, "block_rows": block_rows, "window_blocks": window_blocks,
         "rows": block_permutation(n, 7, 2, block_rows, window_blocks).tolist()}
        for n, block_rows, window_blocks in ((1, 1, 1), (12, 3, 2), (23, 4, 3), (40, 100, 2))
    ]
    return {"small": small, "large": large, "blocks": blocks}


if __name__ == "__main__":
    for name, cases in vectors().items():
        lines = ",\n".join("  " + json.dumps(case) for case in cases)
        print(f'{"{" if name == "small" else ","}"{name}": [\n{lines}\n]')
    print("}")
