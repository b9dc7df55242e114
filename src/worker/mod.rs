//! A worker, assembled.

pub mod capabilities;
pub mod jobs;
