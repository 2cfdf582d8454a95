//! The admission policy that is generated from the configuration file: what the operator would deny is refused at apply, in the same words,
//! and nothing else is.

use amishare::config::admission::NAME;

use super::{A, B, Config, ORGANIZATION, UNIT};
use crate::harness::{
    Setup, World, eventually, kubectl, own_cluster,
    process::{amishare, run_to_end},
    world::PLAIN,
};

/// The policy of a file, as the command line prints it.
async fn printed(config: &Config, flags: &[&str]) -> String {
    let flag = config.flag();
    let arguments: Vec<&str> =
        ["guardrails", "--admission-policy", &flag].into_iter().chain(flags.iter().copied()).collect();
    let (code, text, errors) = run_to_end(&mut amishare(&arguments)).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    text
}

/// On a cluster of its own: the policy holds for all namespaces.
#[tokio::test]
async fn what_the_guard_rails_forbid_is_refused_at_apply_and_what_was_there_before_can_still_go() {
    let definitions = amishare::api::crd::all().into_iter().map(|(_, crd)| serde_json::to_string(&crd).unwrap());
    let definitions: Vec<String> = definitions.collect();
    let plane = tokio::task::spawn_blocking(move || own_cluster(definitions)).await.unwrap();
    let world = World::on(plane.clone(), Setup { scenario: PLAIN, more_namespaces: 1, ..Setup::default() }).await;
    let (here, there) = (world.namespaces[0].clone(), world.namespaces[1].clone());
    let with = |shared: &str| World::manifest("base", &format!("  shareWith: {shared}"));
    // It is there before the policy, and will be against it.
    let before = World::manifest("before", &format!("  shareWith: {{accountIds: [\"{B}\"]}}"));
    let before = before.replace("{name: before}", "{name: before, finalizers: [amishare.dev/revoke]}");
    world.apply_in(&here, &before).await.unwrap();

    let many: Vec<String> = (0..3000).map(|n| format!("\"9{n:011}\"")).collect();
    let config = Config::with(&format!(
        "[{{name: ours, namespaces: [{here}], regions: [us-east-1], shareWith: {{accountIds: [\"{A}\", {}]}}}}]",
        many.join(", ")
    ));
    let applied = kubectl(&plane, &["apply", "-f", "-"], &printed(&config, &[]).await);
    let warnings = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(applied.status.success() && warnings.is_empty(), "{warnings}");
    // The API server takes a moment to put it in force, and a dry run leaves nothing behind.
    eventually("the policy is in force", || async {
        let dry = world.kubectl_in(&here, &["apply", "--dry-run=server", "-f", "-"], &with("{public: true}")).await;
        dry.map_or(Ok(()), Err)
    })
    .await;

    let sentence =
        |what: &str| format!("the guard rail ours does not let namespace {here} {what}; take it out of the spec");
    for (shared, what) in [
        (format!("{{accountIds: [\"{A}\", \"{B}\"]}}"), "share with accounts that it does not list"),
        (format!("{{organizationArns: [\"{ORGANIZATION}\"]}}"), "share with organizations that it does not list"),
        (format!("{{organizationalUnitArns: [\"{UNIT}\"]}}"), "share with organizational units that it does not list"),
        ("{public: true}".to_owned(), "make images public"),
    ] {
        let refused = world.apply_in(&here, &with(&shared)).await.unwrap_err();
        assert!(refused.contains(NAME) && refused.contains(&sentence(what)), "{shared}: {refused}");
    }
    let elsewhere = with(&format!("{{accountIds: [\"{A}\"]}}")).replace("us-east-1", "eu-west-1");
    let refused = world.apply_in(&here, &elsewhere).await.unwrap_err();
    assert!(refused.contains(&sentence("share images in eu-west-1")), "{refused}");

    // As many as fit, within the API server's budget.
    world.apply_in(&here, &with(&format!("{{accountIds: [\"{A}\", {}]}}", many.join(", ")))).await.unwrap();
    let refused = world.apply_in(&here, &with(&format!("{{accountIds: [\"{B}\"]}}"))).await.unwrap_err();
    assert!(refused.contains("share with accounts"), "an edit: {refused}");
    // Another namespace is not restricted, but for public sharing.
    world.apply_in(&there, &with(&format!("{{accountIds: [\"{B}\"]}}"))).await.unwrap();
    let refused = world.apply_in(&there, &with("{public: true}")).await.unwrap_err();
    assert!(refused.contains("the operator does not allow public sharing"), "{refused}");

    world.kubectl(&["annotate", "amishare", "before", "amishare.dev/on-delete=abandon"]).await;
    world.kubectl(&["delete", "amishare", "before", "--wait=false"]).await;
    let patch = "{\"metadata\": {\"finalizers\": null}}";
    world.kubectl(&["patch", "amishare", "before", "--type=merge", "--patch", patch]).await;
    world.wait_gone("before").await;
}

#[tokio::test]
async fn the_command_checks_a_file_and_lists_its_rules() {
    let config =
        Config::with("[{name: ours, namespaces: [\"*\"], exceptNamespaces: [partners, x], regions: [us-east-1]}]");
    let flag = config.flag();
    let (code, text, _) = run_to_end(&mut amishare(&["guardrails", &flag])).await;
    assert_eq!((code, text.as_str()), (Some(0), "ours: namespaces * without partners, x\n"));
    config.say("[{name: ours}]");
    let (code, _, errors) = run_to_end(&mut amishare(&["guardrails", &flag])).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("config.yaml:3:14: guardrails[0]: missing field `namespaces`"), "{errors}");
}
