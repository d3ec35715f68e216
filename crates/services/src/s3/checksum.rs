//! The checksums that S3 knows, and their combination over the parts of an upload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::Digest;

/// A checksum's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Algorithm {
    #[serde(rename = "CRC32")]
    Crc32,
    #[serde(rename = "CRC32C")]
    Crc32c,
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    #[serde(rename = "SHA1")]
    Sha1,
    #[serde(rename = "SHA256")]
    Sha256,
}

impl Algorithm {
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The element's name in XML.
    pub fn element(self) -> String {
        format!("Checksum{}", self.name())
    }

    /// How the checksum of an upload is made from its parts unless the caller says.
    pub fn default_kind(self) -> Kind {
        if self == Self::Crc64Nvme { Kind::FullObject } else { Kind::Composite }
    }

    /// Whether a text could be a checksum of this algorithm.
    pub fn is_value(self, text: &str) -> bool {
        let length = match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        STANDARD.decode(text).is_ok_and(|raw| raw.len() == length)
    }

    pub fn of(self, bytes: &[u8]) -> String {
        let mut sum = Sum::new(self);
        sum.update(bytes);
        sum.finish()
    }
}

/// What a checksum was computed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// All bytes.
    #[serde(rename = "FULL_OBJECT")]
    FullObject,
    /// The checksums of the parts.
    #[serde(rename = "COMPOSITE")]
    Composite,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

/// A checksum as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub algorithm: Algorithm,
    pub value: String,
    pub kind: Kind,
}

impl Checksum {
    /// The checksum over the parts' checksums: `<base64>-<count>`.
    pub fn composite(algorithm: Algorithm, parts: &[&str]) -> Option<Self> {
        let raw: Result<Vec<Vec<u8>>, _> = parts.iter().map(|part| STANDARD.decode(part)).collect();
        let value = format!("{}-{}", algorithm.of(&raw.ok()?.concat()), parts.len());
        Some(Self { algorithm, value, kind: Kind::Composite })
    }
}

/// A checksum that is being computed.
pub(super) enum Sum {
    Crc32(flate2::Crc),
    Crc32c(u32),
    Crc64Nvme(u64),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Sum {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(flate2::Crc::new()),
            Algorithm::Crc32c => Self::Crc32c(0),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(!0),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(crc) => crc.update(bytes),
            Self::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Self::Crc64Nvme(crc) => *crc = bytes.iter().fold(*crc, crc64_step),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    pub fn finish(self) -> String {
        match self {
            Self::Crc32(crc) => STANDARD.encode(crc.sum().to_be_bytes()),
            Self::Crc32c(crc) => STANDARD.encode(crc.to_be_bytes()),
            Self::Crc64Nvme(crc) => STANDARD.encode((!crc).to_be_bytes()),
            Self::Sha1(hash) => STANDARD.encode(hash.finalize()),
            Self::Sha256(hash) => STANDARD.encode(hash.finalize()),
        }
    }
}

/// CRC-64/NVME: the polynomial of the NVM Express specification, reflected.
const CRC64_POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;
const CRC64_TABLE: [u64; 256] = crc64_table();

const fn crc64_table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ CRC64_POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The shape that `fold` over bytes wants.
fn crc64_step(crc: u64, byte: &u8) -> u64 {
    CRC64_TABLE[((crc ^ u64::from(*byte)) & 0xff) as usize] ^ (crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_gives_its_published_check_value() {
        let cases: [(Algorithm, &[u8]); 3] = [
            (Algorithm::Crc32, &[0xcb, 0xf4, 0x39, 0x26]),
            (Algorithm::Crc32c, &[0xe3, 0x06, 0x92, 0x83]),
            (Algorithm::Crc64Nvme, &[0xae, 0x8b, 0x14, 0x86, 0x0a, 0x79, 0x98, 0x88]),
        ];
        for (algorithm, expected) in cases {
            assert_eq!(algorithm.of(b"123456789"), STANDARD.encode(expected), "{algorithm:?}");
        }
    }
}
