//! Columns that hold parsed texts.

use std::error::Error;

use roadstead_types::RepositoryPrefix;
use rusqlite::{Row, types::Type};
use serde::de::DeserializeOwned;

use crate::domain::Resource;

/// A column that does not parse is a fault: what is stored was parsed before.
fn fault(column: usize, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(super) fn prefix(row: &Row<'_>, column: usize) -> rusqlite::Result<RepositoryPrefix> {
    let text = row.get_ref(column)?.as_str()?;
    RepositoryPrefix::parse(text).map_err(|error| fault(column, error))
}

/// Reads the columns `resource_kind` and `path`, which stand next to each other.
pub(super) fn resource(row: &Row<'_>, column: usize) -> rusqlite::Result<Resource> {
    let (kind, path) = (row.get_ref(column)?.as_str()?, row.get_ref(column + 1)?.as_str()?);
    Resource::from_columns(kind, path).map_err(|error| fault(column + 1, error))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| fault(column, error))
}
