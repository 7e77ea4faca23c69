//! Identity tokens that somebody else got: in a file, on standard input, in the environment.

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{
    cache::Source,
    error::{Error, printable},
};

/// The environment variable that holds an identity token.
pub(super) const TOKEN_VARIABLE: &str = "ROADSTEAD_IDENTITY_TOKEN";
/// The environment variable that names a file with an identity token, which its owner keeps fresh.
pub(super) const TOKEN_FILE_VARIABLE: &str = "ROADSTEAD_IDENTITY_TOKEN_FILE";

/// The environment's identity token: the one it holds, else the one in the file it names.
pub(super) fn of_environment() -> Result<Option<(String, Source)>, Error> {
    if let Some(token) = variable(TOKEN_VARIABLE) {
        return Ok(Some((token, Source::IdentityToken)));
    }
    let Some(path) = variable(TOKEN_FILE_VARIABLE).map(PathBuf::from) else {
        return Ok(None);
    };
    let path = fs::canonicalize(&path).map_err(Error::file("read", &path))?;
    Ok(Some((of_file(&path)?, Source::IdentityTokenFile { path })))
}

pub(super) fn of_file(path: &Path) -> Result<String, Error> {
    let token = fs::read_to_string(path).map_err(Error::file("read", path))?;
    checked(token.trim(), &path.display().to_string())
}

pub(super) fn of_standard_input() -> Result<String, Error> {
    let mut token = String::new();
    std::io::stdin()
        .read_to_string(&mut token)
        .map_err(Error::file("read", "standard input"))?;
    checked(token.trim(), "standard input")
}

fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

fn checked(token: &str, from: &str) -> Result<String, Error> {
    if token.is_empty() || token.chars().any(char::is_whitespace) {
        return Err(Error::Usage(format!(
            "{} holds no identity token",
            printable(from)
        )));
    }
    Ok(token.to_owned())
}
