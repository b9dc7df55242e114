//! Packages as hostile peers write them.
#![allow(clippy::unwrap_used)]

mod bounds;
mod damage;
mod names;
mod paths;
mod raw_zip;
