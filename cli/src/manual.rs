//! Shell completions and manual pages, made from the command line itself.

use std::{fs, io, io::Write as _, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{args::Cli, error::Error};

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "roadstead", &mut script);
    print(&script)
}

/// Prints the manual page of the program, or writes that of every command to a directory.
pub(crate) fn man(out: Option<&Path>) -> Result<(), Error> {
    let Some(directory) = out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(Error::internal)?;
        return print(&page);
    };
    fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(Error::file("write to", directory))?;
    println!("Wrote the manual pages to {}.", directory.display());
    Ok(())
}

fn print(text: &[u8]) -> Result<(), Error> {
    match io::stdout().write_all(text) {
        // Whoever reads on decides how much: `| head` is no error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::file("write to", "standard output")(error))
        }
        _ => Ok(()),
    }
}
