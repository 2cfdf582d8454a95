//! What a user sees first: the chart is installed, its pods run, and the samples do what they say.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use amishare::simulator::{Image, ImageState};

use crate::{
    cluster::on_cluster,
    release::{A, B, C, ENCRYPTED, IMAGE, IMAGES, NAME, REGION, container},
    render::repository,
    wait::eventually,
};

#[test]
fn the_samples_become_ready_in_a_cluster_that_enforces_pod_security_restricted() {
    on_cluster("the chart is installed and the samples become ready", async |release| {
        let notes = release.install(&[]);
        assert!(notes.contains("is installed in namespace ami-share-operator"), "{notes}");
        assert_eq!(release.ready_pods().len(), 2, "--wait has waited for both");
        release.apply_samples().await;
        release.wait_holders(IMAGE, &[A, B, C]).await;
        let may_copy = release.aws.create_volume_permissions(REGION, "snap-0123456789abcdef0");
        assert_eq!(may_copy, BTreeSet::from([A.to_owned(), B.to_owned()]));
        let observer = release.wait_ready("audit", "False", "ChangesPending").await;
        assert!(observer.contains(A), "{observer}");
        assert_eq!(release.holders("ami-0aaaaaaaaaaaaaaa2").len(), 1, "and it has changed nothing");
        let restarts: Vec<_> =
            release.pods().iter().map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].clone()).collect();
        assert_eq!(restarts, [0, 0]);
    });
}

#[test]
fn an_encrypted_image_can_be_launched_by_whom_the_operator_has_shared_it_with_until_the_share_is_gone() {
    on_cluster("the key of an encrypted image is opened and closed", async |release| {
        release.install(&[]);
        release.apply_samples().await;
        let launches = |account| release.aws.can_launch(REGION, ENCRYPTED, account);
        assert_eq!((launches(A), launches(B)), (Ok(()), Ok(())));
        assert!(launches(C).is_err());
        let names = release.grants();
        assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("amishare-dev/")), "{names:?}");
        let consumers = &release.get("amishare/encrypted", IMAGES)["status"]["consumers"];
        assert_eq!((&consumers["able"], &consumers["unable"]), (&2.into(), &0.into()));
        let metrics = release.page(&release.leader(), 8080, "/metrics").unwrap();
        let counted = metrics.lines().any(|line| line.contains("service=\"kms\"") && line.contains("CreateGrant"));
        assert!(counted, "calls to KMS are counted like others");
        release.kubectl(&["delete", "amishare", "encrypted", "--namespace", IMAGES, "--timeout=60s"]);
        assert!(release.grants().is_empty() && release.holders(ENCRYPTED).is_empty());
    });
}

#[test]
fn the_sample_of_a_distribution_is_copied_and_shared_and_deleted_when_that_is_asked_for() {
    on_cluster("images are copied to other Regions", async |release| {
        release.install(&[]);
        let sample = repository().join("config/samples/distribution.yaml").display().to_string();
        release.kubectl(&["apply", "--namespace", IMAGES, "--filename", &sample]);
        release.wait_object_ready("amd/base", "True", "Synced").await;
        let copies = |region: &str| -> Vec<String> {
            release.aws.with_world(|aws| {
                let is_there = |image: &&Image| image.state != ImageState::Deregistered;
                let here = aws.regions.get(region).map(|here| here.images.values().filter(is_there));
                here.into_iter().flatten().map(|image| image.id.clone()).collect()
            })
        };
        let asia = copies("ap-southeast-2");
        assert_eq!((copies("eu-west-1").len(), asia.len()), (1, 1));
        assert_eq!(release.aws.can_launch("ap-southeast-2", &asia[0], A), Ok(()), "its key has been opened, too");
        let patch = r#"{"spec": {"deletionPolicy": "Delete"}}"#;
        release.kubectl(&["patch", "amd", "base", "--namespace", IMAGES, "--type=merge", "--patch", patch]);
        release.kubectl(&["delete", "amd", "base", "--namespace", IMAGES, "--timeout=60s"]);
        assert!(copies("eu-west-1").is_empty() && copies("ap-southeast-2").is_empty());
        assert!(release.holders("ami-0aaaaaaaaaaaaaaa1").is_empty(), "the source stays, and is not shared any more");
    });
}

#[test]
fn helm_test_finds_the_operator_by_its_name_and_fails_when_it_is_gone() {
    on_cluster("helm test passes", async |release| {
        release.install(&[]);
        let said = release.helm(&["test", NAME, "--timeout=80s"]);
        assert!(said.contains("Phase:") && said.contains("Succeeded"), "{said}");
        // The Pod of the test asks for as long as it is given; then it is not there any more to be asked.
        release.kubectl(&["scale", &format!("deployment/{NAME}"), "--replicas=0", "--namespace", NAME]);
        eventually("both pods are gone", || async {
            let pods = release.pods();
            if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await;
        let error = release.try_helm(&["test", NAME, "--timeout=6s"]).unwrap_err();
        let pod = format!("{NAME}-test");
        assert!(error.contains(&pod), "{error}");
        let begun = Instant::now();
        release.kubectl(&["delete", "pod", &pod, "--namespace", NAME]);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it ends when it is told to, and not when it is killed for that"
        );
    });
}

#[test]
fn the_image_holds_no_shell_and_no_simulator_and_its_process_may_do_nothing() {
    on_cluster("the image is what docs/image.md says", async |release| {
        release.install(&[]);
        let pod = release.pods().remove(0);
        let name = crate::release::name(&pod);
        let execute = |command: &[&str]| {
            let all = [&["exec", &name, "--namespace", NAME, "--"], command].concat();
            tokio::task::block_in_place(|| release.cluster.kubectl(&all, ""))
        };
        assert_eq!(
            execute(&["/amishare", "--version"]).unwrap().trim(),
            concat!("amishare ", env!("CARGO_PKG_VERSION"))
        );
        let help = execute(&["/amishare", "--help"]).unwrap();
        assert!(help.contains("Run the operator") && !help.contains("simulate"), "{help}");
        for shell in ["sh", "/bin/sh", "/bin/bash", "/busybox/sh"] {
            execute(&[shell, "-c", "true"]).unwrap_err();
        }
        let Some(processes) = release.cluster.processes(&container(&pod)) else { return };
        // What ran for `exec` may still be there.
        for status in processes {
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
                line.unwrap_or_else(|| panic!("no {name} in {status}")).to_owned()
            };
            assert_eq!(field("Uid"), "65532\t65532\t65532\t65532");
            assert_eq!(field("Gid"), "65532\t65532\t65532\t65532");
            for capabilities in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
                assert_eq!(field(capabilities), "0000000000000000", "{capabilities}");
            }
            assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".into(), "2".into()));
        }
    });
}
