"""Dashboards and rules read only what exists, by the labels that it has."""

import re
import unittest

from promql import selectors
from sources import ROOT, dashboards, metrics, rule_tests, rules, targets

# Labels that Prometheus adds on a scrape.
SCRAPED = {"job", "instance"}

# Labels of the recorded series, which are summed by these.
RECORDED = {"population": {"run", "population"}, "instance": set(), "tidemark": set()}


def complaint(name: str, labels: set[str]) -> str | None:
    """What is wrong with reading this series by these labels."""
    recorded = {rule["record"] for rule in rules("recording.yml")}
    known = metrics()
    if name == "up":
        allowed = SCRAPED
    elif name in recorded:
        allowed = RECORDED[name.split(":")[0]] | SCRAPED
    else:
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        if name in known and known[name].kind != "histogram":
            allowed = known[name].labels | SCRAPED
        elif base != name and base in known and known[base].kind == "histogram":
            allowed = known[base].labels | SCRAPED | ({"le"} if name.endswith("_bucket") else set())
        else:
            return f"{name} does not exist"
    extra = labels - allowed
    return f"{name} has no label {sorted(extra)}" if extra else None


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
        self.assertIsNone(complaint("tidemark_loadgen_lag_seconds_bucket", {"run", "le", "job"}))

    def test_every_metric_is_shown_somewhere(self) -> None:
        read = {re.sub(r"_(bucket|count|sum)$", "", s.name) for expr in self.expressions().values() for s in selectors(expr)}
        self.assertEqual(metrics().keys() - read, set())

    def test_every_name_is_one_of_the_programs(self):
        """docs/metrics.md is held against the programs' own tables by their tests."""
        page = (ROOT.parent / "docs" / "metrics.md").read_text()
        names = [line.split()[0] for line in (ROOT / "metric-names.txt").read_text().splitlines()]
        self.assertEqual([name for name in names if f"| `{name}` |" not in page], [])

    def test_the_list_is_sorted_and_well_formed(self) -> None:
        lines = (ROOT / "metric-names.txt").read_text().splitlines()
        self.assertEqual(lines, sorted(set(lines)))
        for line in lines:
            self.assertRegex(line, r"^[a-z_]+ (counter|gauge|histogram)( [a-z_,]+)?$")
            self.assertEqual(line.split()[0].endswith("_total"), line.split()[1] == "counter", line)


if __name__ == "__main__":
    unittest.main()
