//! What to type after the demonstration, ready to be pasted.

use std::{env, fs, path::Path};

use crate::host::RegistryHost;

/// The commands for a registry that speaks http on loopback.
pub(crate) fn text(host: &RegistryHost, repository: &str, tag: &str) -> String {
    let roadstead = this_program();
    let image = format!("{host}/{repository}:{tag}");
    let copy = format!("{host}/{repository}:copy");
    format!(
        "
Now with your own client, in another terminal (the token lasts an hour):

  docker   {roadstead} auth token {host} | docker login {host} -u _token --password-stdin
           docker pull {image} && docker run --rm {image}

  podman   {roadstead} auth token {host} | podman login --tls-verify=false -u _token --password-stdin {host}
           podman pull --tls-verify=false {image}

  skopeo   {roadstead} auth token {host} | skopeo login --tls-verify=false -u _token --password-stdin {host}
           skopeo copy --all --src-tls-verify=false docker://{image} oci:roadstead-hello:{tag}

  crane    {roadstead} auth token {host} | crane auth login {host} -u _token --password-stdin
           crane copy {image} {copy} && crane ls {host}/{repository}

  oras     {roadstead} auth token {host} | oras login --plain-http -u _token --password-stdin {host}
           oras manifest fetch --plain-http --pretty {image}

Logins that do not expire, for all of them:

           {roadstead} auth configure-docker {host}

What happened so far:

           {roadstead} events list --registry {host}
           {roadstead} tags history --registry {host} {repository} {tag}
"
    )
}

/// How to call this program again: by name where a shell would find it, else by path.
fn this_program() -> String {
    let Ok(program) = env::current_exe() else {
        return "roadstead".to_owned();
    };
    let found = env::var_os("PATH").is_some_and(|path| {
        let first = env::split_paths(&path)
            .map(|entry| entry.join("roadstead"))
            .find(|entry| entry.is_file());
        first.is_some_and(|first| fs::canonicalize(first).is_ok_and(|first| first == program))
    });
    if found {
        return "roadstead".to_owned();
    }
    let relative = env::current_dir()
        .ok()
        .and_then(|directory| Some(program.strip_prefix(directory).ok()?.to_owned()));
    relative.map_or_else(|| quoted(&program), |path| quoted(&Path::new(".").join(path)))
}

fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
