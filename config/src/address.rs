//! Addresses in the settings: where a listener listens, and which proxies are believed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a listener listens: `IP:PORT`, or nothing (`""`) when it is turned off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenAddress(Option<SocketAddr>);

impl ListenAddress {
    /// The listener is turned off.
    pub const OFF: Self = Self(None);

    /// Listens at `address`. Port 0 takes a free port.
    pub const fn at(address: SocketAddr) -> Self {
        Self(Some(address))
    }

    /// The address, unless the listener is turned off.
    pub const fn socket(self) -> Option<SocketAddr> {
        self.0
    }
}

/// Text that is no listening address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{text}` is no listening address: IP:PORT is expected, as in \"127.0.0.1:9324\" or \"[::]:9324\", or \"\" to turn the listener off"
)]
pub struct ListenAddressError {
    text: String,
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        if text.is_empty() {
            return Ok(Self::OFF);
        }
        text.parse().map(Self::at).map_err(|_| ListenAddressError { text: text.to_owned() })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

/// Addresses of proxies whose `X-Forwarded-*` fields are believed: one (`10.0.0.7`) or a network (`10.0.0.0/8`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyNetwork(IpNet);

impl ProxyNetwork {
    /// Whether `peer` is one of them. An IPv4 address inside IPv6 (`::ffff:…`) counts as the IPv4 address.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.contains(&peer.to_canonical())
    }
}

/// Text that is neither an address nor a network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is neither an IP address nor a network such as \"10.0.0.0/8\"")]
pub struct ProxyNetworkError {
    text: String,
}

impl FromStr for ProxyNetwork {
    type Err = ProxyNetworkError;

    fn from_str(text: &str) -> Result<Self, ProxyNetworkError> {
        let refuse = |_| ProxyNetworkError { text: text.to_owned() };
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self(IpNet::from(address))),
            Err(_) => text.parse().map(Self).map_err(refuse),
        }
    }
}

impl fmt::Display for ProxyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// Both types are text in the settings.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
as_text!(ListenAddress);
as_text!(ProxyNetwork);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_address_turns_the_listener_off() {
        assert_eq!("".parse(), Ok(ListenAddress::OFF));
        assert_eq!(ListenAddress::OFF.to_string(), "");
    }

    #[test]
    fn a_host_name_is_no_listening_address() {
        assert!("localhost:9324".parse::<ListenAddress>().is_err());
        assert!("127.0.0.1".parse::<ListenAddress>().is_err());
        assert!("127.0.0.1:70000".parse::<ListenAddress>().is_err());
    }

    #[test]
    fn a_proxy_is_one_address_or_a_network() {
        let network: ProxyNetwork = "10.0.0.0/8".parse().unwrap();
        assert!(network.contains("10.1.2.3".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!network.contains("11.1.2.3".parse().unwrap()));
        let one: ProxyNetwork = "::1".parse().unwrap();
        assert!(one.contains("::1".parse().unwrap()));
        assert_eq!(one.to_string(), "::1");
        assert!("proxy.example".parse::<ProxyNetwork>().is_err());
    }
}
