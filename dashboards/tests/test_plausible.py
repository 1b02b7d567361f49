"""What Prometheus is held against after a run: the claims, and that a wrong answer breaks each of them."""

import json
import pathlib
import sys
import unittest

from sources import ROOT

sys.path.insert(0, str(ROOT))
import plausible  # noqa: E402 (found only through the line above)

REPORTS = pathlib.Path(ROOT).parent / "loadgen" / "tests" / "e2e" / "reports"


class Buckets(unittest.TestCase):
    def test_bounds_are_those_of_the_exporter(self) -> None:
        # From loadgen/src/metrics/buckets.rs: 1023, 1151, ... 2047, ... (15 << 33) - 1, (1 << 37) - 1 (of which the last is a bound too).
        self.assertEqual(plausible.bucket_of(0), (0.0, 1023e-9))
        self.assertEqual(plausible.bucket_of(1023), (0.0, 1023e-9))
        self.assertEqual(plausible.bucket_of(1024), (1023e-9, 1151e-9))
        self.assertEqual(plausible.bucket_of(2047), (1919e-9, 2047e-9))
        self.assertEqual(plausible.bucket_of(2048), (2047e-9, 2303e-9))
        self.assertEqual(plausible.bucket_of(((15 << 33)) - 1)[1], ((15 << 33) - 1) / 1e9)

    def test_a_value_lies_in_its_bucket_and_the_bucket_is_narrow(self) -> None:
        for value_ns in (1100, 41_400, 783_000, 12_400_000, 59_000_000_000):
            low, high = plausible.bucket_of(value_ns)
            self.assertTrue(low < value_ns / 1e9 <= high, value_ns)
            self.assertLess(high / low, 1.13)


class Claims(unittest.TestCase):
    def claims(self, name: str) -> list[plausible.Claim]:
        return plausible.claims(json.loads((REPORTS / name).read_text()), 60)

    def test_an_open_loop_is_held_against_every_figure(self) -> None:
        claims = self.claims("trusted_to_p99.json")
        whats = [claim.what for claim in claims]
        self.assertEqual(len(whats), len(set(whats)))
        for what in ("the verdict", "the trust limit", "main: arrivals completed", "main: rate of the plan"):
            self.assertIn(what, whats)
        for kind in plausible.KINDS:
            self.assertEqual(sum(f": {kind} " in what for what in whats), 2 + len(plausible.QUANTILES), kind)

    def test_a_closed_loop_has_neither_rate_nor_trust_limit(self) -> None:
        whats = [claim.what for claim in self.claims("closed.json")]
        self.assertEqual([what for what in whats if "rate" in what or "trust" in what], [])
        self.assertIn("main: response p99", whats)

    def test_every_query_is_of_this_run_alone(self) -> None:
        run = json.loads((REPORTS / "trusted_to_p99.json").read_text())["run"]["id"]
        for claim in self.claims("trusted_to_p99.json"):
            self.assertIn(f'{{run="{run}"', claim.query)

    def test_what_is_missing_twice_or_off_is_complained_of(self) -> None:
        for claim in self.claims("trusted_to_p99.json"):
            with self.subTest(claim.what):
                self.assertIsNone(claim.complaint([claim.low]))
                self.assertIsNone(claim.complaint([claim.high]))
                for values in ([], [claim.low, claim.low], [claim.high * 1.01 + 1e-6], [claim.low * 0.99 - 1e-6], [float("nan")]):
                    self.assertIn(claim.what, claim.complaint(values) or "", values)


class Panels(unittest.TestCase):
    def test_what_cannot_be_is_complained_of(self) -> None:
        self.assertIn("CPU", plausible.implausible("CPU", "percentunit", [0.5, 1.3]) or "")
        self.assertIn("Bytes", plausible.implausible("Bytes", "binBps", [5.0, -1.0]) or "")

    def test_what_can_be_is_not(self) -> None:
        self.assertIsNone(plausible.implausible("CPU", "percentunit", [0.0, 1.01]))
        self.assertIsNone(plausible.implausible("Bytes", "binBps", [0.0, 1e12]))
        self.assertIsNone(plausible.implausible("Robust score of the response p99", "none", [-3.0]))


if __name__ == "__main__":
    unittest.main()
