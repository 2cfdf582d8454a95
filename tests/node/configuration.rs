//! The configuration file as pods have it: in a `ConfigMap` that their kubelet mounts.

use crate::{
    cluster::on_cluster,
    release::{A, B, C, NAME, OTHER, Release},
    wait::eventually,
};

/// Guard rails that let images be shared with one account, as a flag of helm.
fn only(account: &str) -> String {
    format!(
        r#"--set-json=settings.guardrails=[{{"name":"only","namespaces":["*"],"shareWith":{{"accountIds":["{account}"]}}}}]"#
    )
}

/// The same with a field that does not exist: read leniently, it would let everybody through. The chart's schema knows the fields.
const MISSPELLED: &str = r#"--set-json=settings.guardrails=[{"name":"only","namespaces":["*"],"shareWiht":{"accountIds":["777788889999"]}}]"#;

/// What the schema cannot know and the operator does: no Region is called so.
const MISTAKE: &str = r#"--set-json=settings.guardrails=[{"name":"only","namespaces":["*"],"regions":["us_east_1"]}]"#;

/// Waits until a pod says whether its configuration file is in force.
async fn wait_valid(release: &Release, pod: &str, valid: bool) {
    let line = format!("amishare_configuration_valid {}", u8::from(valid));
    eventually(&format!("{pod} says {line}"), || async {
        match release.page(pod, 8080, "/metrics") {
            Ok(metrics) if metrics.lines().any(|seen| seen == line) => Ok(()),
            Ok(metrics) => {
                Err(metrics.lines().find(|seen| seen.contains("configuration_valid ")).unwrap_or("-").to_owned())
            }
            Err(error) => Err(error),
        }
    })
    .await;
}

#[test]
fn a_bad_configuration_is_refused_the_old_one_stays_and_the_next_good_one_is_in_force_without_a_restart() {
    on_cluster("a bad configuration is refused", async |release| {
        release.install(&[&only(A)]);
        let pods = release.ready_pods();
        release.share("guarded", OTHER, &[A, B]);
        release.wait_ready("guarded", "False", "GuardrailDenied").await;
        release.wait_holders(OTHER, &[A]).await;

        let refused = release.upgrade(&[MISSPELLED]).unwrap_err();
        assert!(refused.contains("shareWiht"), "{refused}");
        release.upgrade(&[MISTAKE]).unwrap();
        for pod in &pods {
            wait_valid(&release, pod, false).await;
        }
        release.share("guarded", OTHER, &[A, B, C]);
        let message = release.wait_ready("guarded", "False", "GuardrailDenied").await;
        assert!(message.contains(B) && message.contains(C), "the old rule is in force: {message}");
        assert_eq!(release.holders(OTHER), [A.to_owned()].into());
        let log = release.kubectl(&["logs", &release.leader(), "--namespace", NAME]);
        assert!(log.contains("guardrails[0].regions[0]"), "the log names the field:\n{log}");

        // A process that starts now has no old one to go on with. It must not work with fewer rules than were written.
        let standby = pods.iter().find(|pod| **pod != release.leader()).expect("one stands by").clone();
        release.kubectl(&["delete", "pod", &standby, "--namespace", NAME]);
        eventually("the new pod ends with the error", || async {
            let new = release.pods().into_iter().find(|pod| !pods.contains(&crate::release::name(pod)));
            let new = new.ok_or("there is no new pod")?;
            let status = &new["status"]["containerStatuses"][0];
            if status["restartCount"].as_u64() > Some(0) { Ok(()) } else { Err(status.to_string()) }
        })
        .await;

        release.upgrade(&[&only(B)]).unwrap();
        release.wait_holders(OTHER, &[B]).await;
        let leader = release.leader();
        assert!(pods.contains(&leader), "no restart was needed");
        wait_valid(&release, &leader, true).await;
    });
}
