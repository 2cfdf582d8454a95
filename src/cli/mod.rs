//! The command line.

mod chart;
mod check;
mod crds;
mod election;
mod guardrails;
mod rules;
mod run;

pub use election::ElectionArgs;
pub use run::{RunArgs, Surroundings, operate};

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
    /// Check the operator's configuration file, or print its guard rails as a ValidatingAdmissionPolicy.
    Guardrails(guardrails::GuardrailsArgs),
    /// Wait until pages of an operator answer, for `helm test`.
    Check(check::CheckArgs),
    // Its help text is with its arguments.
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
            Command::Run(args) => Box::pin(run::run(*args)).await,
            Command::Crds(args) => crds::crds(&args),
            Command::Guardrails(args) => guardrails::guardrails(&args),
            Command::Check(args) => check::check(args).await,
            #[cfg(feature = "simulator")]
            Command::Simulate(args) => crate::simulator::run(args).await,
        }
    }
}

/// An error and its causes in one line. Many causes are already in the text of what they caused; those are not said twice.
pub fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if !line.contains(&cause) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_text_above_it_holds_is_not_said_twice() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file").context("no cluster");
        assert_eq!(in_one_line(&error), "no cluster: cannot read x: no such file");
    }
}
