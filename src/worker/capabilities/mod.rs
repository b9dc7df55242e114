//! What this machine can do, as a worker announces it (sleap-rtc wire protocol, 8).

mod fit;
mod nvml;
mod reading;
mod refresh;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

pub use self::fit::memory_shortfall;
pub use self::nvml::Nvml;
pub use self::reading::{GpuReading, GpuSource, MAX_GPUS, Reading};
pub use self::refresh::Refresh;
pub(crate) use self::refresh::{Told, follow};
use crate::wire::WorkerInfo;

/// Model types that a worker announces.
pub const SUPPORTED_MODELS: [&str; 3] = ["base", "centroid", "topdown"];
/// Job types that a worker announces.
pub const SUPPORTED_JOB_TYPES: [&str; 2] = ["training", "inference"];

/// The GPUs of a machine, as they were read last, and the machine they are in. Clones are the same machine.
#[derive(Clone)]
pub struct Capabilities {
    hostname: String,
    offered_mb: Option<u64>,
    machine: Arc<Machine>,
}

struct Machine {
    source: Mutex<Box<dyn GpuSource>>,
    reading: Mutex<Reading>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A reading is replaced whole, and a source that panicked is asked anew.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capabilities {
    /// Looks at the GPUs by NVIDIA's own library, loaded at run time. Without library, driver or GPU, the figures say
    /// so, and that is no error. Takes some tens of milliseconds with a GPU; blocks.
    pub fn detect() -> Self {
        let hostname = nix::unistd::gethostname().map_or_else(
            |_| "unknown".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        Self::new(hostname, Box::new(Nvml::default()))
    }

    /// A machine whose GPUs are read from `source`, at once and at each [`refresh`](Self::refresh). Blocks as it does.
    pub fn new(hostname: String, mut source: Box<dyn GpuSource>) -> Self {
        let reading = source.read().bounded();
        Capabilities {
            hostname,
            offered_mb: None,
            machine: Arc::new(Machine {
                source: Mutex::new(source),
                reading: Mutex::new(reading),
            }),
        }
    }

    /// Offers this much GPU memory, in MiB, whatever the first GPU has.
    pub fn offer(mut self, memory_mb: u64) -> Self {
        self.offered_mb = Some(memory_mb);
        self
    }

    /// Reads the GPUs again; what came out comes back. Blocks.
    pub fn refresh(&self) -> Reading {
        let reading = lock(&self.machine.source).read().bounded();
        *lock(&self.machine.reading) = reading.clone();
        reading
    }

    /// The GPUs as they were read last.
    pub fn reading(&self) -> Reading {
        lock(&self.machine.reading).clone()
    }

    /// The machine's name.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Memory that is offered, in MiB: of the first GPU, unless said otherwise; 0 without one.
    pub fn gpu_memory_mb(&self) -> u64 {
        let of_first = || {
            lock(&self.machine.reading)
                .gpus
                .first()
                .map_or(0, |gpu| gpu.memory_total_mb)
        };
        self.offered_mb.unwrap_or_else(of_first)
    }

    /// What the first GPU is doing, as it was read last.
    pub fn worker_info(&self) -> WorkerInfo {
        let reading = lock(&self.machine.reading);
        let first = reading.gpus.first();
        WorkerInfo {
            // Some virtual GPUs do not tell.
            gpu_utilization: first.and_then(|gpu| gpu.utilization).unwrap_or(0.0),
            available_memory_mb: first.map_or(0, |gpu| gpu.memory_free_mb),
        }
    }

    /// The properties of the registration, save the `status`, which has an owner of its own.
    pub fn properties(&self) -> Map<String, Value> {
        let mut properties = object(json!({
            "sleap_version": "unknown",
            "hostname": self.hostname,
            "max_concurrent_jobs": 1,
            "supported_models": SUPPORTED_MODELS,
            "supported_job_types": SUPPORTED_JOB_TYPES,
            "loaner": env!("CARGO_PKG_VERSION"),
        }));
        properties.extend(self.gpu_properties(&self.reading()));
        properties
    }

    /// The properties that come from a reading: those of the first GPU, under the names that all peers know, and all
    /// GPUs in full. A figure that is not known is null, so that an update never leaves an old one standing.
    pub fn gpu_properties(&self, reading: &Reading) -> Map<String, Value> {
        let first = reading.gpus.first();
        let of_first = first.map_or(0, |gpu| gpu.memory_total_mb);
        object(json!({
            "gpu_memory_mb": self.offered_mb.unwrap_or(of_first),
            "gpu_model": first.map_or("CPU", |gpu| gpu.model.as_str()),
            "cuda_version": first.and(reading.cuda_version.as_deref()).unwrap_or("N/A"),
            "driver_version": reading.driver_version,
            "gpus": reading.gpus,
        }))
    }

    /// Why this machine cannot take a job with these requirements, in the order in which they are checked (3.2);
    /// `None` if it can. Memory in MiB; a type that is not given is no requirement.
    pub fn unfit(
        &self,
        min_gpu_memory_mb: u64,
        model_type: Option<&str>,
        job_type: Option<&str>,
    ) -> Option<String> {
        fit::unfit(
            self.gpu_memory_mb(),
            min_gpu_memory_mb,
            model_type,
            job_type,
        )
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
