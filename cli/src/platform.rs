//! What differs between operating systems. The rest of the program names none.
//!
//! On Windows a profile's files are its user's alone by inheritance, so nothing is set there; a program is copied where
//! elsewhere it is linked to, since links need a privilege. The tests of this repository compile the Unix half alone; the
//! release workflow builds the other one on Windows.

use std::{fs, io, path::Path};

use tempfile::NamedTempFile;

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Its owner.
    Owner,
    /// Whoever could read the file that it replaces.
    Mode(u32),
}

impl Access {
    /// Of a file that is there.
    pub(crate) fn of(path: &Path) -> Self {
        system::mode(path).map_or(Self::Owner, Self::Mode)
    }
}

/// The file name of a program.
pub(crate) fn program_name(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// A name made fit for a file: that of a registry may hold a colon.
pub(crate) fn file_name(name: &str) -> String {
    system::file_name(name)
}

/// Creates a directory and those above it; nobody but its owner gets in, also if it was there with more.
pub(crate) fn create_private_directory(directory: &Path) -> io::Result<()> {
    system::create_private_directory(directory)
}

/// A new file in a directory, under a name of its own.
pub(crate) fn temporary_file(directory: &Path, access: Access) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".roadstead-");
    system::set_access(&mut builder, access);
    builder.tempfile_in(directory)
}

/// Makes a program callable under another name: by a link where that is possible, else by a copy.
pub(crate) fn install_program(program: &Path, place: &Path) -> io::Result<()> {
    if system::link(program, place).is_err() {
        fs::copy(program, place)?;
    }
    Ok(())
}

#[cfg(unix)]
mod system {
    use std::{
        fs,
        fs::Permissions,
        io,
        os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
        path::Path,
    };

    use super::Access;

    pub(super) fn mode(path: &Path) -> Option<u32> {
        let metadata = fs::metadata(path).ok()?;
        Some(metadata.permissions().mode() & 0o777)
    }

    pub(super) fn file_name(name: &str) -> String {
        name.to_owned()
    }

    pub(super) fn create_private_directory(directory: &Path) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))
    }

    pub(super) fn set_access(builder: &mut tempfile::Builder<'_, '_>, access: Access) {
        let mode = match access {
            Access::Owner => 0o600,
            Access::Mode(mode) => mode,
        };
        builder.permissions(Permissions::from_mode(mode));
    }

    pub(super) fn link(program: &Path, place: &Path) -> io::Result<()> {
        symlink(program, place)
    }
}

#[cfg(not(unix))]
mod system {
    use std::{fs, io, path::Path};

    use super::Access;

    pub(super) fn mode(_: &Path) -> Option<u32> {
        None
    }

    pub(super) fn file_name(name: &str) -> String {
        name.replace(':', "+")
    }

    pub(super) fn create_private_directory(directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)
    }

    pub(super) fn set_access(_: &mut tempfile::Builder<'_, '_>, _: Access) {}

    pub(super) fn link(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
