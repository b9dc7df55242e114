//! What a trainer reports of itself (`PROGRESS_REPORT`): JSON as Python's jsonpickle writes a dictionary.

use serde_json::Value;

/// A report of the trainer, and what of it could be read. All of it is the trainer's word.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerReport {
    /// What it is about, as `epoch_end`.
    pub event: Option<String>,
    /// The epoch, counted by the trainer.
    pub epoch: Option<u64>,
    /// The loss in training; finite.
    pub loss: Option<f64>,
    /// The loss in validation; finite.
    pub val_loss: Option<f64>,
    /// All of it: JSON, or a text where it is none.
    pub report: Value,
}

impl TrainerReport {
    /// Reads a report. One that makes no sense has nothing but its text.
    pub fn read(text: &str) -> Self {
        let report = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        let logs = &report["logs"];
        let number = |names: [&str; 3]| {
            let found = names.iter().find_map(|name| {
                let log = logs.get(name).and_then(Value::as_f64);
                log.or_else(|| report.get(name).and_then(Value::as_f64))
            });
            found.filter(|number| number.is_finite())
        };
        TrainerReport {
            event: report["event"].as_str().map(str::to_owned),
            epoch: report["epoch"].as_u64().or(logs["epoch"].as_u64()),
            loss: number(["loss", "train/loss", "train_loss"]),
            val_loss: number(["val_loss", "val/loss", "valid_loss"]),
            report,
        }
    }

    /// Epoch and losses in one line, made of numbers only; `None` where neither is known.
    pub fn line(&self) -> Option<String> {
        let number = |name: &str, value: Option<f64>| {
            value.map(|value| match value.abs() < 1e6 {
                true => format!("{name} {value:.6}"),
                false => format!("{name} {value:.3e}"),
            })
        };
        let parts = [
            self.epoch.map(|epoch| format!("epoch {epoch}")),
            number("loss", self.loss),
            number("val_loss", self.val_loss),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reports of sleap-nn, and of others that say it in fewer words.
    #[test]
    fn epoch_and_losses_are_read() {
        let report = TrainerReport::read(
            r#"{"event": "epoch_end", "what": "centroid", "epoch": 7, "logs": {"train/loss": 0.5, "val/loss": 0.25}}"#,
        );
        assert_eq!(report.event.as_deref(), Some("epoch_end"));
        assert_eq!(
            report.line().as_deref(),
            Some("epoch 7  loss 0.500000  val_loss 0.250000")
        );
        let short = TrainerReport::read(r#"{"event": "batch_end", "loss": 1e300}"#);
        assert_eq!(short.line().as_deref(), Some("loss 1.000e300"));
    }

    /// What is not understood is shown to programs as it is, and to people not at all.
    #[test]
    fn nothing_but_numbers_is_shown() {
        for text in [
            "",
            "\u{1b}[2J",
            "{\"event\": \"\u{1b}]0;x\\u0007\"}",
            r#"{"event": "epoch_end", "epoch": "\u001b[2J", "logs": {"loss": "\u001b[2J"}}"#,
            r#"{"epoch": -1, "logs": [1], "val_loss": {}}"#,
            "[1, 2]",
            "NaN",
        ] {
            assert_eq!(TrainerReport::read(text).line(), None, "{text}");
        }
        assert_eq!(TrainerReport::read("NaN").report, Value::from("NaN"));
    }
}
