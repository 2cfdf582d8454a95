//! What is left when the chart is uninstalled, and what a later installation makes of it.

use crate::{
    cluster::on_cluster,
    release::{A, B, C, IMAGE, NAME},
    wait::eventually,
};

#[test]
fn uninstalling_leaves_the_definitions_the_shares_and_what_is_shared_and_a_later_installation_goes_on() {
    on_cluster("helm uninstall leaves what it promises", async |release| {
        release.install(&[]);
        release.apply_samples().await;
        release.wait_holders(IMAGE, &[A, B, C]).await;
        release.aws.clear_calls();
        let said = release.helm(&["uninstall", NAME, "--wait", "--timeout=60s"]);
        assert!(said.contains("kept due to the resource policy"), "{said}");

        let (deployment, account) = (format!("deployment/{NAME}"), format!("serviceaccount/{NAME}"));
        let (service, budget) = (format!("service/{NAME}"), format!("poddisruptionbudget/{NAME}"));
        let role = format!("clusterrole/{NAME}");
        for gone in [&deployment, &account, &service, &budget, &role] {
            assert!(!release.there_is(gone), "{gone}");
        }
        eventually("all pods are gone", || async {
            let pods = release.kubectl(&["get", "pods", "--namespace", NAME, "--output=name"]);
            if pods.is_empty() { Ok(()) } else { Err(pods) }
        })
        .await;
        assert!(release.there_is("customresourcedefinition/amishares.amishare.dev"));
        let shares = release.get("amishares", crate::release::IMAGES);
        assert_eq!(shares["items"].as_array().unwrap().len(), 5);
        let written = || release.aws.calls().iter().filter(|call| call.action.starts_with("Modify")).count();
        assert_eq!(written(), 0, "an operator that is stopped takes nothing back");
        assert_eq!(release.holders(IMAGE).len(), 3);

        release.install(&[]);
        release.kubectl(&["delete", "amishare", "partner", "--namespace", crate::release::IMAGES, "--timeout=60s"]);
        release.wait_holders(IMAGE, &[A, B]).await;
        assert_eq!(written(), 1, "it has found all as it was, and did only what it was asked for");
    });
}
