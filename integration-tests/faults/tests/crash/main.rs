//! Kills at every step that makes something durable, and at random, and what is left afterwards.

mod checker;
mod kills;
mod large_log;
mod order;
mod programs;
mod starts;
