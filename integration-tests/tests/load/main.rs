//! What the registry needs when many come at once.

mod content;
mod idle;
mod memory;
