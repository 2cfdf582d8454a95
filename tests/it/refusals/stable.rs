//! Messages are stable, and hold nothing that a reader of the object should not see.

use amishare::simulator::{Fault, FaultKind};
use kube::{Api, api::ApiResource, api::DynamicObject};

use super::{always, changes, wait_calls, with_accounts};
use crate::harness::{Setup, World};

/// An error with a text in which request ids and session names are written in every way that AWS writes them.
fn error(id: &str, session: &str) -> FaultKind {
    FaultKind::Error {
        status: 400,
        code: "OddFailure".into(),
        message: format!(
            "User: arn:aws:sts::999988887777:assumed-role/amishare/{session} is not authorized to do this (Service: Ec2, \
             Status Code: 400, Request ID: {id}) (requestId={id}) RequestId:{id}; [{id}] Encoded authorization failure \
             message: {id}{session}"
        ),
    }
}

const FIRST: &str = "59dbff89-35bd-4eac-99ed-be587ed81825";
const SECOND: &str = "60BC441D-FA2C-494D-B155-5D6A3FE81825";

/// The whole object as the API server has it, its version included.
async fn stored(world: &World, name: &str) -> DynamicObject {
    let resource = ApiResource::erase::<amishare::api::AmiShare>(&());
    Api::namespaced_with(world.client.clone(), world.namespace(), &resource).get(name).await.unwrap()
}

#[tokio::test]
async fn failures_that_differ_only_in_request_id_and_session_are_the_same_failure() {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(always(error(FIRST, "1700000001"), "DescribeImages"));
    world.apply("base", &with_accounts(&["111122223333"])).await;
    let message = world.wait_ready("base", "False", "AwsRefused").await;
    for volatile in [FIRST, "1700000001", "Encoded"] {
        assert!(!message.contains(volatile), "{volatile}: {message}");
    }
    assert!(message.contains("assumed-role/amishare is not authorized to do this"), "{message}");
    let before = stored(&world, "base").await;
    world.aws.clear_faults();
    world.aws.add_fault(always(error(SECOND, "1700000002"), "DescribeImages"));
    world.aws.clear_calls();
    wait_calls(&world, "DescribeImages", 2).await;
    assert_eq!(stored(&world, "base").await, before, "a write of the status for nothing");
    let events = world.events("base").await;
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn a_failed_change_reads_the_same_every_time() {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(Fault::new(FaultKind::Throttle).on("ModifyImageAttribute"));
    world.apply("base", &with_accounts(&["222233334444", "111122223333"])).await;
    world.wait_ready("base", "False", "Throttled").await;
    let before = stored(&world, "base").await;
    world.aws.clear_calls();
    // The SDK sends each call three times.
    wait_calls(&world, "ModifyImageAttribute", 4).await;
    assert!(changes(&world) >= 4);
    assert_eq!(stored(&world, "base").await, before, "a write of the status for nothing");
}

#[tokio::test]
async fn no_credential_is_in_what_an_object_says() {
    let world = World::start(Setup::default()).await;
    world.aws.add_fault(Fault::new(FaultKind::ResetBefore));
    world.apply("base", &with_accounts(&["111122223333"])).await;
    let message = world.wait_ready("base", "False", "AwsUnavailable").await;
    assert!(message.contains("AWS could not be reached"), "{message}");
    let said =
        serde_json::to_string(&world.status("base").await).unwrap() + &format!("{:?}", world.events("base").await);
    for secret in ["secret", "AWS4-HMAC", "Credential=", "Signature", "X-Amz"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
}
