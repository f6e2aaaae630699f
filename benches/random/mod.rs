//! Random numbers and names that are the same at each run, for every bench. No clock, no entropy.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// As generated malware names look: 8 to 20 letters and digits under one of a few top-level domains.
    pub(crate) fn name(&mut self) -> String {
        const TOP: [&str; 8] = [".com", ".net", ".org", ".info", ".ru", ".top", ".xyz", ".vn"];
        let len = 8 + self.below(13);
        let letters = (0..len).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[self.below(36)]));
        let mut name: String = letters.collect();
        name.push_str(TOP[self.below(TOP.len())]);
        name
    }
}
