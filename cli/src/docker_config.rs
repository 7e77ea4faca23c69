//! Makes container clients ask the credential helper: the `credHelpers` of their configuration and the program itself.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    cache, credential_helper,
    error::Error,
    host::RegistryHost,
    platform::{self, Access},
};

const HELPERS: &str = "credHelpers";
const HELPER_SUFFIX: &str = "roadstead";

/// What was done.
#[derive(Debug)]
pub(crate) struct Installed {
    /// The client configuration.
    pub(crate) config: PathBuf,
    /// Whether it had to be changed.
    pub(crate) changed: bool,
    /// The helper program.
    pub(crate) helper: PathBuf,
    /// Whether clients will find the program.
    pub(crate) on_path: bool,
}

/// Names the helper for a registry, under every name it has on this machine, and puts the helper program into
/// `bin_directory`, else beside this program.
pub(crate) fn configure(host: &RegistryHost, bin_directory: Option<&Path>) -> Result<Installed, Error> {
    let config = config_file()?;
    let changed = name_helper(&config, host)?;
    let (helper, directory) = install_helper(bin_directory)?;
    Ok(Installed {
        config,
        changed,
        on_path: is_on_path(&directory),
        helper,
    })
}

/// `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; where that is a link, what it points at.
fn config_file() -> Result<PathBuf, Error> {
    let directory = match env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => etcetera::home_dir()
            .map_err(|error| Error::Usage(format!("{error}: set HOME or DOCKER_CONFIG")))?
            .join(".docker"),
    };
    let path = directory.join("config.json");
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

fn name_helper(path: &Path, host: &RegistryHost) -> Result<bool, Error> {
    let (content, access) = match fs::read(path) {
        Ok(content) => (content, Access::of(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Access::Owner),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    let changed = with_helper(&content, host)
        .map_err(|problem| Error::Usage(format!("{} {problem}; left as it is", path.display())))?;
    let Some(content) = changed else {
        return Ok(false);
    };
    let directory = path
        .parent()
        .ok_or_else(|| Error::internal("a file has no directory"))?;
    if !directory.exists() {
        cache::create_private_directory(directory)?;
    }
    cache::replace(path, &content, access)?;
    Ok(true)
}

/// Names the helper in a client's configuration; gives none when it is named already.
///
/// # Errors
///
/// Says what the configuration is not.
pub(crate) fn with_helper(content: &[u8], host: &RegistryHost) -> Result<Option<Vec<u8>>, String> {
    let mut config: Map<String, Value> = if content.trim_ascii().is_empty() {
        Map::new()
    } else {
        serde_json::from_slice(content).map_err(|error| format!("is not a JSON object ({error})"))?
    };
    let helpers = config.entry(HELPERS).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(helpers) = helpers else {
        return Err(format!("has {HELPERS} that is not an object"));
    };
    let mut changed = false;
    for name in host.aliases() {
        let value = Value::from(HELPER_SUFFIX);
        changed |= helpers.get(&name) != Some(&value);
        helpers.insert(name, value);
    }
    if !changed {
        return Ok(None);
    }
    let mut content = serde_json::to_vec_pretty(&config).map_err(|error| error.to_string())?;
    content.push(b'\n');
    Ok(Some(content))
}

fn install_helper(bin_directory: Option<&Path>) -> Result<(PathBuf, PathBuf), Error> {
    let program = env::current_exe().map_err(Error::file("find", "this program"))?;
    let beside = program
        .parent()
        .ok_or_else(|| Error::internal("this program has no directory"))?;
    let directory = bin_directory.unwrap_or(beside).to_owned();
    fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
    let helper = directory.join(platform::program_name(credential_helper::PROGRAM));
    if fs::canonicalize(&helper).is_ok_and(|target| target == program) {
        return Ok((helper, directory));
    }
    // Made under another name first: a client may be starting the old one at this moment.
    let staged = directory.join(format!(".{}-{}", credential_helper::PROGRAM, std::process::id()));
    let place = || -> io::Result<()> {
        platform::install_program(&program, &staged)?;
        fs::rename(&staged, &helper)
    };
    place().map_err(|source| {
        let _ = fs::remove_file(&staged);
        Error::Usage(format!(
            "cannot put {} into {}: {source}\nName a directory of yours that is on PATH with --bin-dir.",
            credential_helper::PROGRAM,
            directory.display()
        ))
    })?;
    Ok((helper, directory))
}

fn is_on_path(directory: &Path) -> bool {
    let Ok(directory) = fs::canonicalize(directory) else {
        return false;
    };
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path).any(|entry| fs::canonicalize(entry).is_ok_and(|entry| entry == directory))
    })
}
