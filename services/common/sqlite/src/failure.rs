//! What can go wrong.

use std::io;

use roadstead_rpc::ErrorReason;
use roadstead_runtime::DirectoryError;
use rusqlite::ErrorCode;
use tonic::Code;

/// Why a transaction or a read failed, apart from what the service itself decided.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Too much waits; try again later.
    #[error("too many writes are waiting")]
    Overloaded,
    /// SQLite refused a statement.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Nothing of the transaction was kept.
    #[error("the transaction did not commit")]
    CommitFailed {
        /// Whether the disk is full.
        full: bool,
    },
    /// A fault of the program.
    #[error("internal: {0}")]
    Internal(String),
}

impl Failure {
    /// Says it over gRPC. Faults of the disk may pass; anything else that SQLite reports is a fault of this program.
    pub fn classify(&self) -> (Code, ErrorReason) {
        const FULL: (Code, ErrorReason) = (Code::ResourceExhausted, ErrorReason::StorageFull);
        const UNAVAILABLE: (Code, ErrorReason) = (Code::Unavailable, ErrorReason::StorageUnavailable);
        const INTERNAL: (Code, ErrorReason) = (Code::Internal, ErrorReason::Internal);
        match self {
            Self::Overloaded => (Code::ResourceExhausted, ErrorReason::Overloaded),
            Self::CommitFailed { full: true } => FULL,
            Self::CommitFailed { full: false } => UNAVAILABLE,
            Self::Internal(_) => INTERNAL,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => FULL,
                Some(
                    ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::OutOfMemory,
                ) => UNAVAILABLE,
                _ => INTERNAL,
            },
        }
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory, or it cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A newer release changed the schema beyond what this program can work with.
    #[error(
        "{path} has schema version {found}, which needs a program that knows at least schema version {needed} \
         (Roadstead {written_by} or newer); this program ({own_release}) knows {known}"
    )]
    SchemaTooNew {
        /// The database file.
        path: String,
        /// The newest migration that was applied.
        found: u32,
        /// The oldest schema version whose programs still work with it.
        needed: u32,
        /// The newest schema version known here.
        known: u32,
        /// The release that applied the migration.
        written_by: String,
        /// This release.
        own_release: &'static str,
    },
    /// SQLite refused.
    #[error("the database of {service}: {source}")]
    Sqlite {
        /// Whose database.
        service: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// The writing thread did not start.
    #[error("the writer of {service} did not start: {source}")]
    Writer {
        /// Whose database.
        service: &'static str,
        /// Why.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn faults_of_the_disk_may_pass_and_faults_of_the_program_do_not() {
        let sqlite = |code| Failure::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for (failure, expected) in [
            (sqlite(ffi::SQLITE_FULL), ErrorReason::StorageFull),
            (sqlite(ffi::SQLITE_IOERR), ErrorReason::StorageUnavailable),
            (sqlite(ffi::SQLITE_BUSY), ErrorReason::StorageUnavailable),
            (sqlite(ffi::SQLITE_CONSTRAINT), ErrorReason::Internal),
            (Failure::CommitFailed { full: true }, ErrorReason::StorageFull),
            (
                Failure::CommitFailed { full: false },
                ErrorReason::StorageUnavailable,
            ),
            (Failure::Overloaded, ErrorReason::Overloaded),
            (Failure::Internal(String::new()), ErrorReason::Internal),
        ] {
            assert_eq!(failure.classify().1, expected, "{failure:?}");
        }
    }
}
