//! Runs Prometheus' own tool on the rules and on metrics that the tool wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use crate::common::{TestCache, need};

/// How often the metrics are written and the rules evaluated.
const STEP: Duration = Duration::from_secs(5 * 60);

/// The host of all metrics that do not say another.
pub const HOST: &str = "host";

pub fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/hls-cache.rules.yml")
}

/// Whether there is a promtool; said loudly if not.
pub fn is_there() -> bool {
    need::tool("promtool")
}

pub fn promtool(args: &[&str], stdin: &str) -> Output {
    let mut command = assert_cmd::Command::new("promtool");
    command.args(args).write_stdin(stdin).output().expect("promtool")
}

/// Fails unless promtool is content with the rules in `file`.
#[track_caller]
pub fn assert_valid_rules(file: &Path) {
    let checked = Command::new("promtool")
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("promtool");
    assert!(checked.status.success(), "{}", both_streams(&checked));
}

pub fn both_streams(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a textfile said, when it was written, and whose host it was on.
#[derive(Clone)]
pub struct Metrics {
    text: String,
    written: SystemTime,
    instance: String,
}

impl Metrics {
    /// Those that `stats --textfile` writes of the cache now.
    pub fn of(cache: &TestCache) -> Self {
        let file = cache.base().join("hls-cache.prom");
        let options = ["stats", "--textfile", file.to_str().expect("UTF-8")];
        let run = cache.run(options);
        assert!(matches!(run.output.status.code(), Some(0 | 1)), "{run}");
        Self::from_text(fs::read_to_string(&file).expect("metrics"))
    }

    /// Those of another exporter of the host.
    pub fn from_text(text: String) -> Self {
        Self { text, written: SystemTime::now(), instance: HOST.into() }
    }

    /// The same on another host.
    pub fn on(self, instance: &str) -> Self {
        Self { instance: instance.into(), ..self }
    }

    /// The same of a cache at another path.
    pub fn of_root(mut self, root: &Path) -> Self {
        let own = self.text.split("root=\"").nth(1).and_then(|rest| rest.split('"').next());
        let own = format!("root=\"{}\"", own.expect("a root"));
        self.text = self.text.replace(&own, &format!("root=\"{}\"", root.display()));
        self
    }

    /// Each series with its value, at the time `now` of promtool's clock, which begins with 1970.
    fn samples(&self, now: Duration) -> impl Iterator<Item = (String, String)> {
        let samples = self.text.lines().filter(|line| !line.starts_with('#'));
        samples.map(move |line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').expect("labels");
            let mut value = value.to_owned();
            if name.ends_with("_timestamp_seconds") {
                let epoch = self.written.duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
                let since_epoch: i64 = value.parse().expect("a time");
                let shift = epoch.as_secs().cast_signed() - now.as_secs().cast_signed();
                value = (since_epoch - shift).to_string();
            }
            let instance = &self.instance;
            (format!("{name}{{instance=\"{instance}\",job=\"node\",{labels}"), value)
        })
    }
}

fn steps(duration: Duration) -> usize {
    usize::try_from(duration.as_secs() / STEP.as_secs()).expect("a few hours")
}

/// What Prometheus saw over some hours, and what it was to make of it.
#[derive(Default)]
pub struct Timeline {
    steps: usize,
    /// The value at each step; `_` where there was none.
    series: BTreeMap<String, Vec<String>>,
    /// Step, query, and its expected result as promtool's YAML has it.
    expectations: Vec<(usize, String, String)>,
}

impl Timeline {
    /// The metrics stay as they are for so long.
    pub fn hold<'m>(
        &mut self,
        metrics: impl IntoIterator<Item = &'m Metrics>,
        duration: Duration,
    ) -> &mut Self {
        let steps = steps(duration);
        for metrics in metrics {
            for (series, value) in metrics.samples(self.now()) {
                let values = self.series.entry(series).or_default();
                assert!(values.len() <= self.steps, "two values at one time");
                values.resize(self.steps, "_".into());
                values.resize(self.steps + steps, value);
            }
        }
        self.steps += steps;
        self
    }

    /// The last metrics stay as they are for so much longer.
    pub fn hold_on(&mut self, duration: Duration) -> &mut Self {
        self.steps += steps(duration);
        for values in self.series.values_mut() {
            let last = values.last().expect("a value").clone();
            values.resize(self.steps, last);
        }
        self
    }

    /// A sweep, and what `sweep` returns, every hour.
    pub fn hourly(&mut self, hours: usize, mut sweep: impl FnMut() -> Metrics) -> &mut Self {
        for _ in 0..hours {
            self.hold([&sweep()], Duration::from_secs(60 * 60));
        }
        self
    }

    fn now(&self) -> Duration {
        STEP * u32::try_from(self.steps).expect("a few hours")
    }

    /// At the last step exactly these alerts fire, whatever their labels.
    pub fn firing<'a>(&mut self, alerts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let samples = alerts.into_iter().map(|alert| {
            format!("\n          - {{labels: '{{alertname=\"{alert}\"}}', value: 1}}")
        });
        let samples: String = samples.collect();
        self.expect("count by (alertname) (ALERTS{alertstate=\"firing\"})".into(), samples)
    }

    /// At the last step exactly these alerts fire, each with its root and instance.
    pub fn firing_for(&mut self, alerts: &[(&str, &Path, &str)]) -> &mut Self {
        let samples = alerts.iter().map(|(alert, root, instance)| {
            let root = root.display();
            format!(
                "\n          - {{labels: '{{alertname=\"{alert}\",root=\"{root}\",instance=\"{instance}\"}}', value: 1}}"
            )
        });
        let samples: String = samples.collect();
        self.expect(
            "count by (alertname, root, instance) (ALERTS{alertstate=\"firing\"})".into(),
            samples,
        )
    }

    /// At the last step the query has a result.
    pub fn answers(&mut self, query: &str) -> &mut Self {
        let samples = "\n          - {labels: '{}', value: 1}".into();
        self.expect(format!("count({query}) > bool 0"), samples)
    }

    fn expect(&mut self, query: String, samples: String) -> &mut Self {
        let samples = if samples.is_empty() { " []".into() } else { samples };
        self.expectations.push((self.steps.checked_sub(1).expect("a step"), query, samples));
        self
    }

    /// Asks promtool.
    #[track_caller]
    pub fn check(&self) {
        assert!(!self.expectations.is_empty(), "nothing to check");
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let minutes = STEP.as_secs() / 60;
        let mut test = format!(
            "rule_files: [{}]\nevaluation_interval: {minutes}m\ntests:\n  - interval: {minutes}m\n    input_series:\n",
            quoted(rules().to_str().expect("UTF-8"))
        );
        for (series, values) in &self.series {
            let (series, values) = (quoted(series), values.join(" "));
            test += &format!("      - {{series: {series}, values: '{values}'}}\n");
        }
        test += "    promql_expr_test:\n";
        for (step, query, samples) in &self.expectations {
            let minute = *step as u64 * minutes;
            let query = quoted(query);
            test += &format!(
                "      - expr: {query}\n        eval_time: {minute}m\n        exp_samples:{samples}\n"
            );
        }
        let directory = tempfile::tempdir().expect("tempdir");
        let file = directory.path().join("test.yml");
        fs::write(&file, &test).expect("a test");
        let tested = promtool(&["test", "rules", file.to_str().expect("UTF-8")], "");
        assert!(tested.status.success(), "{}\n{test}", both_streams(&tested));
    }
}
