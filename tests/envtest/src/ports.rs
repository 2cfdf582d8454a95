//! Free ports. Somebody else may take one before a server binds it: the control plane then starts again with others.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// `N` different ports that were free on 127.0.0.1 a moment ago.
pub(crate) fn free<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    // All stay bound until all are chosen, else the kernel could give the same one twice.
    let mut bound = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        bound.push(listener);
    }
    Ok(ports)
}

/// Whether something listens on this port.
pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(1)).is_ok()
}

/// Whether a server's log says that its port was taken.
pub(crate) fn clash(log: &str) -> bool {
    log.contains("address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
