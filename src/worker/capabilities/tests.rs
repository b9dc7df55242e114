#![allow(clippy::unwrap_used)]
use super::*;

/// A source that always says the same.
struct Fixed(Reading);

impl GpuSource for Fixed {
    fn read(&mut self) -> Reading {
        self.0.clone()
    }
}

fn machine(reading: Reading) -> Capabilities {
    Capabilities::new("gpu-01".to_owned(), Box::new(Fixed(reading)))
}

fn a5000() -> Capabilities {
    machine(Reading {
        driver_version: Some("570.86.15".to_owned()),
        cuda_version: Some("12.8".to_owned()),
        gpus: vec![GpuReading {
            model: "NVIDIA RTX A5000".to_owned(),
            memory_total_mb: 16384,
            memory_free_mb: 16000,
            utilization: Some(0.25),
            temperature_c: Some(40),
            processes: Some(1),
        }],
    })
}

/// Two H200, made up by hand.
fn h200() -> Reading {
    let text = include_str!("../../../tests/fixtures/nvml-h200-made-up.json");
    let mut file: Value = serde_json::from_str(text).unwrap();
    assert_eq!(file["real"], false, "the file says what it is");
    serde_json::from_value(file["reading"].take()).unwrap()
}

#[test]
fn this_machine_has_a_gpu_or_says_that_it_has_none() {
    let here = Capabilities::detect();
    let properties = here.properties();
    assert_eq!(here.gpu_memory_mb() == 0, properties["gpu_model"] == "CPU");
    let info = here.worker_info();
    assert!(info.available_memory_mb <= here.gpu_memory_mb());
    assert!((0.0..=1.0).contains(&info.gpu_utilization));
    assert!(!here.hostname().is_empty());
    if here.gpu_memory_mb() == 0 {
        assert_eq!(properties["cuda_version"], "N/A");
        assert_eq!(properties["gpus"], json!([]));
    }
}

#[test]
fn the_properties_have_the_names_of_the_protocol() {
    let properties = Value::Object(a5000().properties());
    let expected = json!({"gpu_memory_mb": 16384, "gpu_model": "NVIDIA RTX A5000", "sleap_version": "unknown",
        "cuda_version": "12.8", "hostname": "gpu-01", "max_concurrent_jobs": 1,
        "supported_models": ["base", "centroid", "topdown"], "supported_job_types": ["training", "inference"],
        "loaner": env!("CARGO_PKG_VERSION"), "loaner_peer": [1, 2], "driver_version": "570.86.15",
        "gpus": [{"model": "NVIDIA RTX A5000", "memory_total_mb": 16384, "memory_free_mb": 16000,
            "utilization": 0.25, "temperature_c": 40, "processes": 1}]});
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

/// Who asks in whole GB is answered in GB; figures that would look the same are exact.
#[test]
fn memory_is_told_in_the_unit_of_whoever_asks() {
    for (needs, has, said) in [
        (24576, Some(16384), "needs 24 GB of GPU memory, has 16 GB"),
        (
            24576,
            Some(24564),
            "needs 24576 MB of GPU memory, has 24564 MB",
        ),
        (
            145_408,
            Some(143_771),
            "needs 142 GB of GPU memory, has 140.4 GB",
        ),
        (8192, Some(0), "needs 8 GB of GPU memory, has 0 GB"),
        (
            8192,
            None,
            "needs 8 GB of GPU memory, does not say how much it has",
        ),
        (
            u64::MAX,
            Some(1),
            "needs 18446744073709551615 MB of GPU memory, has 1 MB",
        ),
    ] {
        assert_eq!(memory_shortfall(needs, has).as_deref(), Some(said));
    }
    assert_eq!(memory_shortfall(0, None), None);
    assert_eq!(memory_shortfall(1024, Some(1024)), None);
}

/// Peers that know one GPU see the first; others see all of them.
#[test]
fn all_gpus_are_told_and_the_first_under_the_inherited_names() {
    let here = machine(h200());
    let properties = here.properties();
    assert_eq!(properties["gpu_model"], "NVIDIA H200");
    assert_eq!(properties["gpu_memory_mb"], 143_771);
    assert_eq!(properties["cuda_version"], "12.8");
    assert_eq!(properties["gpus"][1]["memory_free_mb"], 21350);
    assert_eq!(properties["gpus"][1]["processes"], 2);
    assert_eq!(here.worker_info().available_memory_mb, 143_106);
    let offered = here.offer(8000);
    assert_eq!(offered.properties()["gpu_memory_mb"], 8000);
    assert_eq!(offered.unfit(8000, None, None), None);
    // What is told fits what a hub keeps of a peer, however many GPUs there are.
    let mut many = h200();
    many.gpus = vec![many.gpus[0].clone(); 500];
    many.gpus[0].model = "x".repeat(10_000);
    let told = Value::Object(machine(many).properties()).to_string();
    assert!(told.len() < 8 * 1024, "{}", told.len());
}

/// A machine without the library has no GPU, and every property all the same.
#[test]
fn without_a_library_there_is_no_gpu() {
    let here = machine(Reading::default());
    let properties = here.properties();
    for (name, value) in [
        ("gpu_memory_mb", json!(0)),
        ("gpu_model", json!("CPU")),
        ("cuda_version", json!("N/A")),
        ("driver_version", Value::Null),
        ("gpus", json!([])),
    ] {
        assert_eq!(properties[name], value, "{name}");
    }
    assert_eq!(here.worker_info(), WorkerInfo::default());
}

/// A change is worth telling beyond 5 % of the memory, 10 points of utilisation, 5 degrees; not at them.
#[test]
fn small_changes_are_not_worth_telling() {
    let told = h200();
    let changed = |change: &dyn Fn(&mut GpuReading)| {
        let mut now = told.clone();
        change(&mut now.gpus[1]);
        now.worth_telling(&told)
    };
    assert!(!told.worth_telling(&told));
    assert!(!changed(&|gpu| gpu.memory_free_mb += 7188));
    assert!(changed(&|gpu| gpu.memory_free_mb += 7189));
    assert!(changed(&|gpu| gpu.memory_free_mb -= 7189));
    assert!(!changed(&|gpu| gpu.utilization = Some(0.87)));
    assert!(changed(&|gpu| gpu.utilization = Some(0.86)));
    assert!(changed(&|gpu| gpu.utilization = None));
    assert!(!changed(&|gpu| gpu.temperature_c = Some(66)));
    assert!(changed(&|gpu| gpu.temperature_c = Some(67)));
    assert!(changed(&|gpu| gpu.temperature_c = Some(55)));
    assert!(!changed(&|gpu| gpu.processes = Some(9)));
    assert!(changed(&|gpu| gpu.model = "another".to_owned()));
    assert!(
        Reading::default().worth_telling(&told),
        "all of them are gone"
    );
    let mut driver = told.clone();
    driver.driver_version = Some("580.65.06".to_owned());
    assert!(driver.worth_telling(&told));
}

/// What was read last is what counts, also for those who have an older clone.
#[test]
fn a_refresh_is_seen_by_all() {
    struct Falling(u64);
    impl GpuSource for Falling {
        fn read(&mut self) -> Reading {
            self.0 -= 1000;
            let mut reading = h200();
            reading.gpus[0].memory_free_mb = self.0;
            reading
        }
    }
    let here = Capabilities::new("gpu-01".to_owned(), Box::new(Falling(100_000)));
    let clone = here.clone();
    assert_eq!(clone.worker_info().available_memory_mb, 99_000);
    assert_eq!(here.refresh(), clone.reading());
    assert_eq!(clone.worker_info().available_memory_mb, 98_000);
}
