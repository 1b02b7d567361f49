"""Dashboards and rules read only what exists, by the labels that it has."""

import re
import unittest

from promql import selectors
from sources import METRICS, Metric, dashboards, metrics, rule_tests, rules, targets

# Labels that Prometheus adds on a scrape.
SCRAPED = {"job", "instance"}

# Labels of the recorded series, which are summed by these.
RECORDED = {"population": {"run", "population"}, "instance": set(), "tidemark": set()}


# The series of each type of metric: the ends of their names, and the label that each has besides the metric's own.
SERIES: dict[str, dict[str, set[str]]] = {
    "counter": {"": set()},
    "gauge": {"": set()},
    "histogram": {"_bucket": {"le"}, "_count": set(), "_sum": set()},
    "summary": {"": {"quantile"}, "_count": set(), "_sum": set()},
}


def exported() -> dict[str, tuple[Metric, frozenset[str]]]:
    """Every series that a scrape gives, with its metric and its labels."""
    return {
        metric.name + end: (metric, metric.labels | extra)
        for metric in metrics().values()
        for end, extra in SERIES[metric.kind].items()
    }


def complaint(name: str, labels: set[str]) -> str | None:
    """What is wrong with reading this series by these labels."""
    recorded = {rule["record"] for rule in rules("recording.yml")}
    known = exported()
    if name == "up":
        allowed = SCRAPED
    elif name in recorded:
        allowed = RECORDED[name.split(":")[0]] | SCRAPED
    elif name in known:
        allowed = SCRAPED | known[name][1]
    else:
        return f"{name} does not exist"
    extra = labels - allowed
    return f"{name} has no label {sorted(extra)}" if extra else None


# Builds that count allocations are measured, and not operated.
FOR_THE_GATE_ALONE = {"tidemark_heap_allocations_total", "tidemark_heap_bytes"}


class Names(unittest.TestCase):
    def expressions(self) -> dict[str, str]:
        """Every expression of dashboards and rules, by where it stands."""
        found = {}
        for name, dashboard in dashboards().items():
            for panel, target in targets(dashboard):
                found[f"{name}: {panel['title']} {target['refId']}"] = target["expr"]
            for annotation in dashboard["annotations"].get("list", []):
                found[f"{name}: annotation {annotation['name']}"] = annotation["expr"]
            for variable in dashboard["templating"]["list"]:
                if variable["type"] == "query":
                    found[f"{name}: variable {variable['name']}"] = re.sub(r"^label_values\((.+), \w+\)$", r"\1", variable["query"])
        for file in ("recording.yml", "alerts.yml"):
            for rule in rules(file):
                found[f"{file}: {rule.get('record') or rule['alert']}"] = rule["expr"]
        return found

    def test_every_series_that_is_read_exists_with_its_labels(self) -> None:
        for where, expr in self.expressions().items():
            with self.subTest(where=where):
                read = selectors(expr)
                # Constants are the only expressions that read nothing.
                self.assertTrue(read or "tidemark:slo_" in where, expr)
                self.assertEqual([c for s in read if (c := complaint(s.name, s.labels()))], [])

    def test_the_series_of_rule_tests_exist_with_their_labels(self) -> None:
        for case in rule_tests():
            for series in case["input_series"]:
                with self.subTest(case=case["name"], series=series["series"]):
                    (selector,) = selectors(series["series"])
                    self.assertIsNone(complaint(selector.name, selector.labels()))

    def test_wrong_names_and_labels_are_seen(self) -> None:
        self.assertIn("does not exist", complaint("tidemark_nothing", set()) or "")
        self.assertIn("does not exist", complaint("tidemark_loadgen_lag_seconds", set()) or "")
        self.assertIn("does not exist", complaint("tidemark_ready_count", set()) or "")
        self.assertIn("no label ['run']", complaint("tidemark_ready", {"run"}) or "")
        self.assertIn("no label ['quantile']", complaint("tidemark_loadgen_lag_interval_seconds_sum", {"quantile"}) or "")
        self.assertIn("no label ['le']", complaint("tidemark_loadgen_lag_interval_seconds", {"le"}) or "")
        self.assertIsNone(complaint("tidemark_loadgen_lag_seconds_bucket", {"run", "le", "job"}))
        self.assertIsNone(complaint("tidemark_loadgen_lag_interval_seconds", {"run", "quantile", "instance"}))

    def test_every_metric_is_shown_somewhere(self) -> None:
        known = exported()
        read = {known[s.name][0].name for expr in self.expressions().values() for s in selectors(expr) if s.name in known}
        self.assertEqual(metrics().keys() - read, FOR_THE_GATE_ALONE)


class Page(unittest.TestCase):
    """The programs' own tests hold the page to their code; here, that it is read whole and as it is."""

    def test_every_metric_of_the_page_is_read(self) -> None:
        rows = re.findall(r"^\| `(\w+)` \| \w+ \| .* \| .* \| .* \|$", METRICS.read_text(), re.MULTILINE)
        self.assertTrue(rows)
        self.assertEqual(list(metrics()), rows)

    def test_type_and_labels_are_read(self) -> None:
        known = metrics()
        self.assertEqual(known["tidemark_ready"], Metric("tidemark_ready", "gauge", frozenset()))
        name = "tidemark_loadgen_arrivals_total"
        self.assertEqual(known[name], Metric(name, "counter", frozenset({"population", "run", "outcome"})))
        self.assertEqual(known["tidemark_loadgen_lag_interval_seconds"].kind, "summary")

    def test_a_row_that_is_not_understood_or_is_there_twice_is_an_error(self) -> None:
        row = "| `a_total` | counter | `b` | things | What it means. |\n"
        for rows in (row.replace("counter", "count"), row.replace("`b`", "b"), row.replace("`a_total`", "a_total"), row + row):
            page = "<!-- x: made from its table of names -->\n| h |\n|---|\n" + rows + "<!-- end of x -->\n"
            with self.subTest(rows=rows), self.assertRaises(ValueError):
                metrics(page)
            self.assertEqual(list(metrics(page.replace(rows, row))), ["a_total"])


if __name__ == "__main__":
    unittest.main()
