#!/usr/bin/env python3
"""Makes statistics.json, which the unit tests of the load generator's statistics are held against. Needs SciPy 1.17 or 1.18.

The tail of A2 of a known distribution is in no SciPy function. It is computed here from the characteristic function of the
limiting distribution (Anderson and Darling 1952, which is that of a sum of weighted chi-squares) by Gil-Pelaez' inversion: another
way than the series in the code.
"""

import itertools
import json
import math
import pathlib
import random

import numpy
from scipy import stats


def uniform(values: list[float]) -> dict[str, object]:
    fit = stats.goodness_of_fit(
        stats.uniform, values, known_params={"loc": 0, "scale": 1}, statistic="ad", n_mc_samples=1
    )
    return {"values": values, "a2": float(fit.statistic)}


def exponential(values: list[float]) -> dict[str, object]:
    found = stats.anderson(numpy.array(values), "expon")
    return {"values": values, "a2": float(found.statistic), "critical": [float(v) for v in found.critical_values]}


def log_characteristic(t: numpy.ndarray) -> numpy.ndarray:
    """log E exp(i t A2) = log sqrt(-2 pi i t / cos(pi/2 sqrt(1 + 8 i t))), on the branch that is 0 at 0."""
    w = numpy.pi / 2 * numpy.sqrt(1 + 8j * t)
    log_cos = -1j * w + numpy.log1p(numpy.exp(2j * w)) - math.log(2)
    return (numpy.log(2 * numpy.pi * t) - 1j * numpy.pi / 2 - log_cos) / 2


def known_tail(a2: float) -> float:
    """P(A2 > a2): 1/2 + 1/pi times the integral of Im(exp(-i t a2) phi(t)) / t, Gauss-Legendre piece by piece."""
    nodes, weights = numpy.polynomial.legendre.leggauss(40)
    edges = numpy.concatenate([numpy.linspace(0, 1, 101), numpy.linspace(1, 800, 12001)[1:]])
    half = numpy.diff(edges)[:, None] / 2
    t = (edges[:-1, None] + half) + half * nodes
    height = numpy.imag(numpy.exp(log_characteristic(t) - 1j * t * a2)) / t
    return float(0.5 + (height * half * weights).sum() / numpy.pi)


def critical(level: float) -> float:
    low, high = 0.1, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if known_tail(middle) > level else (low, middle)
    return low


def erlang(shape: int, x: float) -> dict[str, object]:
    return {"shape": shape, "x": x, "p": float(stats.gamma.cdf(x, shape))}


def rank_sum(first: list[float], second: list[float]) -> dict[str, object]:
    both = first + second
    if len(set(both)) == len(both):
        p = float(stats.mannwhitneyu(first, second, alternative="two-sided", method="exact").pvalue)
    else:
        ranks = stats.rankdata(both)
        observed = ranks[: len(first)].sum()
        sums = numpy.array([ranks[list(c)].sum() for c in itertools.combinations(range(len(both)), len(first))])
        p = min(1.0, 2 * min((sums <= observed + 1e-9).mean(), (sums >= observed - 1e-9).mean()))
        permuted = stats.permutation_test(
            (first, second), lambda a, b: stats.rankdata(numpy.concatenate([a, b]))[: len(a)].sum(), n_resamples=numpy.inf
        ).pvalue
        assert abs(p - permuted) < 1e-12, (p, permuted)
    return {"first": first, "second": second, "p": p}


def main() -> None:
    rng = random.Random(1)
    uniforms, exponentials = [], []
    for n in (1, 2, 5, 10, 30, 100, 250):
        uniforms.append(uniform([rng.random() for _ in range(n)]))
        uniforms.append(uniform([rng.betavariate(0.7, 1.4) for _ in range(n)]))
        uniforms.append(uniform([rng.betavariate(3, 3) for _ in range(n)]))
    for n in (2, 5, 10, 30, 100, 250):
        exponentials.append(exponential([rng.expovariate(1) for _ in range(n)]))
        exponentials.append(exponential([rng.expovariate(1 / 50_000) for _ in range(n)]))
        exponentials.append(exponential([rng.gammavariate(2, 10) for _ in range(n)]))
        exponentials.append(exponential([rng.uniform(5, 6) for _ in range(n)]))
    points = [0.1, 0.3, 0.5, 0.8, 1.248, 1.61, 1.933, 2.492, 3.07, 3.878, 5, 6, 8, 10, 12, 12.5, 13, 15]
    points.append(critical(1e-6))
    tails = [{"a2": a2, "p": known_tail(a2)} for a2 in points]
    erlangs = [
        erlang(shape, shape * share) for shape in (1, 2, 3, 4, 8, 56, 1024) for share in (1e-3, 0.1, 0.5, 0.9, 1, 1.1, 2, 5)
    ]
    ranks = []
    for n, m in itertools.product((1, 2, 5, 8, 20), (1, 3, 5, 13, 20)):
        ranks.append(rank_sum([rng.gauss(0, 1) for _ in range(n)], [rng.gauss(0.7, 1) for _ in range(m)]))
    for n, m in itertools.product((2, 3, 4, 6), (2, 4, 5, 7)):
        ranks.append(
            rank_sum([float(rng.randint(0, 4)) for _ in range(n)], [float(rng.randint(1, 5)) for _ in range(m)])
        )
    reference = {
        "uniform": uniforms,
        "known_tail": tails,
        "exponential": exponentials,
        "erlang": erlangs,
        "rank_sum": ranks,
    }
    path = pathlib.Path(__file__).with_name("statistics.json")
    path.write_text(json.dumps(reference, indent=0) + "\n")


if __name__ == "__main__":
    main()
