//! Seeds for the core's inputs.
//!
//! Invariant: two inputs never share a seed by design of splitmix64's full period. A fixed first seed makes a run
//! repeatable; without one it is drawn from the system.

/// A splitmix64 sequence.
#[derive(Clone, Debug)]
pub struct Seeds(u64);

impl Seeds {
    /// A sequence from a fixed seed, or from the system's randomness.
    pub fn new(seed: Option<u64>) -> Seeds {
        Seeds(seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0))
    }

    /// A sequence of its own for the n-th of several users of one seed.
    pub fn fork(&self, n: u64) -> Seeds {
        let mut seeds = Seeds(self.0 ^ n.wrapping_mul(0xD1B5_4A32_D192_ED03));
        Seeds(seeds.draw())
    }

    /// The next seed.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A version 4 UUID: names of executions, revision ids.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        let bytes = uuid::Uuid::from_u64_pair(high, low).into_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}
