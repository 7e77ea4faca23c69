//! Nobody needs a long-lived secret: people and workloads come with tokens of their own issuers, and what they may do is in
//! the registry's IAM.

mod administration;
mod attacks;
mod audit;
mod clients;
mod discretion;
#[path = "../hostile/forge.rs"]
#[expect(dead_code, reason = "the attacks make more of it than the table does")]
mod forge;
mod look_alikes;
mod machines;
mod organisation;
mod people;
mod pull_tokens;
mod secrets;
mod seed;
mod table;
mod workloads;
