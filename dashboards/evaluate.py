#!/usr/bin/env python3
"""Runs every expression of the dashboards, and looks at every rule, on a Prometheus that has scraped a server and a run.

Fails when an expression is refused, when one has no data that must have, or when a rule's last evaluation failed.
Needs target/dashboards-venv (scripts/dashboards makes it).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import typing
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "tests"))
import sources  # noqa: E402 (found only through the line above)

# Panels that have no data on a machine or in a run where nothing is amiss, with the reason.
MAY_BE_EMPTY = {
    "Arrivals that did not complete": "everything completed",
    "Errors by kind": "a kind that has not occurred is absent",
    "Connection tracking": "absent where it is not loaded",
    "HTTP requests by status": "no HTTP in a run over raw echo",
    "Robust score of the response p99": "needs five minutes",
}

# No local Prometheus takes longer for one of these.
TIMEOUT_SECONDS = 30


def ask(base: str, path: str, **parameters: str) -> typing.Any:
    """The data of an answer of Prometheus's API; a refusal is raised as its own words."""
    url = f"{base}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(error.read().decode(errors="replace")) from error


def run_of(base: str, seconds: int) -> str:
    """The newest run of the last so many seconds."""
    runs = ask(base, "query", query=f"max by (run) (max_over_time(timestamp(tidemark_loadgen_valid)[{seconds}s:1s]))")["result"]
    if not runs:
        raise ValueError("Prometheus has seen no run")
    return max(runs, key=lambda series: float(series["value"][1]))["metric"]["run"]


def filled(expr: str, run: str) -> str:
    """The expression as Grafana asks it, with everything chosen. Windows are long enough for either scrape interval."""
    values = {"$__rate_interval": "20s", "$job": ".+", "$instance": ".+", "$population": ".+", "$run": run}
    for variable, value in values.items():
        expr = expr.replace(variable, value)
    return expr


def expressions(base: str, run: str, seconds: int) -> list[str]:
    """What is wrong with the dashboards' expressions over the last so many seconds."""
    now = float(ask(base, "query", query="time()")["result"][1])
    wrong = []
    for name, dashboard in sources.dashboards().items():
        asked = [(panel["title"], target["expr"]) for panel, target in sources.targets(dashboard)]
        asked += [(note["name"], note["expr"]) for note in dashboard["annotations"].get("list", [])]
        for title, expr in asked:
            query = filled(expr, run)
            try:
                data = ask(base, "query_range", query=query, start=str(now - seconds), end=str(now), step="1")["result"]
            except ValueError as refusal:
                wrong.append(f"{name}: {title}: {refusal}: {query}")
                continue
            last = data[0]["values"][-1][1] if data else "-"
            print(f"{name:12} {title:45} {len(data):5} series, last value {last}")
            if not data and title not in MAY_BE_EMPTY:
                wrong.append(f"{name}: {title}: no data: {query}")
    return wrong


def rules(base: str) -> list[str]:
    """What is wrong with the rules' last evaluations; and says which alerts are up."""
    wrong = []
    for group in ask(base, "rules")["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                wrong.append(f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
            if rule.get("state", "inactive") != "inactive":
                print(f"alert {rule['name']} is {rule['state']}")
    return wrong


def main() -> int:
    """0 when all is well, 1 when an expression or rule is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="Prometheus, as http://127.0.0.1:9090")
    parser.add_argument("--run", help="the run to look at; the newest if not given")
    parser.add_argument("--seconds", type=int, default=120, help="how far to look back")
    arguments = parser.parse_args()
    base = arguments.url.rstrip("/")
    run = arguments.run or run_of(base, arguments.seconds)
    wrong = expressions(base, run, arguments.seconds) + rules(base)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
