"""Finds the series that a PromQL expression reads. It does not parse: promtool does that, in the same tests."""

from __future__ import annotations

import re
import typing

# Words that stand where a metric's name could.
KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}

# Dashboard variables, with a value that fits where each may stand.
VARIABLES = {"$__rate_interval": "1m", "$job": "j", "$instance": "i", "$run": "r", "$population": "p"}


class Selector(typing.NamedTuple):
    """A metric's name with its matchers, its range, and the function that is called on it directly."""

    name: str
    matchers: str
    window: str
    caller: str

    def labels(self) -> set[str]:
        """The labels that are matched on."""
        return set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', self.matchers)))


SELECTOR = re.compile(r"(?<![\w:$.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])\s*(\{[^{}]*\})?\s*(\[[^\]]*\])?")
LABEL_LIST = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")


def selectors(expr: str) -> list[Selector]:
    """Every series that the expression reads. Braces within a matcher's value are not understood, and not used."""
    text = LABEL_LIST.sub("", re.sub(r"#.*", "", expr))
    found = []
    for match in SELECTOR.finditer(text):
        if match[1] in KEYWORDS:
            continue
        caller = re.search(r"(\w+)\s*\(\s*$", text[: match.start()])
        found.append(Selector(match[1], match[2] or "", match[3] or "", caller[1] if caller else ""))
    return found


def concrete(expr: str) -> str:
    """The expression with a value for each of the dashboards' variables."""
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    return expr
