//! `roadstead-bench`: measures Roadstead, other registries and nginx side by side, in one run on one machine.
//!
//! Every peer is started in its normal configuration with the same content, and all stay up; one is loaded while the others
//! are idle. Runs are short and go round the peers several times, so that a disturbance of the machine hits all of them and
//! shows as a spread. The figure that such disturbances hardly touch is the **processor time of the server for each
//! request**: what `/proc` counts for all its processes, user and system, until it is quiet again after the load, divided by
//! the requests.
//!
//! Invariants: nothing is installed; a peer that is not there is named with the command that gets it. A case is checked byte
//! for byte before it is measured; the load checks the status and length of each answer; and a case with an error has no figure.

mod api;
mod cases;
mod content;
mod figures;
mod http;
mod load;
mod machine;
mod measure;
mod peer;
mod plan;
mod proc;
mod report;
mod run;

pub use plan::Options;
pub use run::{Outcome, run};
