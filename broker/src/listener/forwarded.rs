//! What a trusted proxy says of the client behind it. Nobody else's `X-Forwarded-*` is looked at.

use std::net::IpAddr;

use http::HeaderMap;
use sealq_config::ProxyNetwork;

/// Client address and whether it came over TLS.
pub(super) struct Client {
    pub(super) peer: IpAddr,
    pub(super) secure: bool,
}

/// The client behind `peer`, which connected with `tls` or without.
///
/// A trusted proxy's `X-Forwarded-Proto` decides when it is there, in both directions: over TLS from the proxy a
/// client that spoke plain HTTP to it was still not secure. Of `X-Forwarded-For` the last address counts that is no
/// trusted proxy itself; what stands before it, the client may have written.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, tls: bool, trusted: &[ProxyNetwork]) -> Client {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return Client { peer, secure: tls };
    }
    // Of several values the one that the nearest proxy added is the last.
    let secure = last(headers, "x-forwarded-proto").map_or(tls, |proto| proto.eq_ignore_ascii_case("https"));
    let mut behind = peer;
    'fields: for field in headers.get_all("x-forwarded-for").iter().rev() {
        for address in field.to_str().unwrap_or_default().rsplit(',') {
            let Ok(address) = address.trim().parse::<IpAddr>() else { break 'fields };
            behind = address.to_canonical();
            if !is_trusted(behind) {
                break 'fields;
            }
        }
    }
    Client { peer: behind, secure }
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let field = headers.get_all(name).iter().next_back()?;
    Some(field.to_str().unwrap_or_default().rsplit(',').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, tls: bool, fields: &[(&'static str, &'static str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let client = client(&headers, peer.parse().unwrap(), tls, &trusted);
        (client.peer.to_string(), client.secure)
    }

    #[test]
    fn strangers_cannot_claim_tls_or_another_address() {
        let fields = [("x-forwarded-proto", "https"), ("x-forwarded-for", "1.1.1.1")];
        assert_eq!(ask("192.0.2.1", false, &fields), ("192.0.2.1".to_owned(), false));
        assert_eq!(ask("192.0.2.1", true, &[("x-forwarded-proto", "http")]), ("192.0.2.1".to_owned(), true));
    }

    #[test]
    fn a_trusted_proxy_speaks_for_its_client() {
        let fields = [("x-forwarded-proto", "https"), ("x-forwarded-for", "6.6.6.6, 192.0.2.9, 10.1.1.1")];
        assert_eq!(ask("10.0.0.1", false, &fields), ("192.0.2.9".to_owned(), true));
        assert_eq!(ask("::ffff:10.0.0.1", false, &fields), ("192.0.2.9".to_owned(), true));
    }

    #[test]
    fn plain_http_to_the_proxy_is_not_secure_even_over_tls_from_it() {
        assert_eq!(ask("10.0.0.1", true, &[("x-forwarded-proto", "http")]), ("10.0.0.1".to_owned(), false));
        assert!(ask("10.0.0.1", true, &[]).1);
        assert!(!ask("10.0.0.1", false, &[("x-forwarded-proto", "https, http")]).1);
    }

    #[test]
    fn an_unreadable_address_ends_the_search() {
        assert_eq!(ask("10.0.0.1", false, &[("x-forwarded-for", "192.0.2.9, unknown")]).0, "10.0.0.1");
    }
}
