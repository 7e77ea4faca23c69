//! Directories for tests.

use std::path::Path;

/// A directory that is removed when dropped.
#[derive(Debug)]
pub struct TestDirectory(tempfile::TempDir);

impl TestDirectory {
    /// Returns where the directory is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl AsRef<Path> for TestDirectory {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

/// Makes an empty directory for one test.
pub fn test_dir() -> TestDirectory {
    let directory = tempfile::Builder::new().prefix("roadstead-test-").tempdir();
    TestDirectory(directory.expect("a temporary directory can be made"))
}
