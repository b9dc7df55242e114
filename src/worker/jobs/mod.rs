//! What it takes to run a job: packages, scratch directories, processes.
//!
//! Plain pieces without actors or network. A package is [received](receive) to disk, [unpacked](archive) into a
//! [scratch] directory, read as a [plan], whose steps run as [processes](process) below a [keeper]; the outputs are
//! [packed](pack) again and [sent](send). What comes from a peer is taken as hostile: names, sizes, counts and ratios are bounded here.

pub mod archive;
pub mod changed;
pub mod curves;
pub mod disk;
pub mod input;
pub mod keeper;
pub mod lines;
pub mod log;
pub mod manifest;
pub mod names;
pub mod output;
pub mod pack;
pub mod plan;
pub mod process;
mod processes;
pub mod progress;
pub mod receive;
mod run;
pub mod scratch;
pub mod script;
pub mod send;
pub mod track;
pub(super) mod view;
pub mod watch;
pub mod work;
