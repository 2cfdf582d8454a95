//! The command line.

mod crds;
mod run;

pub use run::{RunArgs, operate};

use clap::{Parser, Subcommand};

/// Shares golden AMIs from Kubernetes: who may launch an EC2 image, declared in Git and enforced continuously.
#[derive(Debug, Parser)]
#[command(name = "amishare", version, propagate_version = true, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::doc_markdown, reason = "these comments are the help text")]
enum Command {
    /// Run the operator.
    ///
    /// AWS credentials, endpoints and proxies are configured as for every AWS tool: AWS_ACCESS_KEY_ID, AWS_PROFILE,
    /// AWS_ENDPOINT_URL, IRSA, EKS Pod Identity. The cluster is the one that the pod runs in, or that of KUBECONFIG.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinitions, or write everything that is generated from the types.
    Crds(crds::CrdsArgs),
    /// Simulate EC2 and STS on a local port, for trying things out without an AWS account.
    #[cfg(feature = "simulator")]
    Simulate(crate::simulator::SimulateArgs),
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// When it cannot be done; the error says why and what to do.
    pub async fn execute(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(args) => run::run(*args).await,
            Command::Crds(args) => crds::crds(&args),
            #[cfg(feature = "simulator")]
            Command::Simulate(args) => crate::simulator::run(args).await,
        }
    }
}
