"""Kinora's seeded noise in numpy, so that both engines start from the same latents.

    python bench/peers/noise.py     # checks it against the values that a test of kinora-sampling pins

The definition is in crates/kinora-sampling/src/noise.rs: Philox4x32-10 counted by element, Box and Muller in f64, rounded
to f32. Logarithm and cosine come from the system here, so that one element in some millions may differ in its last bit.
"""

import numpy as np

# crates/kinora-sampling/src/noise.rs: seed 42, variant 1, part 2.
PINNED = (0x3EBCB36E, 0x3F543CAB, 0xBE646D6A, 0xBF888083)


def philox(counter, key):
    """Four arrays of 32-bit words (held in u64) and two key words -> four arrays of words."""
    mask = np.uint64(0xFFFFFFFF)
    c, k = [np.asarray(word, np.uint64) for word in counter], [np.uint64(word) for word in key]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k[0], p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + np.uint64(0x9E3779B9)) & mask, (k[1] + np.uint64(0xBB67AE85)) & mask]
    return c


def noise(seed, shape, variant=0, part=0):
    """f32 noise of `shape`; the position of an element is its index in row-major order."""
    position = np.arange(np.prod(shape), dtype=np.uint64)
    same = lambda value: np.full_like(position, value)  # noqa: E731
    counter = [position & np.uint64(0xFFFFFFFF), position >> np.uint64(32), same(variant), same(part)]
    w = philox(counter, [seed & 0xFFFFFFFF, seed >> 32])
    join = lambda low, high: ((high << np.uint64(32) | low) >> np.uint64(11)).astype(np.float64)  # noqa: E731
    a, b = (join(w[0], w[1]) + 1) / 2**53, join(w[2], w[3]) / 2**53
    values = np.sqrt(-2 * np.log(a)) * np.cos(2 * np.pi * b)
    return values.astype(np.float32).reshape(shape)


def check():
    """Raises if this is not the noise that Kinora promises."""
    got = tuple(int(bits) for bits in noise(42, (4,), variant=1, part=2).view(np.uint32))
    if got != PINNED:
        raise AssertionError(f"the noise is {[hex(b) for b in got]}, pinned are {[hex(b) for b in PINNED]}")


if __name__ == "__main__":
    check()
    print("the noise equals the pinned values")
