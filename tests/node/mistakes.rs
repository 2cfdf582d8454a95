//! Upgrades that are wrong: refused before anything changes, or taken back while the old pods go on.

use serde_json::Value;

use crate::{
    cluster::on_cluster,
    release::{A, B, NAME, OTHER, Release},
};

fn deployment(release: &Release) -> Value {
    release.get(&format!("deployment/{NAME}"), NAME)["spec"].clone()
}

#[test]
fn values_that_are_wrong_are_refused_by_name_and_nothing_changes() {
    on_cluster("wrong values are refused", async |release| {
        release.install(&[]);
        let (before, pods) = (deployment(&release), release.ready_pods());
        for (wrong, part) in
            [("replicaCount=two", "replicaCount"), ("leaderElection.enabled=false", "set replicaCount=1")]
        {
            let error = release.upgrade(&[&format!("--set={wrong}")]).unwrap_err();
            assert!(error.contains(part), "{wrong}: {error}");
        }
        assert_eq!(deployment(&release), before);
        assert_eq!(release.ready_pods(), pods);
        let history = release.helm(&["history", NAME, "--output=json"]);
        let history: Value = serde_json::from_str(&history).unwrap();
        assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    });
}

#[test]
fn an_upgrade_whose_pods_never_become_ready_is_rolled_back_and_an_old_pod_works_all_the_while() {
    on_cluster("an upgrade that fails is rolled back", async |release| {
        release.install(&[]);
        release.share("before", OTHER, &[A]);
        release.wait_ready("before", "True", "Synced").await;
        let before = deployment(&release);

        // A flag that does not exist: the process ends at once, again and again.
        let release = std::sync::Arc::new(release);
        let upgrade = {
            let release = std::sync::Arc::clone(&release);
            tokio::task::spawn_blocking(move || {
                release.upgrade(&["--set=extraArgs={--no-such-flag}", "--timeout=20s", "--rollback-on-failure"])
            })
        };
        crate::wait::eventually("a new pod fails", || async {
            let pods = release.pods();
            let fails = |pod: &Value| {
                let status = &pod["status"]["containerStatuses"][0];
                status["restartCount"].as_u64() > Some(0) || status["lastState"]["terminated"].is_object()
            };
            if pods.iter().any(fails) { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await;
        release.share("before", OTHER, &[A, B]);
        release.wait_ready("before", "True", "Synced").await;
        release.wait_holders(OTHER, &[A, B]).await;
        assert!(!upgrade.is_finished(), "helm still waits for the new pods while an old one works");

        let error = upgrade.await.unwrap().unwrap_err();
        assert!(error.contains("rolled back"), "{error}");
        assert_eq!(deployment(&release)["template"], before["template"]);
        crate::wait::eventually("there are two ready pods again", || async {
            let ready = release.ready_pods();
            if ready.len() == 2 { Ok(()) } else { Err(format!("{ready:?}")) }
        })
        .await;
        release.share("before", OTHER, &[B]);
        release.wait_holders(OTHER, &[B]).await;
    });
}
