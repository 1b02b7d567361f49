"""The Prometheus files: the two configurations agree, every rule has tests, every alert says what to do."""

import unittest

from promql import selectors
from sources import PROMETHEUS, Tree, read_yaml, rule_tests, rules


def without_targets(config: Tree) -> Tree:
    """The configuration but for the addresses."""
    for job in config["scrape_configs"]:
        for group in job["static_configs"]:
            group["targets"] = len(group["targets"])
    return config


class Configuration(unittest.TestCase):
    def test_both_differ_in_addresses_only(self) -> None:
        one, local = (read_yaml(PROMETHEUS / name) for name in ("prometheus.yml", "prometheus.local.yml"))
        addresses = [t for job in local["scrape_configs"] for group in job["static_configs"] for t in group["targets"]]
        self.assertTrue(all(address.startswith("127.0.0.1:") for address in addresses), addresses)
        self.assertEqual(without_targets(one), without_targets(local))


class Rules(unittest.TestCase):
    def test_every_recording_rule_is_tested_with_a_value(self) -> None:
        tested = set()
        for case in rule_tests():
            for check in case.get("promql_expr_test", []):
                if check["exp_samples"]:
                    tested |= {selector.name for selector in selectors(check["expr"])}
        self.assertEqual({rule["record"] for rule in rules("recording.yml")} - tested, set())

    def test_every_alert_is_tested_to_fire_and_not_to_fire(self) -> None:
        fires, keeps_quiet = set(), set()
        for case in rule_tests():
            for check in case.get("alert_rule_test", []):
                (fires if check["exp_alerts"] else keeps_quiet).add(check["alertname"])
        names = {rule["alert"] for rule in rules("alerts.yml")}
        self.assertEqual(names - fires, set())
        self.assertEqual(names - keeps_quiet, set())
        self.assertEqual((fires | keeps_quiet) - names, set(), "tests of alerts that do not exist")

    def test_every_alert_says_how_bad_what_how_much_and_what_to_do(self) -> None:
        for rule in rules("alerts.yml"):
            with self.subTest(alert=rule["alert"]):
                self.assertRegex(rule["alert"], "^Tidemark[A-Z]")
                self.assertIn(rule["labels"]["severity"], {"critical", "warning"})
                self.assertEqual(rule["annotations"].keys(), {"summary", "description", "runbook"})
                self.assertIn("$value", rule["annotations"]["description"])

    def test_no_rule_has_its_name_twice(self) -> None:
        for file, key in (("recording.yml", "record"), ("alerts.yml", "alert")):
            names = [rule[key] for rule in rules(file)]
            self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main()
