//! What came out, as a table and as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    AtLeast(f64),
    AtMost(f64),
    /// For comparison only.
    Nothing,
}

/// One line.
#[derive(Debug)]
pub struct Figure {
    what: String,
    unit: &'static str,
    reach: Reach,
    values: Vec<f64>,
    /// Of the values, this counts; `None` when there are none.
    got: Option<f64>,
}

impl Figure {
    /// A figure whose median counts.
    pub fn median(what: &str, unit: &'static str, reach: Reach, values: Vec<f64>) -> Self {
        let got = median(&values);
        Figure {
            what: what.to_owned(),
            unit,
            reach,
            values,
            got,
        }
    }

    /// A figure whose largest value counts.
    pub fn most(what: &str, unit: &'static str, reach: Reach, values: Vec<f64>) -> Self {
        let got = values.iter().copied().reduce(f64::max);
        Figure {
            what: what.to_owned(),
            unit,
            reach,
            values,
            got,
        }
    }

    /// A figure that this share of the values does not exceed, from 0 to 1.
    pub fn share(
        what: &str,
        share: f64,
        unit: &'static str,
        reach: Reach,
        values: Vec<f64>,
    ) -> Self {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let last = (share * sorted.len() as f64).ceil() as usize;
        let got = sorted.get(last.saturating_sub(1)).copied();
        Figure {
            what: what.to_owned(),
            unit,
            reach,
            values,
            got,
        }
    }

    fn verdict(&self) -> Option<&'static str> {
        let met = match (self.reach, self.got) {
            (Reach::Nothing, _) => return None,
            (_, None) => return Some("not measured"),
            (Reach::AtLeast(limit), Some(got)) => got >= limit,
            (Reach::AtMost(limit), Some(got)) => got <= limit,
        };
        Some(if met { "ok" } else { "MISSED" })
    }

    fn limit(&self) -> String {
        match self.reach {
            Reach::AtLeast(limit) => format!(">= {} {}", short(limit), self.unit),
            Reach::AtMost(limit) => format!("<= {} {}", short(limit), self.unit),
            Reach::Nothing => String::new(),
        }
    }

    fn spread(&self) -> String {
        let least = self.values.iter().copied().reduce(f64::min);
        let most = self.values.iter().copied().reduce(f64::max);
        match (least, most) {
            (Some(least), Some(most)) if self.values.len() > 1 => {
                format!(
                    "{} to {}, {} times",
                    short(least),
                    short(most),
                    self.values.len()
                )
            }
            _ => String::new(),
        }
    }

    fn json(&self) -> Value {
        let (at_least, at_most) = match self.reach {
            Reach::AtLeast(limit) => (Some(limit), None),
            Reach::AtMost(limit) => (None, Some(limit)),
            Reach::Nothing => (None, None),
        };
        json!({
            "figure": self.what.trim(),
            "unit": self.unit,
            "got": self.got,
            "at_least": at_least,
            "at_most": at_most,
            "verdict": self.verdict(),
            "values": self.values,
        })
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    Some(if sorted.len().is_multiple_of(2) {
        (sorted[half - 1] + upper) / 2.0
    } else {
        upper
    })
}

/// About three digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Where it was measured.
#[derive(Debug)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    load_before: f64,
    load_after: f64,
}

impl Machine {
    /// This one.
    pub fn look() -> Self {
        Machine {
            processor: proc_field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib("MemTotal"),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            load_before: load(),
            load_after: 0.0,
        }
    }
}

/// A field of `/proc/meminfo`, in GiB; 0 when it is not there.
pub fn memory_gib(name: &str) -> f64 {
    let kib = proc_field("/proc/meminfo", name)
        .and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / f64::from(1 << 20)
}

fn proc_field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// How many processes have wanted to run lately, over the last minute.
fn load() -> f64 {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or_default()
}

/// Waits until nothing else computes: what the system still does for the files of the last measurement, and others.
/// Gives up after a while; then there is something to remark.
pub async fn quiet() -> Option<String> {
    const LOOK: Duration = Duration::from_millis(500);
    const LOOKS: u32 = 20;
    let mut before = processor_time();
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK).await;
        let now = processor_time();
        let (worked, rested) = (now.0 - before.0, now.1 - before.1);
        if worked < (worked + rested) * 0.1 {
            return None;
        }
        before = now;
    }
    Some(
        "something else was computing meanwhile; measure again when the machine is quiet"
            .to_owned(),
    )
}

/// What all processors together have spent so far, busy and idle.
fn processor_time() -> (f64, f64) {
    let line = proc_field("/proc/stat", "cpu ").unwrap_or_default();
    let times: Vec<f64> = line
        .split_whitespace()
        .filter_map(|time| time.parse().ok())
        .collect();
    // User, nice, system, idle, waiting for disks, interrupts, taken by the hypervisor.
    let idle: f64 = times.iter().skip(3).take(2).sum();
    (times.iter().take(8).sum::<f64>() - idle, idle)
}

/// All of it.
#[derive(Debug)]
pub struct Report {
    machine: Machine,
    pub figures: Vec<Figure>,
    remarks: Vec<String>,
    /// What must not be, such as a message that was lost.
    pub failures: Vec<String>,
}

impl Report {
    /// Nothing yet.
    pub fn new(machine: Machine) -> Self {
        Report {
            machine,
            figures: Vec::new(),
            remarks: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds something to be known; once.
    pub fn remark(&mut self, remark: impl Into<Option<String>>) {
        if let Some(remark) = remark
            .into()
            .filter(|remark| !self.remarks.contains(remark))
        {
            self.remarks.push(remark);
        }
    }

    /// Everything is measured.
    pub fn ended(&mut self) {
        self.machine.load_after = load();
        if cfg!(debug_assertions) {
            self.remark("this is a debug build, and says nothing".to_owned());
        }
    }

    pub fn json(&self) -> Value {
        let machine = &self.machine;
        json!({
            "loaner": env!("CARGO_PKG_VERSION"),
            "machine": {
                "processor": machine.processor,
                "cores": machine.cores,
                "memory_gib": machine.memory_gib,
                "kernel": machine.kernel,
                "load_before": machine.load_before,
                "load_after": machine.load_after,
            },
            "figures": self.figures.iter().map(Figure::json).collect::<Vec<_>>(),
            "remarks": self.remarks,
            "failures": self.failures,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine {
            processor,
            cores,
            memory_gib,
            kernel,
            load_before,
            load_after,
        } = &self.machine;
        writeln!(
            f,
            "\n{processor}, {cores} cores, {memory_gib:.1} GiB, Linux {kernel}, load {load_before} before and {load_after} after"
        )?;
        writeln!(
            f,
            "MB = 10^6 bytes, MiB = 2^20 bytes; medians, and the largest value for memory\n"
        )?;
        writeln!(
            f,
            "{:<42} {:>12}   {:<14} {:<12} values",
            "figure", "got", "reach", ""
        )?;
        for figure in &self.figures {
            let got = figure.got.map_or("-".to_owned(), |got| {
                format!("{} {}", short(got), figure.unit)
            });
            let line = format!(
                "{:<42} {got:>12}   {:<14} {:<12} {}",
                figure.what,
                figure.limit(),
                figure.verdict().unwrap_or_default(),
                figure.spread(),
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let count = |verdict| {
            let figures = self.figures.iter();
            figures
                .filter(|figure| figure.verdict() == Some(verdict))
                .count()
        };
        let (met, missed, unknown) = (count("ok"), count("MISSED"), count("not measured"));
        writeln!(
            f,
            "\n{met} reached, {missed} missed, {unknown} not measured"
        )?;
        for remark in &self.remarks {
            writeln!(f, "Note: {remark}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}
