//! The simulator as the connector of an SDK client.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use tokio::time::{Instant, timeout};

use super::harness::{Aws, FRIEND, IMAGE, OWNER, form, headers, scenario};
use crate::simulator::connector::Connector;
use crate::simulator::{Fault, FaultKind, Scenario};

async fn send(aws: &Aws, read_timeout: Option<Duration>) -> Result<HttpResponse, ConnectorError> {
    let body =
        form("2016-11-15", "ModifyImageAttribute", &[("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", FRIEND)]);
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST").unwrap();
    request.set_uri("https://ec2.us-east-1.amazonaws.com/").unwrap();
    for (name, value) in &headers(OWNER, "us-east-1") {
        request.headers_mut().insert(name.as_str().to_owned(), value.to_str().unwrap().to_owned());
    }
    Connector { simulator: aws.0.clone(), read_timeout }.call(request).await
}

#[tokio::test]
async fn a_call_is_answered_as_on_the_wire() {
    let aws = Aws::new();
    let response = send(&aws, None).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(response.headers().get("x-amzn-requestid").is_some());
    let body = ByteStream::new(response.into_body()).collect().await.unwrap().to_vec();
    assert!(String::from_utf8(body).unwrap().ends_with("<return>true</return></ModifyImageAttributeResponse>"));
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
}

#[tokio::test]
async fn a_reset_is_an_error_of_the_connection() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::ResetAfter).times(1));
    let error = send(&aws, None).await.unwrap_err();
    assert!(error.is_io(), "{error:?}");
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
}

#[tokio::test]
async fn a_stall_gives_headers_and_a_body_that_does_not_end() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::Stall).times(1));
    let response = send(&aws, None).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let body = ByteStream::new(response.into_body()).collect();
    assert!(tokio::time::timeout(Duration::from_millis(100), body).await.is_err());
}

#[tokio::test]
async fn a_delay_counts_against_the_read_timeout() {
    let aws = Aws::new();
    aws.0.add_fault(Fault::new(FaultKind::Delay { milliseconds: 200 }));
    let error = send(&aws, Some(Duration::from_millis(50))).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(send(&aws, Some(Duration::from_mins(1))).await.unwrap().status().as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_latency_keeps_every_answer_back_and_not_its_effect() {
    let aws = Aws::of(Scenario { latency_milliseconds: 100, ..scenario() });
    let begin = Instant::now();
    let mut call = pin!(send(&aws, None));
    assert!(timeout(Duration::from_millis(99), &mut call).await.is_err(), "the answer does not come sooner");
    assert_eq!(aws.launch_permissions(IMAGE), [FRIEND]);
    assert_eq!(call.await.unwrap().status().as_u16(), 200);
    assert_eq!(begin.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_latency_comes_before_resets_and_refusals_too_and_on_top_of_a_delay() {
    let aws = Aws::new();
    aws.0.set_latency(Duration::from_millis(100), Duration::ZERO);
    for (kind, milliseconds) in
        [(FaultKind::ResetBefore, 100), (FaultKind::AccessDenied, 100), (FaultKind::Delay { milliseconds: 50 }, 150)]
    {
        aws.0.add_fault(Fault::new(kind.clone()).times(1));
        let begin = Instant::now();
        let _ = send(&aws, None).await;
        assert_eq!(begin.elapsed(), Duration::from_millis(milliseconds), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_latency_varies_by_its_jitter_as_the_seed_says() {
    let waits = async |seed| {
        let latency =
            Scenario { latency_milliseconds: 100, latency_jitter_milliseconds: 50, seed: Some(seed), ..scenario() };
        let aws = Aws::of(latency);
        let mut waits = Vec::new();
        for _ in 0..20 {
            let begin = Instant::now();
            send(&aws, None).await.unwrap();
            waits.push(begin.elapsed());
        }
        waits
    };
    let first = waits(1).await;
    assert!(first.iter().all(|wait| (100..=151).contains(&wait.as_millis())), "{first:?}");
    assert!(first.iter().collect::<BTreeSet<_>>().len() > 10, "{first:?}");
    assert_eq!(first, waits(1).await);
    assert_ne!(first, waits(2).await);
}
