//! Which addresses HTTP Tasks and the authorization of connections may call.
//!
//! In this order: an address that `deny` names is refused; if `allow` names addresses, it and no other is called; and what
//! belongs to one link or to nobody is refused, as are the metadata services of clouds, which hand out the machine's own
//! credentials. The rules are about addresses, not names: they are asked once a name is resolved.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::Settings;

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, rest)| (address, Some(rest)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(most), str::parse).map_err(|_| ())?;
        if length > most { Err(()) } else { Ok(Network { address, length }) }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let shifted = |bits: u128, width: u8| bits.checked_shr(u32::from(width - self.length)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                shifted(own.to_bits().into(), 32) == shifted(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                shifted(own.to_bits(), 128) == shifted(other.to_bits(), 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Refused unless `allow` names them: this host, one link, multicast, the metadata services of AWS by IPv6 and of others,
/// and IPv6's ways to say a link-local address of IPv4.
const NEVER: [&str; 10] = [
    "0.0.0.0/8",
    "169.254.0.0/16",
    "100.100.100.200",
    "224.0.0.0/4",
    "::",
    "fe80::/10",
    "fd00:ec2::/32",
    "ff00::/8",
    "64:ff9b::a9fe:0/112",
    "2002:a9fe::/32",
];

/// Where HTTP without TLS is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// Nowhere, as on AWS.
    #[default]
    Never,
    /// To this machine.
    Loopback,
}

/// What the operator decides.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Where HTTP without TLS is spoken.
    pub plain: Plain,
    /// Addresses that are called, and no other, if there are any.
    pub allow: Vec<Network>,
    /// Addresses that are not called.
    pub deny: Vec<Network>,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

impl Rules {
    /// What the file says.
    pub fn read(settings: &Settings) -> Rules {
        let networks = |key: &str| -> Vec<Network> {
            settings.list(&["http", key]).iter().filter_map(|text| text.parse().ok()).collect()
        };
        Rules {
            plain: match settings.text(&["http", "plain"]) {
                Some("loopback") => Plain::Loopback,
                _ => Plain::Never,
            },
            allow: networks("allow"),
            deny: networks("deny"),
            ca_file: settings.path(&["http", "ca_file"]),
        }
    }

    /// Whether an address may be called.
    pub fn admit(&self, address: IpAddr) -> Result<(), Denied> {
        let address = address.to_canonical();
        let names = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        if names(&self.deny) {
            return Err(Denied { address, why: "http.deny names it" });
        }
        if !self.allow.is_empty() {
            let why = "http.allow does not name it";
            return if names(&self.allow) { Ok(()) } else { Err(Denied { address, why }) };
        }
        let never: Vec<Network> = NEVER.iter().filter_map(|text| text.parse().ok()).collect();
        let why = "link-local and metadata addresses are not called unless http.allow names them";
        if names(&never) { Err(Denied { address, why }) } else { Ok(()) }
    }
}

/// An address that is not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    address: IpAddr,
    why: &'static str,
}

impl Denied {
    /// By another rule than those on addresses.
    pub fn new(address: IpAddr, why: &'static str) -> Denied {
        Denied { address, why }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "The address {} may not be called from this server: {}", self.address, self.why)
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(rules: &Rules, address: &str) -> bool {
        rules.admit(address.parse().expect("an address")).is_ok()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().expect("a network")).collect()
    }

    #[test]
    fn metadata_and_link_local_addresses_are_refused_however_they_are_written() {
        let rules = Rules::default();
        for refused in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
        ] {
            assert!(!admits(&rules, refused), "{refused}");
        }
        for called in ["127.0.0.1", "::1", "10.0.0.1", "93.184.216.34", "2606:2800::1"] {
            assert!(admits(&rules, called), "{called}");
        }
    }

    #[test]
    fn deny_comes_before_allow_and_allow_before_the_built_in_refusals() {
        let allow = networks(&["10.0.0.0/8", "169.254.1.1", "fd00::/8"]);
        let rules = Rules { allow, deny: networks(&["10.1.0.0/16"]), ..Rules::default() };
        for called in ["10.2.0.1", "169.254.1.1", "fd12::1"] {
            assert!(admits(&rules, called), "{called}");
        }
        for refused in ["10.1.2.3", "93.184.216.34", "169.254.1.2", "::1"] {
            assert!(!admits(&rules, refused), "{refused}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "example.com", "10.0.0.0/-1", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let everything: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(everything.contains(IpAddr::from([9, 9, 9, 9])));
    }
}
