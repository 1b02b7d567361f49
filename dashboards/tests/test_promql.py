"""The reader of PromQL that the other tests stand on."""

import unittest

from promql import Selector, concrete, selectors


class Reader(unittest.TestCase):
    def test_names_are_told_from_functions_keywords_labels_and_numbers(self) -> None:
        expr = 'sum by (le, run) (rate(a_total{b="c d", e=~"f|g"}[5m])) / on () group_left (x) h:i:j > bool 1e-9 and up offset 1m'
        self.assertEqual(
            selectors(expr),
            [
                Selector("a_total", '{b="c d", e=~"f|g"}', "[5m]", "rate"),
                Selector("h:i:j", "", "", ""),
                Selector("up", "", "", ""),
            ],
        )

    def test_the_caller_is_the_direct_one(self) -> None:
        self.assertEqual([s.caller for s in selectors("rate(sum(a_total)[1m:]) + irate( b_total[1m])")], ["sum", "irate"])

    def test_labels_are_those_of_the_matchers(self) -> None:
        self.assertEqual(selectors('m{a="x=1", b!~"y", c!="z"}')[0].labels(), {"a", "b", "c"})

    def test_variables_get_values(self) -> None:
        self.assertEqual(concrete('a{job=~"$job"}[$__rate_interval]'), 'a{job=~"j"}[1m]')


if __name__ == "__main__":
    unittest.main()
