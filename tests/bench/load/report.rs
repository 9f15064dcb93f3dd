//! The table and the JSON.

use crankcase_tests::load::Stats;
use serde_json::{Value, json};

/// Collects rows and claims, and prints them as they come.
pub struct Report {
    short: bool,
    scenarios: Vec<Value>,
}

impl Report {
    pub fn new(short: bool) -> Self {
        Self { short, scenarios: Vec::new() }
    }

    /// What follows belongs to this scenario.
    pub fn begin(&mut self, name: &str, what: &str) {
        println!("\n{name}: {what}");
        println!(
            "{:<34} {:>6} {:>6} {:>7} {:>5}  {:>9} {:>9} {:>9} {:>9} {:>9}  {:>7}",
            "", "sent", "right", "refused", "wrong", "mean", "p50", "p95", "p99", "max", "right/s"
        );
        self.scenarios.push(json!({"name": name, "rows": [], "claims": []}));
    }

    /// A row of the table.
    pub fn row(&mut self, target: &str, label: &str, stats: &Stats) {
        let percentile = |percent| format!("{:.1}", stats.percentile(percent));
        println!(
            "{:<34} {:>6} {:>6} {:>7} {:>5}  {:>9.1} {:>9} {:>9} {:>9} {:>9}  {:>7.1}",
            format!("{target}, {label}"),
            stats.sent,
            stats.right,
            stats.refusals(),
            stats.wrongs,
            stats.mean(),
            percentile(50.0),
            percentile(95.0),
            percentile(99.0),
            percentile(100.0),
            stats.goodput()
        );
        for wrong in &stats.wrong {
            println!("    wrong: {}", wrong.chars().take(300).collect::<String>());
        }
        let mut row = stats.json();
        row["target"] = json!(target);
        row["label"] = json!(label);
        self.push("rows", row);
    }

    /// A figure and its bound.
    pub fn claim(&mut self, what: &str, value: f64, bound: &str, holds: bool) {
        let value = (value * 1000.0).round() / 1000.0;
        println!("  {} {what}: {value} ({bound})", if holds { "holds " } else { "MISSED" });
        self.push("claims", json!({"what": what, "value": value, "bound": bound, "holds": holds}));
    }

    /// A figure without a bound.
    pub fn note(&mut self, what: &str, value: f64) {
        let value = (value * 1000.0).round() / 1000.0;
        println!("         {what}: {value}");
        self.push("notes", json!({"what": what, "value": value}));
    }

    fn push(&mut self, list: &str, value: Value) {
        if let Some(scenario) = self.scenarios.last_mut() {
            if scenario[list].is_null() {
                scenario[list] = json!([]);
            }
            if let Some(list) = scenario[list].as_array_mut() {
                list.push(value);
            }
        }
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        json!({
            "bench": "load", "short": self.short, "cores": cores, "kernel": kernel.trim(), "scenarios": self.scenarios,
        })
    }
}
