//! `amishare check`: whether an operator answers. `helm test` runs it, because the image has no shell.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::bail;
use axum::http::Uri;
use clap::Args;
use tokio::time::Instant;

use crate::{api::Interval, runtime::shutdown};

/// The longest that one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How much of an answer is read: more than any probe says.
const LENGTH: u64 = 4096;
/// How often a page that does not answer is asked for again.
const POLL: Duration = Duration::from_millis(500);

/// What must answer.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Pages that must answer with 200, such as `http://ami-share-operator.images.svc:8081/readyz`.
    #[arg(required = true, value_name = "URL", value_parser = page)]
    pages: Vec<Uri>,

    /// How long all of them together have for it.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    timeout: Interval,
}

fn page(text: &str) -> Result<Uri, String> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() => Ok(uri),
        _ => Err("a page such as http://127.0.0.1:8081/readyz".into()),
    }
}

/// Waits until all pages answer with 200, or somebody asks it to stop.
pub(super) async fn check(args: CheckArgs) -> anyhow::Result<()> {
    // The first process of a container gets no signal that it does not listen for: its pod would be half a minute about to end.
    let stop = shutdown::on_signal()?;
    let Some(answered) = stop.run_until_cancelled(all_answer(args)).await else {
        bail!("stopped before all pages have answered");
    };
    answered
}

async fn all_answer(args: CheckArgs) -> anyhow::Result<()> {
    let deadline = Instant::now() + args.timeout.as_duration();
    for page in args.pages {
        loop {
            let asked = page.clone();
            let seen = match tokio::task::spawn_blocking(move || ask(&asked)).await? {
                Ok(answer) if answer.starts_with("200 ") => {
                    println!("{page} answers");
                    break;
                }
                Ok(answer) => answer,
                Err(error) => error.to_string(),
            };
            if Instant::now() + POLL > deadline {
                bail!("{page} does not answer with 200 within {}; it says: {}", args.timeout, seen.trim());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// The status and the beginning of the body, in one text.
fn ask(page: &Uri) -> io::Result<String> {
    let host = page.host().unwrap_or_default();
    let mut failed = io::Error::other("its name has no address");
    for address in (host.trim_matches(['[', ']']), page.port_u16().unwrap_or(80)).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(stream) => return answer(stream, host, page),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn answer(mut stream: TcpStream, host: &str, page: &Uri) -> io::Result<String> {
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(stream, "GET {} HTTP/1.0\r\nHost: {host}\r\n\r\n", page.path())?;
    let mut bytes = Vec::new();
    stream.take(LENGTH).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or("no HTTP");
    Ok(format!("{status} {body}"))
}
