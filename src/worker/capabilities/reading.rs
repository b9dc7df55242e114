//! What was read of the GPUs at one moment.

use serde::{Deserialize, Serialize};

/// The most GPUs of one machine that are told of.
pub const MAX_GPUS: usize = 16;
/// The longest model name or version that is told, in characters.
const MAX_NAME: usize = 96;

/// A share of the memory, or a number of points of the utilisation or degrees, beyond which a change is worth telling.
const MEMORY: f64 = 0.05;
const UTILIZATION: f64 = 0.10;
const TEMPERATURE: u32 = 5;

/// One GPU. What a driver does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuReading {
    /// Its name, such as `NVIDIA H200`.
    pub model: String,
    /// Its memory, in MiB.
    pub memory_total_mb: u64,
    /// Memory that is free, in MiB; at most the total.
    pub memory_free_mb: u64,
    /// How busy it is, from 0.0 to 1.0.
    pub utilization: Option<f64>,
    /// In degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Processes that use it, for computing or for pictures.
    pub processes: Option<u32>,
}

/// All GPUs of a machine, and their driver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The driver's version, such as `570.86.15`.
    pub driver_version: Option<String>,
    /// The newest CUDA version that the driver takes, such as `12.8`.
    pub cuda_version: Option<String>,
    /// The GPUs, in the driver's order; none without library, driver or GPU.
    pub gpus: Vec<GpuReading>,
}

/// Where readings come from.
pub trait GpuSource: Send {
    /// Reads all GPUs. May block, for some milliseconds; a source that fails has no GPU for the moment.
    fn read(&mut self) -> Reading;
}

impl Reading {
    /// The same with no more, and nothing longer or larger, than is told.
    pub(super) fn bounded(mut self) -> Self {
        let cut = |text: String| text.chars().take(MAX_NAME).collect::<String>();
        self.driver_version = self.driver_version.map(cut);
        self.cuda_version = self.cuda_version.map(cut);
        self.gpus.truncate(MAX_GPUS);
        for gpu in &mut self.gpus {
            gpu.model = cut(std::mem::take(&mut gpu.model));
            gpu.memory_free_mb = gpu.memory_free_mb.min(gpu.memory_total_mb);
            gpu.utilization = gpu.utilization.map(|busy| busy.clamp(0.0, 1.0));
        }
        self
    }

    /// Whether somebody who knows `told` should hear of this: other GPUs or versions, free memory that differs by more
    /// than 5 % of the whole, utilisation by more than 10 points, temperature by more than 5 degrees. A number of
    /// processes alone is not worth a message; it comes along with the next.
    pub fn worth_telling(&self, told: &Reading) -> bool {
        self.driver_version != told.driver_version
            || self.cuda_version != told.cuda_version
            || self.gpus.len() != told.gpus.len()
            || self
                .gpus
                .iter()
                .zip(&told.gpus)
                .any(|(now, before)| now.differs(before))
    }
}

impl GpuReading {
    fn differs(&self, told: &GpuReading) -> bool {
        let memory = self.memory_free_mb.abs_diff(told.memory_free_mb) as f64;
        self.model != told.model
            || self.memory_total_mb != told.memory_total_mb
            || memory > MEMORY * self.memory_total_mb as f64
            || moved(self.utilization, told.utilization, |now, before| {
                // Whole percents, as fractions, are not exact.
                (now - before).abs() > UTILIZATION + 1e-9
            })
            || moved(self.temperature_c, told.temperature_c, |now, before| {
                now.abs_diff(before) > TEMPERATURE
            })
    }
}

fn moved<T>(now: Option<T>, before: Option<T>, far: impl Fn(T, T) -> bool) -> bool {
    match (now, before) {
        (Some(now), Some(before)) => far(now, before),
        (None, None) => false,
        _ => true,
    }
}
