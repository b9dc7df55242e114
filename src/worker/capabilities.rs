//! What this machine can do, as a worker announces it (sleap-rtc wire protocol, 8).

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde_json::{Map, Value, json};

/// Model types that a worker announces.
pub const SUPPORTED_MODELS: [&str; 3] = ["base", "centroid", "topdown"];
/// Job types that a worker announces.
pub const SUPPORTED_JOB_TYPES: [&str; 2] = ["training", "inference"];

/// The first GPU, and the machine it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Capabilities {
    /// Memory of the GPU in MiB, 0 without one.
    pub gpu_memory_mb: u64,
    /// Its name, `"CPU"` without one.
    pub gpu_model: String,
    /// The CUDA version of the driver, `"12.8"`; `"N/A"` without one.
    pub cuda_version: String,
    /// The machine's name.
    pub hostname: String,
    /// How busy the GPU is right now, from 0.0 to 1.0.
    pub gpu_utilization: f64,
    /// Memory of the GPU that is free right now, in MiB.
    pub available_memory_mb: u64,
}

impl Capabilities {
    /// Looks at the first GPU by NVIDIA's own library, loaded at run time. Without library, driver or GPU, the figures
    /// say so, and that is no error. Takes some tens of milliseconds with a GPU; blocks.
    pub fn detect() -> Self {
        let hostname = nix::unistd::gethostname().map_or_else(
            |_| "unknown".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let none = Self {
            gpu_memory_mb: 0,
            gpu_model: "CPU".to_owned(),
            cuda_version: "N/A".to_owned(),
            hostname,
            gpu_utilization: 0.0,
            available_memory_mb: 0,
        };
        none.clone().with_gpu().unwrap_or_else(|error| {
            tracing::debug!(%error, "no GPU");
            none
        })
    }

    fn with_gpu(mut self) -> Result<Self, NvmlError> {
        let nvml = Nvml::init()?;
        let gpu = nvml.device_by_index(0)?;
        let memory = gpu.memory_info()?;
        self.gpu_memory_mb = memory.total >> 20;
        self.available_memory_mb = memory.free >> 20;
        self.gpu_model = gpu.name()?;
        if let Ok(version) = nvml.sys_cuda_driver_version() {
            let (major, minor) = (
                nvml_wrapper::cuda_driver_version_major(version),
                nvml_wrapper::cuda_driver_version_minor(version),
            );
            self.cuda_version = format!("{major}.{minor}");
        }
        // Some virtual GPUs do not tell.
        self.gpu_utilization = gpu
            .utilization_rates()
            .map_or(0.0, |rates| f64::from(rates.gpu.min(100)) / 100.0);
        Ok(self)
    }

    /// The properties of the registration, save the `status`, which has an owner of its own.
    pub fn properties(&self) -> Map<String, Value> {
        let properties = json!({
            "gpu_memory_mb": self.gpu_memory_mb,
            "gpu_model": self.gpu_model,
            "sleap_version": "unknown",
            "cuda_version": self.cuda_version,
            "hostname": self.hostname,
            "max_concurrent_jobs": 1,
            "supported_models": SUPPORTED_MODELS,
            "supported_job_types": SUPPORTED_JOB_TYPES,
            "loaner": env!("CARGO_PKG_VERSION"),
        });
        match properties {
            Value::Object(properties) => properties,
            _ => Map::new(),
        }
    }

    /// Why this machine cannot take a job with these requirements, in the order in which they are checked (3.2);
    /// `None` if it can. Memory in MiB; a type that is not given is no requirement.
    pub fn unfit(
        &self,
        min_gpu_memory_mb: u64,
        model_type: Option<&str>,
        job_type: Option<&str>,
    ) -> Option<String> {
        if self.gpu_memory_mb < min_gpu_memory_mb {
            let has = self.gpu_memory_mb;
            return Some(format!(
                "needs {min_gpu_memory_mb} MB of GPU memory, has {has} MB"
            ));
        }
        let unknown = |what, given: Option<&str>, known: &[&str]| {
            let given = given.filter(|given| !known.contains(given))?;
            let shown: String = given
                .chars()
                .take(64)
                .flat_map(char::escape_debug)
                .collect();
            Some(format!(
                "needs {what} \"{shown}\", has {}",
                known.join(", ")
            ))
        };
        unknown("model type", model_type, &SUPPORTED_MODELS)
            .or_else(|| unknown("job type", job_type, &SUPPORTED_JOB_TYPES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a5000() -> Capabilities {
        Capabilities {
            gpu_memory_mb: 16384,
            gpu_model: "NVIDIA RTX A5000".to_owned(),
            cuda_version: "12.8".to_owned(),
            hostname: "gpu-01".to_owned(),
            gpu_utilization: 0.0,
            available_memory_mb: 16000,
        }
    }

    #[test]
    fn this_machine_has_a_gpu_or_says_that_it_has_none() {
        let here = Capabilities::detect();
        assert_eq!(here.gpu_memory_mb == 0, here.gpu_model == "CPU");
        assert!(here.available_memory_mb <= here.gpu_memory_mb);
        assert!((0.0..=1.0).contains(&here.gpu_utilization));
        assert!(!here.hostname.is_empty());
        if here.gpu_memory_mb == 0 {
            assert_eq!(here.cuda_version, "N/A");
        }
    }

    #[test]
    fn the_properties_have_the_names_of_the_protocol() {
        let properties = Value::Object(a5000().properties());
        let expected = json!({"gpu_memory_mb": 16384, "gpu_model": "NVIDIA RTX A5000", "sleap_version": "unknown",
            "cuda_version": "12.8", "hostname": "gpu-01", "max_concurrent_jobs": 1,
            "supported_models": ["base", "centroid", "topdown"], "supported_job_types": ["training", "inference"],
            "loaner": env!("CARGO_PKG_VERSION")});
        assert_eq!(properties, expected);
    }

    #[test]
    fn a_refusal_names_the_figure() {
        let here = a5000();
        assert_eq!(here.unfit(0, None, None), None);
        assert_eq!(here.unfit(16384, Some("centroid"), Some("training")), None);
        let reason = |memory, model, job| here.unfit(memory, model, job).unwrap_or_default();
        assert_eq!(
            reason(24000, Some("?"), None),
            "needs 24000 MB of GPU memory, has 16384 MB"
        );
        assert_eq!(
            reason(0, Some("x\n"), None),
            "needs model type \"x\\n\", has base, centroid, topdown"
        );
        assert_eq!(
            reason(0, None, Some("mining")),
            "needs job type \"mining\", has training, inference"
        );
    }
}
