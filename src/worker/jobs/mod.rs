//! What it takes to run a job: packages, scratch directories, processes.
