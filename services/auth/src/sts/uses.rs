//! When and from where pull tokens were last used.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::store::LastUse;

/// Tokens whose use is held until it is written. Beyond this many within a few seconds, uses of others are not noted.
const LIMIT: usize = 100_000;

/// Uses that are not written yet: a pull writes nothing itself.
#[derive(Debug, Default)]
pub(crate) struct LastUses(Mutex<HashMap<String, LastUse>>);

impl LastUses {
    pub(crate) fn note(&self, usage: LastUse) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < LIMIT || uses.contains_key(&usage.id) {
            uses.insert(usage.id.clone(), usage);
        }
    }

    /// Takes out what is to be written.
    pub(crate) fn take(&self) -> Vec<LastUse> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *uses).into_values().collect()
    }

    /// The use of a token that is not written yet.
    pub(crate) fn of(&self, id: &str) -> Option<LastUse> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(id).cloned()
    }
}
