//! What a caller may rely on, over every transport.

mod authorization;
mod bulk;
mod calls;
mod failures;
mod retries;
mod streams;
mod tracing;

pub(crate) use authorization::{assert_refused_everywhere, call_blindly, every_rpc};
