#!/usr/bin/env python3
"""Makes statistics.json, which the unit tests of the gate's statistics are held against. Needs SciPy 1.17.

Where SciPy's exact p is exact (no ties, no zeros) it is SciPy's. With ties, and where it can be enumerated, p is the share of
all assignments of signs with a sum of positive ranks as large or larger, and is compared here with SciPy's permutation test.
"""

import itertools
import json
import pathlib
import random

import numpy
from scipy import stats


def signed_rank(differences: list[float]) -> dict[str, object]:
    """One-sided, greater; zeros left out."""
    nonzero = numpy.array([d for d in differences if d != 0])
    sizes = numpy.abs(nonzero)
    ranks = stats.rankdata(sizes)
    w_plus = float(ranks[nonzero > 0].sum())
    if len(set(sizes)) == len(sizes):
        p = float(stats.wilcoxon(nonzero, alternative="greater", method="exact").pvalue) if len(nonzero) else 1.0
    else:
        signs = itertools.product((0, 1), repeat=len(ranks))
        sums = [float(numpy.dot(sign, ranks)) for sign in signs]
        p = sum(value >= w_plus - 1e-9 for value in sums) / len(sums)
        permuted = stats.wilcoxon(
            nonzero, alternative="greater", method=stats.PermutationMethod(n_resamples=numpy.inf)
        ).pvalue
        assert abs(p - permuted) < 1e-12, (p, permuted)
    return {"differences": differences, "w_plus": w_plus, "p": p}


def null_below(n: int) -> list[float]:
    """The probability of a sum of positive ranks below 0, 1, 2, ..., without ties."""
    counts = [1]
    for rank in range(1, n + 1):
        longer = [0] * (len(counts) + rank)
        for value, count in enumerate(counts):
            longer[value] += count
            longer[value + rank] += count
        counts = longer
    below, sums = 0, []
    for count in counts:
        sums.append(below / 2**n)
        below += count
    return sums


def hodges_lehmann(differences: list[float], alpha: float) -> dict[str, object]:
    """Estimate, and one-sided bounds at a level, each; none when there is none."""
    n = len(differences)
    walsh = sorted((differences[i] + differences[j]) / 2 for i in range(n) for j in range(i, n))
    k = max(index for index, below in enumerate(null_below(n)) if below <= alpha)
    return {
        "differences": differences,
        "alpha": alpha,
        "estimate": float(numpy.median(walsh)),
        "lower": walsh[k - 1] if k else None,
        "upper": walsh[-k] if k else None,
    }


def main() -> None:
    rng = random.Random(1)
    signed = []
    for n in range(1, 41):
        for shift in (0.0, 0.4, 1.0):
            signed.append(signed_rank([rng.gauss(shift, 1) for _ in range(n)]))
    # Ties, and zeros among them; up to 14, so that all signs can be gone through.
    for n in range(2, 15):
        signed.append(signed_rank([float(rng.randint(-3, 4)) for _ in range(n)]))
        signed.append(signed_rank([rng.choice((-2.0, 1.0, 1.0, 3.0)) for _ in range(n)]))
    location = [
        hodges_lehmann([rng.gauss(0.3, 1) for _ in range(n)], alpha)
        for n in (1, 4, 5, 8, 12, 13, 24, 40)
        for alpha in (0.05, 1 / 60, 0.005)
    ]
    path = pathlib.Path(__file__).with_name("statistics.json")
    path.write_text(json.dumps({"signed_rank": signed, "hodges_lehmann": location}, indent=0) + "\n")


if __name__ == "__main__":
    main()
