//! What outlives one peer connection, and what goes over it beside jobs.

pub mod forward;
