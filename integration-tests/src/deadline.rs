//! Waiting for something to become true.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// The pause between two looks. Short, because nearly everything that is waited for takes milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it gives a value, and fails with `what` when that takes longer than `limit`.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
