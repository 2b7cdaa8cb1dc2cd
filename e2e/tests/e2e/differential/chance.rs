//! Choices that look like chance and are the same for the same seed (SplitMix64).

pub(super) struct Chance(u64);

impl Chance {
    /// The choices of one request: those of another one don't change them.
    pub(super) fn of(seed: u64, request: u64) -> Self {
        let mut all = Self(seed);
        Self(
            all.next()
                .wrapping_add(request.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    /// One of `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % count).unwrap_or_default()
    }

    /// One of several; there is at least one.
    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// One to so many of several, the same more than once perhaps.
    pub(super) fn some<T: Clone>(&mut self, most: usize, of: &[T]) -> Vec<T> {
        (0..=self.below(most)).map(|_| self.one(of)).collect()
    }

    /// True so many times in a hundred.
    pub(super) fn is_so(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
