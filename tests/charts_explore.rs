//! The explorer finds what is wrong with a chart, one flaw at a time, and finds nothing wrong with the real ones.

#[path = "charts_explore/flaws.rs"]
mod flaws;
#[path = "charts_explore/real.rs"]
mod real;
#[path = "charts_explore/toy.rs"]
mod toy;
