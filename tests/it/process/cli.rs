//! What the command line says: help that can be worked with, and errors that say what to do.

use std::net::TcpListener;

use crate::harness::{
    Setup, World, cluster,
    process::{Operator, amishare, run_to_end},
};

async fn help(arguments: &[&str]) -> String {
    let (code, printed, errors) = run_to_end(&mut amishare(arguments)).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
    for line in printed.lines() {
        assert!(line.chars().count() <= 120, "{arguments:?}: {line}");
    }
    // However it is wrapped.
    printed.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn all_in(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[tokio::test]
async fn the_help_names_every_command_and_says_what_it_does() {
    let text = help(&["--help"]).await;
    all_in(
        &text,
        &[
            "run Run the operator",
            "crds Print the CustomResourceDefinitions",
            "guardrails Check the operator's configuration file",
            "check Wait until pages of an operator answer",
            "simulate Simulate EC2 and STS",
        ],
    );
    assert_eq!(help(&["help"]).await, text);
    assert_eq!(help(&["--version"]).await, format!("amishare {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_help_of_run_names_every_environment_variable_and_where_credentials_and_the_cluster_come_from() {
    let text = help(&["run", "--help"]).await;
    assert!(text.starts_with("Run the operator"), "{text}");
    all_in(&text, &["AWS_PROFILE", "AWS_ENDPOINT_URL", "IRSA", "KUBECONFIG", "Usage: amishare run [OPTIONS]"]);
    // A value that may be left out follows its flag in brackets.
    let words = text.split(' ').filter_map(|word| word.split('[').next());
    let flags: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
    let known = ["--namespaces", "--allow-public-sharing", "--shutdown-grace", "--health-address", "--log"];
    assert!(known.iter().all(|flag| flags.contains(flag)), "{flags:?}");
    for flag in flags.into_iter().filter(|flag| !["--help", "--version"].contains(flag)) {
        let variable = format!("[env: AMISHARE_{}=", flag.trim_start_matches('-').to_uppercase().replace('-', "_"));
        assert!(text.contains(&variable), "no {variable} for {flag} in {text}");
    }
    all_in(&text, &["[default: 20s]", "[default: 0.0.0.0:8080]", "Allow images to be made public"]);
}

#[tokio::test]
async fn the_help_of_crds_and_of_simulate_says_how_to_use_them() {
    let text = help(&["crds", "--help"]).await;
    all_in(&text, &["Print the CustomResourceDefinitions", "--write <FOLDER>", "docs/conditions.md"]);
    let text = help(&["simulate", "--help"]).await;
    all_in(&text, &["Simulate EC2 and STS on a local port", "--listen <ADDRESS>", "[env: AMISHARE_SIMULATOR_LISTEN=]"]);
    all_in(&text, &["--scenario <FILE>", "--calls <FILE>", "--seed <NUMBER>", "AWS_ENDPOINT_URL", "twelve digits"]);
}

/// The error of a run that cannot start.
async fn error(command: &mut std::process::Command) -> (Option<i32>, String) {
    let (code, printed, error) = run_to_end(command).await;
    assert_eq!(printed, "");
    (code, error)
}

#[tokio::test]
async fn without_a_cluster_it_says_how_to_name_one_in_one_line() {
    let (code, text) = error(amishare(&["run"]).env("KUBECONFIG", "/nonexistent/kubeconfig")).await;
    assert_eq!(code, Some(1));
    let expected =
        "amishare: no Kubernetes cluster: this is no pod, and /nonexistent/kubeconfig cannot be read; set KUBECONFIG\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_flag_that_cannot_be_read_is_named_with_what_it_may_be() {
    let (code, text) = error(&mut amishare(&["run", "--shutdown-grace=soon"])).await;
    assert_eq!(code, Some(2));
    all_in(
        &text,
        &["'--shutdown-grace <DURATION>'", "\"soon\" is not a length of time, such as 10m or 1h30m", "--help"],
    );
    let (code, text) = error(amishare(&["run"]).env("AMISHARE_CONCURRENCY", "0")).await;
    assert_eq!(code, Some(2));
    all_in(&text, &["'--concurrency <NUMBER>'", "'0'"]);
    let (code, text) = error(&mut amishare(&["run", "--namespace=images"])).await;
    assert_eq!(code, Some(2));
    all_in(&text, &["unexpected argument '--namespace'", "'--namespaces'"]);
    let (code, text) = error(&mut amishare(&["run", "--log=amishare=loud"])).await;
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    all_in(&text, &["amishare: --log \"amishare=loud\" cannot be read", "info"]);
    assert_eq!(text.matches("expected one of").count(), 1, "{text}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_flags_that_choose_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (flag, other) in [("--health-address", "--metrics-address"), ("--metrics-address", "--health-address")] {
        let mut command =
            amishare(&["run", "--log=error", &format!("{flag}={address}"), &format!("{other}=127.0.0.1:0")]);
        let (code, text) = error(command.env("KUBECONFIG", cluster().kubeconfig())).await;
        assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
        all_in(&text, &[&format!("amishare: cannot listen on {address}"), flag, "Address already in use"]);
    }
}

#[tokio::test]
async fn check_succeeds_when_all_pages_answer_and_otherwise_says_which_does_not_and_what_it_says() {
    let world = World::without_operator(Setup::default()).await;
    let operator = Operator::of(&world, &[]).await;
    let page = |path: &str| format!("http://{}{path}", operator.address);
    let (code, printed, error) = run_to_end(&mut amishare(&["check", &page("/readyz"), &page("/metrics")])).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    all_in(&printed, &[&format!("{} answers\n", page("/readyz")), &format!("{} answers\n", page("/metrics"))]);

    let unknown = page("/nowhere");
    let (code, _, error) = run_to_end(&mut amishare(&["check", "--timeout=1s", &page("/readyz"), &unknown])).await;
    assert_eq!(code, Some(1));
    assert_eq!(error, format!("amishare: {unknown} does not answer with 200 within 1s; it says: 404\n"));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, error) =
        run_to_end(&mut amishare(&["check", "--timeout=1s", &format!("http://{silent}/readyz")])).await;
    assert_eq!(code, Some(1));
    all_in(&error, &["does not answer with 200 within 1s", "Connection refused"]);

    let (code, _, error) = run_to_end(&mut amishare(&["check", "https://x/readyz"])).await;
    assert_eq!(code, Some(2));
    all_in(&error, &["'<URL>...'", "a page such as http://127.0.0.1:8081/readyz"]);
}
