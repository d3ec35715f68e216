//! `Fn::Cidr`: blocks of IPv4 addresses cut from a larger one.

use std::net::Ipv4Addr;

/// The first `count` blocks with `bits` host bits inside `block`.
pub(super) fn blocks(block: &str, count: u32, bits: u32) -> Result<Vec<String>, String> {
    let invalid = || format!("Fn::Cidr: '{block}' is not an IPv4 address block (IPv6 is not supported)");
    let (address, length) = block.split_once('/').ok_or_else(invalid)?;
    let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
    let length: u32 = length.parse().ok().filter(|length| *length <= 32).ok_or_else(invalid)?;
    if !(1..=256).contains(&count) || bits > 32 || bits == 0 {
        return Err("Fn::Cidr takes a count from 1 to 256 and 1 to 32 bits".into());
    }
    let host_bits = 32 - length;
    let first = if host_bits == 32 { 0 } else { u32::from(address) >> host_bits << host_bits };
    if bits > host_bits || (host_bits - bits < 9 && u64::from(count) > 1 << (host_bits - bits)) {
        return Err(format!("Fn::Cidr: {block} has no room for {count} blocks of {bits} bits"));
    }
    let base = u64::from(first);
    let addresses = (0..u64::from(count)).filter_map(|index| u32::try_from(base + (index << bits)).ok());
    Ok(addresses.map(|address| format!("{}/{}", Ipv4Addr::from(address), 32 - bits)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_cut_into_smaller_ones_of_the_size_asked_for() {
        assert_eq!(blocks("10.0.0.0/16", 3, 8).expect("room"), ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]);
        assert_eq!(blocks("192.168.1.7/24", 2, 5).expect("room"), ["192.168.1.0/27", "192.168.1.32/27"]);
        assert!(blocks("10.0.0.0/24", 9, 5).is_err());
        assert!(blocks("::/64", 1, 8).is_err());
    }
}
