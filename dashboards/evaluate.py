#!/usr/bin/env python3
"""Runs every expression of the dashboards and of the rules on a Prometheus that has scraped a server and a run.

Fails when an expression is refused, when one has no data that must have or shows what cannot be, and when a rule's last
evaluation failed. With the run's report.json it also holds what Prometheus knows of the run against the report: every
count, the rate, the verdict, and each percentile within a bucket.

Needs target/dashboards-venv: `scripts/dashboards evaluate URL` makes it and runs this.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
import time
import typing
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "tests"))
import plausible  # noqa: E402 (kept with the lines below)
import promql  # noqa: E402 (found only through the line above)
import sources  # noqa: E402 (the same)

# Panels, metrics and recorded series that have no data on some machine or in a run where nothing is amiss, with the reason.
MAY_BE_EMPTY = {
    "Arrivals that did not complete": "everything completed",
    "Errors by kind": "a kind that has not occurred is absent",
    "Connect time": "connections are opened within a second or so, which a busy scraper can miss",
    "Rules of the run": "a run without --slo has none",
    "Connection tracking": "absent where it is not loaded",
    "tidemark_host_tcp_memory_limit_bytes": "net.ipv4.tcp_mem is the machine's, and not to be seen in a container",
    "HTTP requests by status": "no HTTP in a run over raw echo",
    "Robust score of the response p99": "needs five minutes",
    "population:tidemark_loadgen_response_seconds:p99_robust_z": "needs five minutes",
}

# No local Prometheus takes longer for one of these.
TIMEOUT_SECONDS = 30

# A Prometheus that has just started evaluates its rules after their interval, which is 5 s here.
RULES_TIMEOUT_SECONDS = 60


def ask(base: str, path: str, **parameters: str) -> typing.Any:
    """The data of an answer of Prometheus's API; a refusal is raised as its own words."""
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(error.read().decode(errors="replace")) from error
    except OSError as error:
        raise ValueError(f"{base} does not answer: {error}") from error


def run_of(base: str, seconds: int) -> str:
    """The newest run of the last so many seconds."""
    runs = ask(base, "query", query=f"max by (run) (max_over_time(timestamp(tidemark_loadgen_valid)[{seconds}s:1s]))")["result"]
    if not runs:
        raise ValueError(f"Prometheus has seen no run in the last {seconds} s")
    return max(runs, key=lambda series: float(series["value"][1]))["metric"]["run"]


def filled(expr: str, run: str) -> str:
    """The expression as Grafana asks it, with everything chosen. Windows are long enough for either scrape interval."""
    values = {"$__rate_interval": "20s", "$job": ".+", "$instance": ".+", "$population": ".+", "$run": run}
    for variable, value in values.items():
        expr = expr.replace(variable, value)
    return expr


class Asked(typing.NamedTuple):
    """An expression, what it is of, and the unit of what it gives."""

    where: str
    title: str
    expr: str
    unit: str


def asked_by_dashboards(run: str) -> list[Asked]:
    """Every query of every panel, and the annotations."""
    found = []
    for name, dashboard in sources.dashboards().items():
        for panel, target in sources.targets(dashboard):
            unit = panel["fieldConfig"]["defaults"].get("unit", "none")
            found.append(Asked(name, panel["title"], filled(target["expr"], run), unit))
        for note in dashboard["annotations"].get("list", []):
            found.append(Asked(name, note["name"], filled(note["expr"], run), "none"))
    return found


def asked_by_rules() -> list[Asked]:
    """Every rule's expression."""
    recording = sources.rules("recording.yml")
    found = [Asked("recording.yml", rule["record"], rule["expr"], "none") for rule in recording]
    # What was recorded of them while the run went.
    found += [Asked("recorded", rule["record"], rule["record"], "none") for rule in recording]
    return found + [Asked("alerts.yml", rule["alert"], rule["expr"], "none") for rule in sources.rules("alerts.yml")]


def may_be_empty(asked: Asked) -> bool:
    """Whether no data is no mistake. The expression of an alert gives a series only while something is wrong."""
    read = {selector.name for selector in promql.selectors(asked.expr)}
    return asked.where == "alerts.yml" or bool(MAY_BE_EMPTY.keys() & (read | {asked.title}))


def evaluate(base: str, everything: list[Asked], now: float, seconds: int) -> list[str]:
    """What is wrong with the expressions over the last so many seconds."""
    wrong = []
    for asked in everything:
        where, title, expr, unit = asked
        try:
            data = ask(base, "query_range", query=expr, start=str(now - seconds), end=str(now), step="1")["result"]
        except ValueError as refusal:
            wrong.append(f"{where}: {title}: {refusal}: {expr}")
            continue
        values = [float(value) for series in data for _, value in series["values"]]
        finite = [value for value in values if math.isfinite(value)]
        last = finite[-1] if finite else "-"
        print(f"{where:14} {title:60} {len(data):5} series, last value {last}")
        if not finite and not may_be_empty(asked):
            wrong.append(f"{where}: {title}: no data: {expr}")
        if complaint := plausible.implausible(title, unit, finite):
            wrong.append(f"{where}: {complaint}: {expr}")
    return wrong


def against_report(base: str, report: dict[str, typing.Any], seconds: int) -> list[str]:
    """Where Prometheus and the report of the run do not say the same."""
    claims = plausible.claims(report, seconds)
    wrong = []
    for claim in claims:
        result = ask(base, "query", query=claim.query)["result"]
        if complaint := claim.complaint([float(series["value"][1]) for series in result]):
            wrong.append(complaint)
    print(f"{len(claims) - len(wrong)} of {len(claims)} figures are those of report.json")
    return wrong


def loaded_rules(base: str) -> list[typing.Any]:
    """All rules, once each has been evaluated, or after a while."""
    deadline = time.monotonic() + RULES_TIMEOUT_SECONDS
    while True:
        found = [rule for group in ask(base, "rules")["groups"] for rule in group["rules"]]
        if all(rule["health"] != "unknown" for rule in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def rules(base: str) -> list[str]:
    """What is wrong with the rules' last evaluations; and says which alerts are up."""
    found = loaded_rules(base)
    for rule in found:
        if rule.get("state", "inactive") != "inactive":
            print(f"alert {rule['name']} is {rule['state']}")
    ours = {rule.get("record") or rule["alert"] for file in ("recording.yml", "alerts.yml") for rule in sources.rules(file)}
    missing = ours - {rule["name"] for rule in found}
    return [f"rule {name} is not loaded" for name in sorted(missing)] + [
        f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in found if rule["health"] != "ok"
    ]


def main() -> int:
    """0 when all is well, 1 when an expression or rule is not, 4 when Prometheus does not answer or has seen no run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="Prometheus, as http://127.0.0.1:9090")
    parser.add_argument("--run", help="the run to look at; the newest if not given")
    parser.add_argument("--report", type=argparse.FileType(), help="its report.json, to hold Prometheus against")
    parser.add_argument("--seconds", type=int, default=120, help="how far to look back")
    arguments = parser.parse_args()
    base = arguments.url.rstrip("/")
    report = json.load(arguments.report) if arguments.report else None
    try:
        run = arguments.run or (report["run"]["id"] if report else run_of(base, arguments.seconds))
        now = float(ask(base, "query", query="time()")["result"][1])
        wrong = evaluate(base, asked_by_dashboards(run) + asked_by_rules(), now, arguments.seconds) + rules(base)
        wrong += against_report(base, report, arguments.seconds) if report else []
    except ValueError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 4
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
