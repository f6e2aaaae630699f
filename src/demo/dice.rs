//! Chance that comes out the same each time: SplitMix64, whatever release of whatever library there is.

/// A source of numbers.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// That of one purpose and thing among all that a seed gives.
    pub(super) fn of(seed: u64, purpose: u64, thing: u64) -> Self {
        Self(mixed(mixed(mixed(seed) ^ purpose) ^ thing))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// One below `most`, which is not 0.
    pub(super) fn below(&mut self, most: u64) -> u64 {
        // The upper half of a product: as even as anybody will notice.
        ((u128::from(self.next()) * u128::from(most.max(1))) >> 64) as u64
    }

    /// One of `0..len`, for an index.
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A time within a span.
    pub(super) fn within(&mut self, from: i64, until: i64) -> i64 {
        from + self.below((until - from).max(1).unsigned_abs()) as i64
    }

    /// True so often in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number from 0 up to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An index below `len`; each is about as likely as one over its place, so that few are met often and many seldom.
    pub(super) fn popular(&mut self, len: usize) -> usize {
        let index = (len as f64 + 1.0).powf(self.share()) - 1.0;
        (index as usize).min(len.saturating_sub(1))
    }

    /// A whole number that is `mean` on average.
    pub(super) fn about(&mut self, mean: f64) -> u64 {
        let whole = mean.floor();
        whole as u64 + u64::from(self.share() < mean - whole)
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

/// A number of which each bit depends on each bit of another.
pub(super) fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_even_enough_and_comes_out_the_same() {
        let mut dice = Dice::of(1, 2, 3);
        assert_eq!(dice.next(), Dice::of(1, 2, 3).next());
        assert_ne!(dice.next(), Dice::of(1, 2, 4).next());
        let mut counts = [0_u32; 10];
        (0..10_000).for_each(|_| counts[dice.index(10)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let popular = (0..10_000).filter(|_| dice.popular(1000) < 10).count();
        assert!((3000..4000).contains(&popular), "{popular}");
        let sum: u64 = (0..10_000).map(|_| dice.about(2.5)).sum();
        assert!((24_500..25_500).contains(&sum), "{sum}");
        assert_eq!((dice.popular(1), dice.index(1), dice.within(7, 7)), (0, 0, 7));
    }
}
