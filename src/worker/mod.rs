//! A worker, assembled.

pub mod jobs;
