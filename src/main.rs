//! The `amishare` binary: see [`amishare::cli`].

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    // kube and the AWS SDK must agree on one TLS provider before the first of them asks for it. Failing means that it is set.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match amishare::cli::Cli::parse().execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("amishare: {}", amishare::cli::in_one_line(&error));
            ExitCode::FAILURE
        }
    }
}
