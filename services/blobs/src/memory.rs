//! How much upload data may be in memory, and who may send how much of it.
//!
//! A stream reserves [`FIRST_CREDIT`] before it grants its first byte and may wait for that, while it holds nothing that
//! another stream needs. Whatever it takes beyond comes by trying only, so that no two streams wait for each other, and
//! leaves a part of the budget to those that begin: what a peer was granted cannot be taken back, and peers that were
//! fast and then stand still must not keep others out. When all is spoken for, streams with more than their first credit
//! give back half of what is free.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// What every stream gets before it may send.
pub(crate) const FIRST_CREDIT: u64 = FIRST_UNITS as u64 * UNIT;

/// The grain of accounting: semaphores count in 32 bits.
const UNIT: u64 = 64 * 1024;
const FIRST_UNITS: u32 = 4;
/// The part of the budget, as one in so many, that is for first credits only.
const RESERVED: usize = 4;

/// The budget of the process.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    window_units: usize,
    reserved_units: usize,
}

impl Budget {
    pub(crate) fn new(total_bytes: u64, window_bytes: u64) -> Self {
        let units = |bytes: u64| {
            usize::try_from(bytes / UNIT)
                .unwrap_or(usize::MAX)
                .min(u32::MAX as usize)
        };
        let total = units(total_bytes).max(FIRST_UNITS as usize);
        Self {
            units: Arc::new(Semaphore::new(total)),
            window_units: units(window_bytes).max(FIRST_UNITS as usize),
            reserved_units: total / RESERVED,
        }
    }

    /// Waits for the first credit of a stream.
    pub(crate) async fn open_window(&self) -> Result<Window, Error> {
        let held = Arc::clone(&self.units)
            .acquire_many_owned(FIRST_UNITS)
            .await
            .map_err(|_| Error::Internal("the upload budget was closed"))?;
        Ok(Window {
            budget: self.clone(),
            held,
            granted: 0,
            buffered: 0,
        })
    }

    #[cfg(test)]
    fn free_bytes(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT
    }
}

/// One stream's share of the budget. Always `granted + buffered <= capacity`.
#[derive(Debug)]
pub(crate) struct Window {
    budget: Budget,
    held: OwnedSemaphorePermit,
    /// Bytes that the peer may send and has not sent.
    granted: u64,
    /// Bytes received and not yet written.
    buffered: u64,
}

impl Window {
    /// Whether it is the peer's turn: the idle limit counts only then.
    pub(crate) fn awaits_peer(&self) -> bool {
        self.granted > 0
    }

    /// Takes note of a chunk.
    pub(crate) fn receive(&mut self, bytes: u64) -> Result<(), Error> {
        self.granted = self
            .granted
            .checked_sub(bytes)
            .ok_or(Error::Argument("more bytes were sent than credit was granted"))?;
        self.buffered += bytes;
        Ok(())
    }

    /// Takes note that bytes left memory.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.buffered = self.buffered.saturating_sub(bytes);
        self.adapt();
    }

    /// Gives what may be granted now, and counts it as granted.
    pub(crate) fn grant(&mut self) -> u64 {
        let credit = self.free();
        self.granted += credit;
        credit
    }

    fn capacity(&self) -> u64 {
        self.held.num_permits() as u64 * UNIT
    }

    fn free(&self) -> u64 {
        self.capacity() - self.granted - self.buffered
    }

    fn adapt(&mut self) {
        let units = self.held.num_permits();
        let available = self.budget.units.available_permits();
        if available == 0 {
            let surplus = units - FIRST_UNITS as usize;
            let returned = usize::try_from(self.free() / UNIT / 2).unwrap_or(0).min(surplus);
            drop(self.held.split(returned));
        } else if self.granted < self.capacity() / 2 {
            // Only a peer that uses its credit up gets more; a trickle keeps to the first.
            let spare = available.saturating_sub(self.budget.reserved_units);
            let wanted = units.min(self.budget.window_units - units).min(spare);
            if let Ok(wanted) = u32::try_from(wanted)
                && let Ok(more) = Arc::clone(&self.budget.units).try_acquire_many_owned(wanted)
            {
                self.held.merge(more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[tokio::test]
    async fn a_fast_stream_grows_to_its_window_and_no_further() {
        let budget = Budget::new(64 * MIB, 4 * MIB);
        let mut window = budget.open_window().await.unwrap();
        let mut credit = window.grant();
        assert_eq!(credit, FIRST_CREDIT);
        for _ in 0..10 {
            window.receive(credit).unwrap();
            window.release(credit);
            credit = window.grant();
        }
        assert_eq!(credit, 4 * MIB);
        assert_eq!(budget.free_bytes(), 60 * MIB);
        drop(window);
        assert_eq!(budget.free_bytes(), 64 * MIB);
    }

    #[tokio::test]
    async fn a_trickle_keeps_to_its_first_credit() {
        let budget = Budget::new(64 * MIB, 4 * MIB);
        let mut window = budget.open_window().await.unwrap();
        window.grant();
        for _ in 0..100 {
            window.receive(1000).unwrap();
            window.release(1000);
            window.grant();
        }
        assert_eq!(window.capacity(), FIRST_CREDIT);
    }

    #[tokio::test]
    async fn bytes_without_credit_are_refused() {
        let mut window = Budget::new(MIB, MIB).open_window().await.unwrap();
        let credit = window.grant();
        window.receive(credit).unwrap();
        assert!(window.receive(1).is_err());
    }

    #[tokio::test]
    async fn newcomers_are_let_in_by_those_with_surplus() {
        let budget = Budget::new(MIB, MIB);
        let mut first = budget.open_window().await.unwrap();
        let mut credit = first.grant();
        for _ in 0..4 {
            first.receive(credit).unwrap();
            first.release(credit);
            credit = first.grant();
        }
        // The first stands still now, and still there is room for one more.
        assert_eq!(budget.free_bytes(), FIRST_CREDIT);
        let _second = futures::poll!(std::pin::pin!(budget.open_window()));
        assert_eq!(budget.free_bytes(), 0);
        let mut third = Box::pin(budget.open_window());
        assert!(futures::poll!(&mut third).is_pending());
        first.receive(credit).unwrap();
        first.release(credit);
        third.await.unwrap();
    }

    proptest! {
        #[test]
        fn the_budget_bounds_what_is_granted_and_buffered(steps in prop::collection::vec((0usize..3, 0u64..512), 1..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let budget = Budget::new(2 * MIB, MIB);
                let mut windows = Vec::new();
                for _ in 0..3 {
                    windows.push(budget.open_window().await.unwrap());
                }
                for (index, kib) in steps {
                    let window = &mut windows[index];
                    window.grant();
                    let chunk = (kib * 1024).min(window.granted);
                    window.receive(chunk).unwrap();
                    if kib % 3 != 0 {
                        window.release(window.buffered / 2);
                    }
                    let in_memory: u64 = windows.iter().map(|window| window.granted + window.buffered).sum();
                    let held: u64 = windows.iter().map(Window::capacity).sum();
                    prop_assert!(in_memory <= held);
                    prop_assert_eq!(held + budget.free_bytes(), 2 * MIB);
                }
                Ok(())
            })?;
        }
    }
}
