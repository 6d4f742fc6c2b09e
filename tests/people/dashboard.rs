//! The Grafana dashboard of the package: it is well-formed, and shows metrics that the tool writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Age, Size, TestCache};
use crate::promtool::{self, Metrics, Timeline};

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/grafana/hls-cache.json");
    fs::read_to_string(path).expect("the dashboard")
}

fn dashboard() -> Value {
    serde_json::from_str(&text()).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The queries of all panels, and the titles of their panels.
fn queries(dashboard: &Value) -> Vec<(&str, &str)> {
    let panels = list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row");
    let targets = panels.flat_map(|panel| {
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty(), "{panel}");
        targets.iter().map(|target| (string(&panel["title"]), string(&target["expr"])))
    });
    targets.collect()
}

/// A cache in which the tool knows everything that it can tell: after a play, a miss, a sweep that evicted, and a
/// removal of a damaged entry.
fn eventful() -> TestCache {
    let cache = TestCache::new()
        .real("damaged")
        .emptied("damaged", "video/seg-1.m4s")
        .sealed("old", 1.mib(), 9.days())
        .sealed("new", 1.mib(), 1.days());
    let log = cache.event("hit", "new", 1.hours()) + &cache.event("miss", "gone", 1.hours());
    let cache = cache.events(&log);
    cache.run(["verify", "--fix"]).code(3).removed(["damaged"]);
    let sweep = ["sweep", "--max-size", "1M", "--min-budget", "0"];
    cache.run(sweep).success().removed(["old"]).kept(["new"]);
    cache
}

/// The words that begin as this tool's metrics do.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("hls_cache_")).collect()
}

#[test]
fn every_metric_in_the_dashboard_and_the_rules_is_one_that_the_tool_writes() {
    let written = eventful().run(["stats", "--prometheus"]).success().stdout();
    let types = written.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let written: BTreeSet<&str> =
        types.map(|line| line.split(' ').next().expect("a name")).collect();
    let rules = fs::read_to_string(promtool::rules()).expect("the rules");
    for (file, text) in [("the dashboard", text()), ("the rules", rules)] {
        let named = metrics_in(&text);
        let unknown: Vec<&&str> = named.difference(&written).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which the tool does not write");
        assert!(!named.is_empty(), "{file} names no metric");
    }
}

#[test]
fn every_panel_has_an_id_and_a_place_of_its_own() {
    let dashboard = dashboard();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"]) {
        let title = string(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().expect(title)), "{title}: the id of another");
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect(title));
        assert!(x + width <= 24, "{title} is wider than the grid");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{title} lies on another panel");
        }
    }
}

/// Whoever imports it chooses the data source; and every query is limited to the hosts and caches that were chosen.
#[test]
fn every_query_goes_by_the_variables() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"]["list"]).iter();
    let variables: Vec<(&str, &str)> =
        variables.map(|variable| (string(&variable["name"]), string(&variable["type"]))).collect();
    assert_eq!(variables, [("datasource", "datasource"), ("instance", "query"), ("root", "query")]);
    let source = serde_json::json!({ "type": "prometheus", "uid": "${datasource}" });
    for panel in list(&dashboard["panels"]).iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"], source, "{}", panel["title"]);
        for target in list(&panel["targets"]) {
            assert_eq!(target["datasource"], source, "{}", panel["title"]);
        }
    }
    for (panel, query) in queries(&dashboard) {
        for variable in ["instance=~\"$instance\"", "root=~\"$root"] {
            let selectors = query.matches('{').count();
            assert_eq!(query.matches(variable).count(), selectors, "{panel}: {query}");
        }
    }
}

/// Each is evaluated by Prometheus' engine on metrics that the tool wrote.
#[test]
fn every_query_has_an_answer() {
    if !promtool::is_there() {
        return;
    }
    let metrics = Metrics::of(&eventful());
    let mut timeline = Timeline::default();
    timeline.hold([&metrics], 4.hours());
    let dashboard = dashboard();
    for (_, query) in queries(&dashboard) {
        timeline.answers(&query.replace("$instance", ".*").replace("$root", ".*"));
    }
    timeline.check();
}
