//! The `roadstead` program; see the library of this package.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    ExitCode::from(Box::pin(roadstead_cli::run(arguments)).await)
}
