"""What Prometheus must say of a run, told from the run's report.json. Pure: a report in, claims out."""

from __future__ import annotations

import dataclasses
import math
import typing

# The quantiles of report.json by the figure that holds them.
QUANTILES = {
    "p50_ns": 0.5,
    "p90_ns": 0.9,
    "p95_ns": 0.95,
    "p99_ns": 0.99,
    "p99_9_ns": 0.999,
    "p99_99_ns": 0.9999,
}
KINDS = ("response", "service", "lag", "wait", "connect")

# The first and last bounds of the exported buckets are one nanosecond below these powers of two; see docs/metrics.md.
FIRST_EXPONENT = 10
LAST_EXPONENT = 37
PER_DOUBLING = 8

# `_sum` takes a value as the middle of its slot, within 0.05 %; below 2 us a slot is a nanosecond wide.
MEAN_RELATIVE = 0.0006
MEAN_ABSOLUTE_SECONDS = 1e-9

# Poisson arrivals scatter around their rate: five standard deviations of the count.
RATE_DEVIATIONS = 5.0

# Bounds of what a panel may show, by its unit. The rate of a counter is extrapolated to the ends of its window, and so a
# share of a whole core or plan can come out a little above it.
UNIT_BOUNDS = {"percentunit": (0.0, 1.25)}

# Panels of which a value below zero, or above what is likely for the unit, is no mistake.
UNBOUNDED = {"Robust score of the response p99", "Lag as a share of the response time", "Share of failed arrivals"}


@dataclasses.dataclass(frozen=True)
class Claim:
    """What an instant query must give: one series with a value from `low` to `high`."""

    what: str
    query: str
    low: float
    high: float

    def complaint(self, values: list[float]) -> str | None:
        """What is wrong with the values that came."""
        if len(values) == 1 and self.low <= values[0] <= self.high:
            return None
        allowed = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"
        return f"{self.what}: {values} and not {allowed}: {self.query}"


def bucket_of(value_ns: int) -> tuple[float, float]:
    """The exported bucket that a value falls into: above the first, up to and with the second, in seconds."""
    bounds = [
        (2**exponent * (PER_DOUBLING + part)) // PER_DOUBLING - 1
        for exponent in range(FIRST_EXPONENT, LAST_EXPONENT)
        for part in range(PER_DOUBLING)
    ]
    above = [bound for bound in bounds if bound >= value_ns]
    below = [bound for bound in bounds if bound < value_ns]
    return (below[-1] / 1e9 if below else 0.0, above[0] / 1e9 if above else math.inf)


def claims(report: dict[str, typing.Any], seconds: int) -> list[Claim]:
    """All of a run that has ended within the last so many seconds, and whose last figures were scraped."""
    run = report["run"]["id"]
    verdict = report["verdict"]

    def last(metric: str, labels: str = "") -> str:
        return f'last_over_time({metric}{{run="{run}"{labels}}}[{seconds}s])'

    found = [exactly("the verdict", last("tidemark_loadgen_valid"), float(verdict["valid"]))]
    is_open_loop = any(population["arrivals_planned"]["kind"] != "closed" for population in report["populations"])
    if is_open_loop:
        trusted = verdict["trusted_to"] or 0.0
        found.append(exactly("the trust limit", last("tidemark_loadgen_trusted_percentile"), trusted))
    for population in report["populations"]:
        of = f', population="{population["name"]}"'
        found += counts(population, lambda metric, labels="", of=of: last(metric, of + labels))
        found += rate(population, report["run"]["measured_s"], lambda metric, labels="", of=of: last(metric, of + labels))
        for kind in KINDS:
            found += latency(population["name"], kind, population[kind], lambda metric, of=of: last(metric, of))
    return found


Last = typing.Callable[..., str]


def exactly(what: str, query: str, value: float) -> Claim:
    """A claim of one value."""
    return Claim(what, query, value, value)


def counts(population: dict[str, typing.Any], last: Last) -> list[Claim]:
    """Every arrival and connection is accounted for alike."""
    name = population["name"]
    found = [
        exactly(f"{name}: arrivals {outcome}", last("tidemark_loadgen_arrivals_total", f', outcome="{outcome}"'), float(count))
        for outcome, count in population["arrivals"].items()
    ]
    requested = float(population["connections"]["requested"])
    found.append(exactly(f"{name}: connections planned", last("tidemark_loadgen_connections_target"), requested))
    return found


def rate(population: dict[str, typing.Any], measured_s: float, last: Last) -> list[Claim]:
    """The arrivals that came due are as many as the plan's rate says."""
    planned = population["arrivals_planned"].get("rate")
    if planned is None:
        return []
    expected = planned * measured_s
    slack = RATE_DEVIATIONS * math.sqrt(expected)
    due = last("tidemark_loadgen_arrivals_total", ', outcome="scheduled"')
    asked = last("tidemark_loadgen_arrivals_target_per_second")
    name = population["name"]
    return [
        Claim(f"{name}: arrivals due at {planned}/s", due, expected - slack, expected + slack),
        exactly(f"{name}: rate of the plan", asked, planned),
    ]


def latency(name: str, kind: str, figures: dict[str, float], last: Last) -> list[Claim]:
    """Count and mean are those of the report, and each percentile lies in the bucket that the report's lies in."""
    metric = f"tidemark_loadgen_{kind}_seconds"
    if not figures["count"]:
        return []
    found = [exactly(f"{name}: {kind} count", last(f"{metric}_count"), float(figures["count"]))]
    mean_s = figures["mean_ns"] / 1e9
    slack = mean_s * MEAN_RELATIVE + MEAN_ABSOLUTE_SECONDS
    mean = f"{last(f'{metric}_sum')} / {last(f'{metric}_count')}"
    found.append(Claim(f"{name}: {kind} mean", mean, mean_s - slack, mean_s + slack))
    for figure, quantile in QUANTILES.items():
        low, high = bucket_of(int(figures[figure]))
        query = f"histogram_quantile({quantile}, {last(f'{metric}_bucket')})"
        found.append(Claim(f"{name}: {kind} {figure.removesuffix('_ns')}", query, low, high))
    return found


def implausible(title: str, unit: str, values: list[float]) -> str | None:
    """What is wrong with the finite values that a panel shows."""
    if title in UNBOUNDED:
        return None
    low, high = UNIT_BOUNDS.get(unit, (0.0, math.inf))
    outside = [value for value in values if not low <= value <= high]
    return f"{title}: {outside[0]} is not from {low} to {high} ({unit})" if outside else None
