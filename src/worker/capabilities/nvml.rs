//! GPUs by NVIDIA's management library (NVML).

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::error::NvmlError;

use super::reading::{GpuReading, GpuSource, MAX_GPUS, Reading};

/// Reads NVIDIA's GPUs. The library is loaded when it is first needed, and kept: a reading then costs some milliseconds.
#[derive(Default)]
pub struct Nvml {
    library: Option<nvml_wrapper::Nvml>,
}

impl GpuSource for Nvml {
    fn read(&mut self) -> Reading {
        self.try_read().unwrap_or_else(|error| {
            tracing::debug!(%error, "no GPU");
            // A driver that was replaced needs its library loaded anew.
            self.library = None;
            Reading::default()
        })
    }
}

impl Nvml {
    fn try_read(&mut self) -> Result<Reading, NvmlError> {
        let nvml = match self.library.take() {
            Some(nvml) => nvml,
            None => nvml_wrapper::Nvml::init()?,
        };
        let count = usize::try_from(nvml.device_count()?).unwrap_or(MAX_GPUS);
        let mut gpus = Vec::new();
        for index in (0..).take(count.min(MAX_GPUS)) {
            match nvml.device_by_index(index).and_then(|gpu| read(&gpu)) {
                Ok(gpu) => gpus.push(gpu),
                // One that fell off the bus takes no other with it.
                Err(error) => tracing::debug!(index, %error, "a GPU cannot be read"),
            }
        }
        let cuda = nvml.sys_cuda_driver_version().ok().map(|version| {
            let (major, minor) = (
                nvml_wrapper::cuda_driver_version_major(version),
                nvml_wrapper::cuda_driver_version_minor(version),
            );
            format!("{major}.{minor}")
        });
        let reading = Reading {
            driver_version: nvml.sys_driver_version().ok(),
            cuda_version: cuda,
            gpus,
        };
        self.library = Some(nvml);
        Ok(reading)
    }
}

fn read(gpu: &Device<'_>) -> Result<GpuReading, NvmlError> {
    let memory = gpu.memory_info()?;
    // Some virtual GPUs do not tell all of this.
    let processes = [
        gpu.running_compute_processes_count().ok(),
        gpu.running_graphics_processes_count().ok(),
    ];
    Ok(GpuReading {
        model: gpu.name()?,
        memory_total_mb: memory.total >> 20,
        memory_free_mb: memory.free >> 20,
        utilization: gpu
            .utilization_rates()
            .ok()
            .map(|rates| f64::from(rates.gpu.min(100)) / 100.0),
        temperature_c: gpu.temperature(TemperatureSensor::Gpu).ok(),
        processes: processes.into_iter().flatten().reduce(u32::saturating_add),
    })
}
