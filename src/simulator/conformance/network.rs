//! The server over a real connection: keep-alive, resets, stalls and delays.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

use super::harness::{Aws, FRIEND, IMAGE, OWNER, form};
use crate::simulator::{Fault, FaultKind};

struct Server {
    aws: Aws,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let aws = Aws::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let simulator = aws.0.clone();
        let running = tokio::spawn(async move {
            let stop = async move {
                let _ = stopped.await;
            };
            simulator.serve(listener, stop).await
        });
        Self { aws, address, stop, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection with a request on it that shares the image.
    async fn send(&self) -> TcpStream {
        let mut stream = self.connect().await;
        write(&mut stream).await;
        stream
    }
}

async fn write(stream: &mut TcpStream) {
    let body =
        form("2016-11-15", "ModifyImageAttribute", &[("ImageId", IMAGE), ("LaunchPermission.Add.1.UserId", FRIEND)]);
    let head = format!(
        "POST / HTTP/1.1\r\nhost: simulator\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={OWNER}/20261121/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

/// Reads until the text has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended after: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn several_requests_are_answered_on_one_connection() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        write(&mut stream).await;
        let text = read_until(&mut stream, "</ModifyImageAttributeResponse>").await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("x-amzn-requestid: "), "{text}");
        assert!(text.contains("content-type: text/xml;charset=UTF-8"), "{text}");
    }
}

#[tokio::test]
async fn a_reset_is_one_for_the_client_whether_before_or_after_the_effect() {
    for (kind, has_effect) in [(FaultKind::ResetBefore, false), (FaultKind::ResetAfter, true)] {
        let server = Server::start().await;
        server.aws.0.add_fault(Fault::new(kind).times(1));
        let mut stream = server.send().await;
        let error = stream.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(!server.aws.launch_permissions(IMAGE).is_empty(), has_effect);
        let mut next = server.send().await;
        read_until(&mut next, "</ModifyImageAttributeResponse>").await;
    }
}

#[tokio::test]
async fn a_stall_sends_the_headers_and_half_of_the_body_and_then_nothing() {
    let server = Server::start().await;
    server.aws.0.add_fault(Fault::new(FaultKind::Stall).times(1));
    let mut stream = server.send().await;
    let mut text = read_until(&mut stream, "\r\n\r\n<?xml").await;
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let length: usize = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let half = head.len() + 4 + length / 2;
    while text.len() < half {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended after: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    assert_eq!(text.len(), half);
    // That nothing comes can only be seen by waiting; the time decides nothing but how sure the test is.
    assert!(timeout(Duration::from_millis(50), stream.read(&mut [0; 64])).await.is_err());
    assert_eq!(server.aws.launch_permissions(IMAGE), [FRIEND]);
}

#[tokio::test]
async fn a_delayed_answer_comes_late_and_its_effect_does_not() {
    let server = Server::start().await;
    server.aws.0.add_fault(Fault::new(FaultKind::Delay { milliseconds: 40 }).times(1));
    let before = std::time::Instant::now();
    let mut stream = server.send().await;
    read_until(&mut stream, "</ModifyImageAttributeResponse>").await;
    assert!(before.elapsed() >= Duration::from_millis(40));
    assert_eq!(server.aws.launch_permissions(IMAGE), [FRIEND]);
}

#[tokio::test(start_paused = true)]
async fn a_latency_keeps_every_answer_back_and_not_its_effect() {
    let server = Server::start().await;
    server.aws.0.set_latency(Duration::from_millis(100), Duration::ZERO);
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let begin = Instant::now();
        write(&mut stream).await;
        read_until(&mut stream, "</ModifyImageAttributeResponse>").await;
        assert!((100..110).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    }
    server.aws.0.clear_calls();
    server.aws.0.set_latency(Duration::from_hours(1), Duration::ZERO);
    write(&mut stream).await;
    // Without waiting for anything: paused time would run on to the answer.
    while server.aws.0.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(timeout(Duration::from_mins(59), stream.read(&mut [0; 64])).await.is_err());
}

#[tokio::test]
async fn a_stop_ends_the_server_even_while_an_answer_stalls() {
    let server = Server::start().await;
    server.aws.0.add_fault(Fault::new(FaultKind::Stall));
    let mut stream = server.send().await;
    read_until(&mut stream, "\r\n\r\n").await;
    server.stop.send(()).unwrap();
    server.running.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
