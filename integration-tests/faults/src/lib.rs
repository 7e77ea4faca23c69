//! What becomes of the registry when machines fail.
//!
//! Kills: [`installation`] starts the processes and tells them where to die, [`workload`] pushes and deletes meanwhile and
//! writes into a [`ledger`] what it was told, and [`checker`] compares that with what is there afterwards. [`points`] finds
//! the places to die at in the sources.
//!
//! Invariants: every kill is repeatable by its seed, and every acknowledged change counts until it is undone.

pub mod campaign;
pub mod checker;
pub mod installation;
pub mod ledger;
pub mod points;
pub mod scale;
pub mod trace;
pub mod workload;
