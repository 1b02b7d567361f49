"""The generated dashboards: current, typed, and laid out so that nothing lies on anything."""

import itertools
import json
import re
import sys
import unittest

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from sources import GRAFANA, PROMETHEUS, Tree, dashboards, panels, read_yaml, targets

sys.path.insert(0, str(GRAFANA))
import generate  # noqa: E402 (found only through the line above)
from run_dashboard import PHASE_FIELDS  # noqa: E402

# Grafana's grid.
COLUMNS = 24


def overlap(one: Tree, other: Tree) -> bool:
    """Whether two places on the grid share a cell."""
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


class Generated(unittest.TestCase):
    def test_the_files_are_what_is_generated_now(self) -> None:
        self.assertEqual(generate.stale(generate.rendered()), [])

    def test_a_changed_file_a_missing_one_and_one_too_many_are_stale(self) -> None:
        files = generate.rendered()
        changed = {**files, "run.json": files["run.json"] + " ", "new.json": "{}"}
        del changed["server.json"]
        self.assertEqual(generate.stale(changed), ["new.json", "run.json", "server.json"])

    def test_generating_twice_gives_the_same_bytes(self) -> None:
        self.assertEqual(generate.rendered(), generate.rendered())


class Typed(unittest.TestCase):
    def test_each_dashboard_comes_back_from_the_typed_model_as_it_was(self) -> None:
        register_default_plugins()
        for name, dashboard in dashboards().items():
            with self.subTest(dashboard=name):
                back = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
                # The fields that the SDK's type of annotations lacks; see PhaseAnnotation.
                for annotation in dashboard["annotations"].get("list", []):
                    for key in PHASE_FIELDS:
                        self.assertIn(key, annotation)
                        del annotation[key]
                # A heatmap's empty custom settings are written out once they have been read.
                for panel in panels(back):
                    if panel["type"] == "heatmap":
                        self.assertEqual(panel["fieldConfig"]["defaults"].pop("custom"), {})
                self.assertEqual(back, dashboard)


class Layout(unittest.TestCase):
    def test_no_two_panels_overlap_and_none_leaves_the_grid(self) -> None:
        for name, dashboard in dashboards().items():
            places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
            self.assertTrue(places)
            for title, place in places:
                with self.subTest(dashboard=name, panel=title):
                    self.assertLessEqual(place["x"] + place["w"], COLUMNS)
                    self.assertGreater(place["w"] * place["h"], 0)
            for (title, one), (other_title, other) in itertools.combinations(places, 2):
                with self.subTest(dashboard=name, panels=(title, other_title)):
                    self.assertFalse(overlap(one, other))

    def test_overlap_is_seen(self) -> None:
        place = {"x": 0, "y": 0, "w": 12, "h": 8}
        self.assertTrue(overlap(place, {**place, "x": 11, "y": 7}))
        self.assertFalse(overlap(place, {**place, "x": 12}))
        self.assertFalse(overlap(place, {**place, "y": 8}))

    def test_panels_have_numbers_and_titles_of_their_own(self) -> None:
        for name, dashboard in dashboards().items():
            with self.subTest(dashboard=name):
                self.assertEqual([p["id"] for p in dashboard["panels"]], list(range(1, len(dashboard["panels"]) + 1)))
                titles = [panel["title"] for panel in panels(dashboard)]
                stats = {panel["title"] for panel in panels(dashboard) if panel["type"] == "stat"}
                # A figure and its course over time may share a title.
                self.assertEqual(len([t for t in titles if t not in stats]), len({t for t in titles if t not in stats}))


class Wiring(unittest.TestCase):
    def test_the_dashboards_link_to_each_other(self) -> None:
        uids = {name: f"/d/{dashboard['uid']}" for name, dashboard in dashboards().items()}
        for name, dashboard in dashboards().items():
            links = dashboard["links"] + [link for panel in panels(dashboard) for link in panel.get("links", [])]
            with self.subTest(dashboard=name):
                self.assertEqual({link["url"] for link in links}, set(uids.values()) - {uids[name]})
                self.assertTrue(all(link["keepTime"] for link in links))

    def test_variables_that_are_used_exist(self) -> None:
        for name, dashboard in dashboards().items():
            known = {f"${variable['name']}" for variable in dashboard["templating"]["list"]} | {"$__rate_interval", "$__all"}
            used = set(re.findall(r"\$\w+", json.dumps(dashboard)))
            with self.subTest(dashboard=name):
                self.assertEqual(used - known, set())

    def test_every_series_has_a_legend_and_queries_have_letters_of_their_own(self) -> None:
        for dashboard in dashboards().values():
            for panel in panels(dashboard):
                with self.subTest(panel=panel["title"]):
                    self.assertTrue(all(target["legendFormat"] for target in panel["targets"]))
                    letters = [target["refId"] for target in panel["targets"]]
                    self.assertEqual(letters, [chr(ord("A") + index) for index in range(len(letters))])

    def test_the_step_of_each_query_is_the_scrape_interval_of_its_job(self) -> None:
        config = read_yaml(PROMETHEUS / "prometheus.yml")
        default = config["global"]["scrape_interval"]
        intervals = {job["job_name"]: job.get("scrape_interval", default) for job in config["scrape_configs"]}
        for name, job in (("run.json", "tidemark-loadgen"), ("server.json", "tidemark-server")):
            steps = {target["interval"] for _, target in targets(dashboards()[name])}
            self.assertEqual(steps, {intervals[job]})
        source = read_yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"][0]
        self.assertEqual(source["jsonData"]["timeInterval"], default)

    def test_the_row_of_latencies_is_repeated_for_each_population(self) -> None:
        repeated = [panel["title"] for panel in dashboards()["run.json"]["panels"] if panel.get("repeat") == "population"]
        self.assertEqual(repeated, ["Response time of $population"])


if __name__ == "__main__":
    unittest.main()
