//! A network cable: everything between an operator and a server goes through it, and it can be cut.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A relay between a port of its own and a server. Dropped, it takes no more connections.
pub struct Link {
    pub address: SocketAddr,
    cut: watch::Sender<bool>,
    _open: DropGuard,
}

/// The calls to AWS that went through links: whose, which and when.
pub type Calls = Arc<Mutex<Vec<(usize, String, Instant)>>>;

impl Link {
    /// A link to a server.
    pub async fn to(server: SocketAddr) -> Self {
        Self::noting(server, |_| ()).await
    }

    /// A link to AWS, which notes the calls of operator `number`.
    pub async fn to_aws(server: SocketAddr, number: usize, calls: &Calls) -> Self {
        let calls = Arc::clone(calls);
        let note = move |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            for (at, _) in text.match_indices("Action=") {
                let action = text[at + 7..].chars().take_while(char::is_ascii_alphanumeric).collect();
                calls.lock().unwrap().push((number, action, Instant::now()));
            }
        };
        Self::noting(server, note).await
    }

    async fn noting(server: SocketAddr, note: impl Fn(&[u8]) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let open = CancellationToken::new();
        let closed = open.clone();
        tokio::spawn(async move {
            while let Some(Ok((near, _))) = closed.run_until_cancelled(listener.accept()).await {
                let (is_cut, note) = (is_cut.clone(), note.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(server).await else { return };
                    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                    tokio::join!(
                        relay(from_near, to_far, is_cut.clone(), note),
                        relay(from_far, to_near, is_cut, |_| ())
                    );
                });
            }
        });
        Self { address, cut, _open: open.drop_guard() }
    }

    /// Cuts it: nothing gets through, and nobody is told.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Mends it: what was on its way arrives now.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut is_cut: watch::Receiver<bool>,
    note: impl Fn(&[u8]),
) {
    let mut part = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        if is_cut.wait_for(|cut| !cut).await.is_err() {
            return;
        }
        note(&part[..length]);
        if to.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
