//! `helm upgrade` while people work.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    cluster::on_cluster,
    release::{A, B, C, IMAGE, OTHER, name},
    wait::tell,
};

#[test]
fn an_upgrade_rolls_while_shares_change_and_loses_none_of_the_changes() {
    on_cluster("helm upgrade rolls while shares change", async |release| {
        release.install(&[]);
        release.apply_samples().await;
        release.share("changing", OTHER, &[A]);
        release.wait_ready("changing", "True", "Synced").await;
        let before: BTreeSet<String> = release.pods().iter().map(name).collect();
        release.aws.clear_calls();

        let release = Arc::new(release);
        let rolled = Arc::new(AtomicBool::new(false));
        let upgrade = {
            let (release, rolled) = (Arc::clone(&release), Arc::clone(&rolled));
            tokio::task::spawn_blocking(move || {
                let said = release.upgrade(&["--set=podAnnotations.example\\.com/restarted=now"]);
                rolled.store(true, Ordering::Release);
                said
            })
        };
        // Somebody who comes and goes, beside somebody who stays.
        let listed = |change: u32| -> &[&str] { if change.is_multiple_of(2) { &[A] } else { &[A, B] } };
        let mut changes = 0_u32;
        tokio::task::block_in_place(|| {
            while !rolled.load(Ordering::Acquire) {
                changes += 1;
                release.share("changing", OTHER, listed(changes));
                thread::yield_now();
            }
        });
        upgrade.await.unwrap().unwrap();
        assert!(changes >= 10, "{changes} changes while it rolled are too few to mean anything");
        let after: BTreeSet<String> = release.pods().iter().map(name).collect();
        assert!(before.is_disjoint(&after) && after.len() == 2, "{before:?} {after:?}");
        assert_eq!(release.ready_pods(), after);

        // The last change is what counts, whoever was there to see it.
        release.wait_ready("changing", "True", "Synced").await;
        release.wait_holders(OTHER, listed(changes)).await;
        release.share("changing", OTHER, &[A, C]);
        release.wait_holders(OTHER, &[A, C]).await;

        // And meanwhile nobody lost what no change took away.
        assert_eq!(release.holders(IMAGE), [A, B, C].map(str::to_owned).into());
        let mut given = 0;
        for call in release.aws.calls() {
            for (key, value) in &call.params {
                assert!(!key.contains("Remove") || value == B, "{value} was taken off {:?}", call.params);
                given += u32::from(key.starts_with("LaunchPermission.Add") && value == B);
            }
        }
        tell(&format!("    {changes} changes while the pods rolled, of which AWS saw {given} additions"));
        assert!(given > 1, "the operator went on while it rolled");
    });
}
