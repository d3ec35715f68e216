//! Chance as an argument: the only door through which randomness enters an evaluation.
//!
//! Seeded random numbers are those of `java.util.Random`, because AWS's are: the same seed gives the
//! same numbers here and there.

/// A source of random bits, given by the caller.
pub trait Entropy {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Entropy for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

/// A random (version 4) UUID.
pub fn uuid_v4(entropy: &mut dyn Entropy) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&entropy.next_u64().to_be_bytes());
    bytes[8..].copy_from_slice(&entropy.next_u64().to_be_bytes());
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A 64-bit generator that stretches one seed: SplitMix64.
#[derive(Debug, Clone)]
pub struct SeededEntropy(u64);

impl SeededEntropy {
    /// A generator whose numbers follow from the seed.
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy(seed)
    }
}

impl Entropy for SeededEntropy {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The linear congruential generator of `java.util.Random`, as its documentation specifies it.
#[derive(Debug, Clone)]
pub struct JavaRandom(u64);

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const MASK: u64 = (1 << 48) - 1;

impl JavaRandom {
    /// `new Random(seed)`
    pub fn new(seed: i64) -> JavaRandom {
        JavaRandom((seed as u64 ^ MULTIPLIER) & MASK)
    }

    fn next(&mut self, bits: u32) -> i32 {
        self.0 = self.0.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        (self.0 >> (48 - bits)) as i32
    }

    /// `nextDouble()`: from 0, less than 1.
    pub fn next_f64(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        (high + i64::from(self.next(27))) as f64 / (1u64 << 53) as f64
    }

    /// `nextInt(bound)`, with `bound` above zero.
    pub fn next_below(&mut self, bound: i32) -> i32 {
        let mut bits = self.next(31);
        if bound & bound.wrapping_neg() == bound {
            return ((i64::from(bound) * i64::from(bits)) >> 31) as i32;
        }
        loop {
            let value = bits % bound;
            // Java detects by overflow that the last, incomplete block of the range was hit.
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return value;
            }
            bits = self.next(31);
        }
    }

    /// An integer from `start` on and below `end`, as `Random.ints(start, end)` draws it.
    pub fn next_between(&mut self, start: i32, end: i32) -> i32 {
        match end.checked_sub(start) {
            Some(bound) if bound > 0 => start + self.next_below(bound),
            _ => loop {
                let value = self.next(32);
                if value >= start && value < end || start >= end {
                    return value.max(start);
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_java_util_random() {
        assert_eq!(JavaRandom::new(42).next_f64(), 0.727_563_680_032_868_1);
        let mut random = JavaRandom::new(42);
        assert_eq!([random.next_below(10), random.next_below(10), random.next_below(10)], [0, 3, 8]);
    }

    #[test]
    fn uuids_are_of_version_4() {
        let text = uuid_v4(&mut SeededEntropy::new(7));
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert_ne!(text, uuid_v4(&mut SeededEntropy::new(8)));
    }
}
