//! What is so after every bad input: the worker is there, takes the next job, and has kept nothing.

use std::path::PathBuf;

use crate::support::Lab;

/// The worker is free, keeps nothing of the jobs that it had, and runs the next one of anybody as ever.
pub async fn as_before(lab: &Lab) {
    lab.until_free().await;
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let archive = lab.archive("after", "echo after; mkdir models; echo m > models/m");
    call.upload("after.zip", &archive).await;
    let texts = call.until("JOB_COMPLETE").await;
    assert!(texts.contains(&"after\n".to_owned()), "{texts:?}");
    let ended = |text: &&String| text.starts_with("JOB_");
    assert_eq!(texts.iter().filter(ended).count(), 1, "{texts:?}");
    call.hang_up().await;
    lab.until_free().await;
    assert_eq!(lab.scratch(), Vec::<PathBuf>::new());
}

/// The most memory that a process has had so far, in bytes.
pub fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}
