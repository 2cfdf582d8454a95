//! Leader election: real operators on the real API server, and what they write to the simulated AWS.

mod link;
mod pair;
mod simulated;

use amishare::simulator::{Fault, FaultKind};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::Instant;

use crate::harness::{Setup, World, cluster, eventually, kubectl, process::Operator, tell, world::REGION};
use pair::{Pair, flags};

const ONE_ACCOUNT: &str = "  shareWith: {accountIds: [\"111122223333\"]}";

/// What can befall a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT when another leads.
    Pause,
    /// It no longer reaches the API server, but still AWS; what it has sent arrives when another leads.
    Partition,
    /// SIGTERM.
    Terminate,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_befalls_the_leader_no_two_replicas_write_at_once_and_none_after_its_lease() {
    let seed = std::env::var("AMISHARE_LEADER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    tell(&format!("leader election: AMISHARE_LEADER_SEED={seed}"));
    let mut chance = StdRng::seed_from_u64(seed);
    let mut blows = [Blow::Kill, Blow::Pause, Blow::Partition, Blow::Terminate].repeat(2);
    blows.shuffle(&mut chance);

    let world = World::without_operator(Setup::default()).await;
    world.apply("base", ONE_ACCOUNT).await;
    let mut pair = Pair::start(world).await;
    pair.keep_busy("base");
    for blow in blows {
        pair.complete().await;
        let mut leader = pair.take_leader(chance.random_range(1..20)).await;
        let struck = Instant::now();
        match blow {
            Blow::Kill => leader.operator.process.kill(),
            Blow::Pause => {
                leader.operator.process.signal("STOP");
                pair.taken_over().await;
                leader.operator.process.signal("CONT");
                has_lost(&mut leader.operator).await;
            }
            Blow::Partition => {
                leader.to_kubernetes.cut();
                pair.taken_over().await;
                leader.to_kubernetes.mend();
                has_lost(&mut leader.operator).await;
            }
            Blow::Terminate => {
                leader.operator.process.signal("TERM");
                let status = leader.operator.process.ended().await;
                assert_eq!(status.code(), Some(0), "{}", leader.operator.process.stderr());
            }
        }
        let took = pair.taken_over().await.duration_since(struck);
        tell(&format!("leader election: {blow:?}: the other replica writes after {:.1} s", took.as_secs_f64()));
        assert_eq!(pair.violations(), [""; 0], "AMISHARE_LEADER_SEED={seed}, after {blow:?}");
    }
    let calls = pair.calls.lock().unwrap().len();
    tell(&format!("leader election: {calls} calls to AWS, no two replicas at once"));
}

/// Waits until an operator ends because it has lost the lease.
async fn has_lost(operator: &mut Operator) {
    let status = operator.process.ended().await;
    let log = operator.process.stderr();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("amishare: lost the lease"), "{log}");
}

/// That the checks of the test above are alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_works_without_the_lease_is_found_out() {
    let world = World::without_operator(Setup::default()).await;
    world.apply("base", ONE_ACCOUNT).await;
    let mut pair = Pair::start(world).await;
    pair.keep_busy("base");
    pair.begin(false).await;
    let rogue = pair.starts[2].number;
    eventually("both write", || async {
        let counts: Vec<usize> = pair.starts.iter().map(|start| pair.writes(start.number)).collect();
        let alone = pair.writes(rogue) == 0 || counts.iter().filter(|count| **count > 0).count() < 2;
        if alone { Err(format!("{counts:?} writes")) } else { Ok(()) }
    })
    .await;
    let violations = pair.violations();
    assert!(violations.iter().any(|violation| violation.contains("never held the lease")), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_ready_and_calls_nobody_until_the_leader_gives_the_lease_back() {
    let world = World::without_operator(Setup::default()).await;
    let mut pair = Pair::start(world).await;
    pair.world.apply("base", &format!("{ONE_ACCOUNT}\n  interval: 24h")).await;
    pair.world.wait_ready("base", "True", "Synced").await;
    let mut leader = pair.take_leader(0).await;
    if pair.writes(leader.number) == 0 {
        std::mem::swap(&mut leader, &mut pair.starts[0]);
    }
    let standby = &pair.starts[0];
    leader.operator.counts(&["amishare_leader 1"]).await;
    standby.operator.counts(&["amishare_leader 0"]).await;
    assert_eq!(standby.operator.get("/readyz").await, (200, "ok\n".into()));
    assert_eq!(standby.operator.get("/healthz").await.0, 200);
    standby.operator.process.logged("stands by").await;
    leader.operator.process.signal("TERM");
    assert_eq!(leader.operator.process.ended().await.code(), Some(0));
    leader.operator.process.logged("has given the lease back").await;
    standby.operator.counts(&["amishare_leader 1"]).await;
    let others = pair.calls.lock().unwrap().iter().filter(|(number, ..)| *number == standby.number).count();
    assert_eq!(others, 0, "what the leader had finished is not looked at again");
    pair.world.check_now("base").await;
    assert_eq!(pair.violations(), [""; 0]);
}

#[tokio::test]
async fn the_lease_is_not_given_back_while_a_write_may_still_take_effect() {
    let world = World::without_operator(Setup::default()).await;
    let mut flags = flags(world.namespace());
    flags.push("--shutdown-grace=1s".into());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let plane = cluster();
    let command = &mut Operator::command(plane.kubeconfig(), &world.endpoint, &flags);
    let mut operator = Operator::start(&plane, command).await;
    operator.ready().await;
    world.aws.add_fault(Fault::new(FaultKind::Stall).on("ModifyImageAttribute").in_region(REGION));
    world.apply("base", ONE_ACCOUNT).await;
    eventually("the write is under way", || async {
        let calls = world.calls_by_action();
        if calls.contains_key("ModifyImageAttribute") { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await;
    operator.process.signal("TERM");
    assert_eq!(operator.process.ended().await.code(), Some(0));
    operator.process.logged("the lease is left to run out").await;
    let holder = world.kubectl(&["get", "lease", "amishare", "-o", "jsonpath={.spec.holderIdentity}"]).await;
    assert!(!holder.is_empty(), "the next leader waits until the lease has run out");
}

#[tokio::test]
async fn without_permission_for_leases_it_is_not_ready_and_says_what_it_needs_and_our_role_is_enough() {
    let world = World::without_operator(Setup::default()).await;
    let plane = cluster();
    let user = format!("elector-{}", world.namespace());
    let kubeconfig = plane.kubeconfig_for(&user, None).unwrap();
    let mut all = flags(world.namespace());
    all.push("--leader-election-name=ami-share-operator".into());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let operator = Operator::start(&plane, &mut Operator::command(&kubeconfig, &world.endpoint, &all)).await;
    operator.readyz(503, "leader election: waiting for permission to get, create and update leases").await;
    let namespaced = |arguments: &[&str], input: &str| {
        let all: Vec<&str> = ["--namespace", world.namespace()].iter().chain(arguments).copied().collect();
        let output = kubectl(&plane, &all, input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let role = include_str!("../../../config/rbac/leader_election_role.yaml");
    let here = format!("  namespace: {}\n", world.namespace());
    namespaced(&["apply", "-f", "-"], &role.replace("  namespace: ami-share-operator\n", &here));
    let to = format!("--user={user}");
    let role = "--role=ami-share-operator-leader-election";
    namespaced(&["create", "rolebinding", "leader-election", role, &to], "");
    operator.process.logged("leads from now on").await;
    operator.counts(&["amishare_leader 1"]).await;
}

#[tokio::test]
async fn outside_a_pod_it_asks_for_the_namespace_of_the_lease() {
    let mut command = crate::harness::process::amishare(&["run", "--leader-elect", "--health-address=127.0.0.1:0"]);
    command.arg("--metrics-address=127.0.0.1:0").env("KUBECONFIG", cluster().kubeconfig());
    let (code, _, errors) = crate::harness::process::run_to_end(&mut command).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("amishare: this is no pod: --leader-elect needs --leader-election-namespace"), "{errors}");
}
