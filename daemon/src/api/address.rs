//! Who asks: the peer's address, or what a trusted proxy says of it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::Shared;

/// The client's address, as an extension of each request that came over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Puts [`ClientAddress`] into the request.
pub async fn identify(State(state): State<Shared>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        let address = client_address(peer.ip(), request.headers(), &state.settings().trusted_proxies);
        request.extensions_mut().insert(ClientAddress(address));
    }
    next.run(request).await
}

/// The address that counts. `X-Forwarded-For` is read from its end, because each proxy appends whom it
/// heard: the first entry that is no trusted proxy is the client. What a stranger writes there is not read.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = peer.to_canonical();
    let chain: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for entry in chain.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !is_trusted(address) {
            break;
        }
        let Some(next) = parse(entry.trim()) else { break };
        address = next.to_canonical();
    }
    address
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5`.
fn parse(entry: &str) -> Option<IpAddr> {
    entry
        .parse()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(seen("127.0.0.1", &["9.9.9.9"], &[]), "127.0.0.1");
        assert_eq!(seen("8.8.8.8", &["9.9.9.9"], &["127.0.0.0/8"]), "8.8.8.8");
        assert_eq!(seen("127.0.0.1", &["9.9.9.9"], &["127.0.0.0/8"]), "9.9.9.9");
        assert_eq!(seen("::ffff:127.0.0.1", &["9.9.9.9:4000"], &["127.0.0.0/8"]), "9.9.9.9");
    }

    #[test]
    fn a_forged_beginning_of_the_chain_is_not_read() {
        assert_eq!(seen("127.0.0.1", &["1.1.1.1, 9.9.9.9"], &["127.0.0.0/8"]), "9.9.9.9");
        assert_eq!(seen("127.0.0.1", &["1.1.1.1", "9.9.9.9, 10.0.0.2"], &["127.0.0.0/8", "10.0.0.0/8"]), "9.9.9.9");
        assert_eq!(seen("127.0.0.1", &["9.9.9.9, nonsense"], &["127.0.0.0/8"]), "127.0.0.1");
        assert_eq!(seen("127.0.0.1", &["[2001:db8::1]:99"], &["127.0.0.0/8"]), "2001:db8::1");
    }
}
