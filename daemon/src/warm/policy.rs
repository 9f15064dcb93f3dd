//! How many of each thing should stand ready, decided from figures alone.
//!
//! A fixed size holds whatever happens. `auto` follows the largest burst of the last while with a quarter on top, from a
//! floor that keeps the first run after a pause fast, up to a bound by kind. All of it lies within one budget of
//! memory: first every floor, of what was used last before the rest, then growth in the same order.

use std::time::Duration;

use crate::config::Stock as Size;

/// What a member may cost to be kept ready though nobody has asked for it yet.
pub const HEAVY: u64 = 64 << 20;
/// A budget from which on floors are deeper.
const PLENTY: u64 = 256 << 20;
/// A language that was used within this is in use.
pub const IN_USE: Duration = Duration::from_secs(3600);

/// What stands on a shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sandbox and nothing in it.
    Prepared,
    /// With a command one step before `execve`.
    Loaded,
    /// With an interpreter in its gate.
    Warm,
}

impl Kind {
    /// The word in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Loaded => "loaded",
            Self::Warm => "warm",
        }
    }
}

/// The figures of one shelf.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// What it holds.
    pub kind: Kind,
    /// What the configuration says.
    pub size: Size,
    /// The configuration's bound for `auto`.
    pub max: Option<u32>,
    /// Bytes of one member, as the shelf is filled now.
    pub member_bytes: u64,
    /// Bytes of what has to stand beside the first member: a template.
    pub beside_bytes: u64,
    /// Whether forks fill it.
    pub forked: bool,
    /// Whether it was set up for the language's defaults, not for what a request asked for.
    pub standing: bool,
    /// The largest burst of the last while.
    pub peak: u32,
    /// Time since it was last asked for; none if it never was.
    pub idle: Option<Duration>,
}

/// From how many and to how many, were there memory without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    floor: u32,
    want: u32,
}

impl Figures {
    /// What it should hold with this budget for everything.
    #[must_use]
    pub fn range(&self, budget: u64) -> Range {
        match self.size {
            Size::Off => Range { floor: 0, want: 0 },
            Size::Fixed(number) => Range { floor: number, want: number },
            Size::Auto => {
                let max = self.max.unwrap_or_else(|| self.bound());
                let floor = self.floor(budget).min(max);
                let burst = self.peak.saturating_add(self.peak.div_ceil(4));
                Range { floor, want: burst.clamp(floor, max) }
            }
        }
    }

    /// The most that demand alone makes.
    const fn bound(&self) -> u32 {
        match self.kind {
            Kind::Loaded => 8,
            Kind::Prepared => 16,
            Kind::Warm if self.forked => 48,
            Kind::Warm if self.member_bytes > HEAVY => 2,
            Kind::Warm => 16,
        }
    }

    fn floor(&self, budget: u64) -> u32 {
        let plenty = budget >= PLENTY;
        match self.kind {
            // It exists because of demand, and goes with it.
            _ if !self.standing => u32::from(self.peak > 0),
            Kind::Warm if self.member_bytes > HEAVY => {
                let used = self.idle.is_some_and(|idle| idle < IN_USE);
                u32::from(used || budget >= 8 * self.member_bytes)
            }
            Kind::Warm if self.forked && plenty => 4,
            Kind::Warm if plenty => 2,
            Kind::Warm => 1,
            Kind::Prepared | Kind::Loaded if plenty => 4,
            Kind::Prepared | Kind::Loaded => 2,
        }
    }

    /// Bytes of so many.
    const fn bytes(&self, members: u32) -> u64 {
        let beside = if members > 0 { self.beside_bytes } else { 0 };
        beside.saturating_add(self.member_bytes.saturating_mul(members as u64))
    }

    /// The most members, up to `want`, that `bytes` hold.
    fn affordable(&self, want: u32, bytes: u64) -> u32 {
        let fits = bytes.saturating_sub(self.beside_bytes) / self.member_bytes.max(1);
        want.min(u32::try_from(fits).unwrap_or(u32::MAX))
    }
}

/// How many of each shelf fit the bytes and the number of sandboxes, in the shelves' order.
#[must_use]
pub fn allot(shelves: &[Figures], budget: u64, mut sandboxes: u32) -> Vec<u32> {
    let mut order: Vec<usize> = (0..shelves.len()).collect();
    // Stable: what was never asked for keeps the order of the languages.
    order.sort_by_key(|&at| shelves[at].idle.unwrap_or(Duration::MAX));
    let ranges: Vec<Range> = shelves.iter().map(|figures| figures.range(budget)).collect();
    let mut targets = vec![0; shelves.len()];
    let mut left = budget;
    for grow in [false, true] {
        for &at in &order {
            let (figures, held): (&Figures, u32) = (&shelves[at], targets[at]);
            let goal = if grow { ranges[at].want } else { ranges[at].floor };
            left += figures.bytes(held);
            let target = figures.affordable(goal, left).min(held + sandboxes).max(held);
            sandboxes -= target - held;
            left -= figures.bytes(target);
            targets[at] = target;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn python() -> Figures {
        Figures {
            kind: Kind::Warm,
            size: Size::Auto,
            max: None,
            member_bytes: 2 * MIB,
            beside_bytes: 12 * MIB,
            forked: true,
            standing: true,
            peak: 0,
            idle: None,
        }
    }

    fn node() -> Figures {
        Figures { member_bytes: 14 * MIB, beside_bytes: 0, forked: false, ..python() }
    }

    fn java() -> Figures {
        Figures { member_bytes: 120 * MIB, ..node() }
    }

    fn prepared() -> Figures {
        Figures { kind: Kind::Prepared, member_bytes: MIB, beside_bytes: 0, forked: false, ..python() }
    }

    const USED: Option<Duration> = Some(Duration::from_secs(5));

    #[test]
    fn nobody_has_asked_yet() {
        let all = [prepared(), node(), python(), java()];
        assert_eq!(allot(&all, 1024 * MIB, 100), [4, 2, 4, 1], "memory is plentiful");
        assert_eq!(allot(&all, 192 * MIB, 100), [2, 1, 1, 0], "4 GiB");
        assert_eq!(allot(&all, 48 * MIB, 100), [2, 1, 1, 0], "1 GiB");
        assert_eq!(allot(&all, 20 * MIB, 100), [2, 1, 0, 0], "a budget for some");
    }

    #[test]
    fn a_heavy_one_is_kept_once_it_is_used() {
        let used = Figures { peak: 1, idle: USED, ..java() };
        assert_eq!(allot(&[used], 192 * MIB, 100), [1]);
        assert_eq!(allot(&[Figures { peak: 9, ..used }], 1024 * MIB, 100), [2]);
        let forgotten = Figures { idle: Some(IN_USE), ..java() };
        assert_eq!(allot(&[forgotten], 192 * MIB, 100), [0]);
    }

    #[test]
    fn a_stock_grows_with_the_burst_up_to_its_bound() {
        let peak = |peak| Figures { peak, idle: USED, ..python() };
        let target = |figures| allot(&[figures], 1024 * MIB, 100)[0];
        assert_eq!((target(peak(3)), target(peak(30)), target(peak(300))), (4, 38, 48));
        assert_eq!(target(Figures { max: Some(10), ..peak(300) }), 10);
        assert_eq!(target(Figures { size: Size::Fixed(3), ..peak(300) }), 3);
        assert_eq!(target(Figures { size: Size::Off, ..peak(300) }), 0);
        assert_eq!(target(Figures { peak: 300, idle: USED, ..node() }), 16);
    }

    #[test]
    fn what_a_request_asked_for_goes_with_the_demand() {
        let own = |peak| Figures { standing: false, peak, idle: USED, ..python() };
        assert_eq!(allot(&[own(0)], 1024 * MIB, 100), [0]);
        assert_eq!(allot(&[own(1)], 1024 * MIB, 100), [2]);
    }

    #[test]
    fn floors_come_before_growth_and_the_used_before_the_unused() {
        let used = Figures { peak: 40, idle: USED, ..python() };
        assert_eq!(allot(&[node(), used], 60 * MIB, 100), [1, 17]);
        assert_eq!(allot(&[node(), Figures { size: Size::Fixed(20), ..used }], 60 * MIB, 100), [0, 20]);
    }

    #[test]
    fn the_number_of_sandboxes_is_bounded_as_well() {
        assert_eq!(allot(&[prepared(), node(), python()], 1024 * MIB, 5), [4, 1, 0]);
        assert_eq!(allot(&[prepared()], 1024 * MIB, 0), [0]);
    }

    proptest! {
        #[test]
        fn no_budget_is_exceeded(
            shelves in proptest::collection::vec((0_u64..200, 0_u64..50, 0_u32..60, 0_u64..4000, 0_usize..3, any::<bool>()), 0..12),
            budget in 0_u64..2000,
            sandboxes in 0_u32..64,
        ) {
            let shelves: Vec<Figures> = shelves
                .into_iter()
                .map(|(member, beside, peak, idle, kind, standing)| Figures {
                    kind: [Kind::Warm, Kind::Prepared, Kind::Loaded][kind],
                    member_bytes: member * MIB,
                    beside_bytes: beside * MIB,
                    idle: (peak > 0).then(|| Duration::from_secs(idle)),
                    peak,
                    standing,
                    ..python()
                })
                .collect();
            let targets = allot(&shelves, budget * MIB, sandboxes);
            let bytes: u64 = shelves.iter().zip(&targets).map(|(figures, target)| figures.bytes(*target)).sum();
            prop_assert!(bytes <= budget * MIB);
            prop_assert!(targets.iter().sum::<u32>() <= sandboxes);
        }
    }
}
