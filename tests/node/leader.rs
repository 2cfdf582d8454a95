//! The leader dies, as pods do.

use std::time::{Duration, Instant};

use crate::{
    cluster::on_cluster,
    release::{A, B, C, IMAGE, OTHER, container, name},
    wait::{eventually, tell},
};

#[test]
fn the_standby_takes_over_from_a_leader_that_is_killed_and_nothing_is_taken_back_meanwhile() {
    on_cluster("the standby takes over", async |release| {
        release.install(&[]);
        release.apply_samples().await;
        release.wait_holders(IMAGE, &[A, B, C]).await;
        let leader = release.leader();
        let pods = release.pods();
        let killed = pods.iter().find(|pod| name(pod) == leader).expect("a pod leads");
        let standby = name(pods.iter().find(|pod| name(pod) != leader).expect("another one stands by"));
        release.aws.clear_calls();
        // Nobody comes in its place for now: another new process could be as quick as who stands by.
        release.allow_pods(1);
        release.cluster.crash(crate::release::NAME, &leader, &container(killed));
        let died = Instant::now();

        // Nobody works now. What is declared meanwhile is not lost.
        release.share("meanwhile", OTHER, &[A]);
        release.wait_ready("meanwhile", "True", "Synced").await;
        let after = died.elapsed();
        release.wait_holders(OTHER, &[A]).await;
        eventually("whoever stood by leads now", || async {
            let leader = release.leader();
            if leader == standby { Ok(()) } else { Err(leader) }
        })
        .await;
        release.share("meanwhile", OTHER, &[A, B]);
        release.wait_holders(OTHER, &[A, B]).await;
        // 15 s of the lease, at most 2 s until the standby looks at it again, and some for a busy machine.
        assert!(after < Duration::from_secs(40), "{after:?}");
        tell(&format!(
            "    a share declared after the leader was killed was in AWS {:.1} s after the kill",
            after.as_secs_f32()
        ));

        release.allow_pods(10);
        // Whoever makes pods has been refused again and again, and waits longer and longer, unless something happens.
        release.kubectl(&["annotate", "pod", &standby, "example.com/touched=now", "--namespace", crate::release::NAME]);
        eventually("there are two ready pods again", || async {
            let ready = release.ready_pods();
            if ready.len() == 2 { Ok(()) } else { Err(format!("{ready:?}")) }
        })
        .await;
        let taken = release.aws.calls().into_iter().filter(|call| call.params.keys().any(|key| key.contains("Remove")));
        assert_eq!(taken.count(), 0, "nobody has lost anything");
        assert_eq!(release.holders(IMAGE).len(), 3);
    });
}
