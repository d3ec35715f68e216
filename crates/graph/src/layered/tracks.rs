//! The heights at which links run sideways between two ranks.
//!
//! Links that leave (or enter) by one port are one net and share their line. Nets that overlap run at different heights,
//! in an order with few crossings.

/// Nets further apart than this share a height.
const CLEARANCE: f64 = 7.0;
/// From this many nets on, they are taken in the order in which they come.
const SORTED_MAX: usize = 200;
/// Weight of two lines that would lie on each other.
const OVERLAY: usize = 50;

/// A line sideways, with what comes from above and what goes on below.
#[derive(Clone, Debug, Default)]
pub(super) struct Net {
    pub tops: Vec<f64>,
    pub bottoms: Vec<f64>,
}

impl Net {
    fn low(&self) -> f64 {
        self.tops.iter().chain(&self.bottoms).copied().fold(f64::INFINITY, f64::min)
    }

    fn high(&self) -> f64 {
        self.tops.iter().chain(&self.bottoms).copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Nothing runs sideways here.
    pub fn straight(&self) -> bool {
        self.high() - self.low() < 0.5
    }

    fn overlaps(&self, other: &Net) -> bool {
        self.low() - CLEARANCE < other.high() && other.low() - CLEARANCE < self.high()
    }
}

/// The track of each net, from the top, and how many there are.
pub(super) fn tracks(nets: &[Net]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = Vec::new();
    for net in (0..nets.len()).filter(|net| !nets[*net].straight()) {
        let at = if order.len() < SORTED_MAX { best_place(nets, &order, net) } else { order.len() };
        order.insert(at, net);
    }
    let mut track = vec![0; nets.len()];
    let mut count = 0;
    for (index, net) in order.iter().enumerate() {
        let above = order[..index].iter().filter(|other| nets[**other].overlaps(&nets[*net]));
        track[*net] = above.map(|other| track[*other] + 1).max().unwrap_or(0);
        count = count.max(track[*net] + 1);
    }
    (track, count)
}

/// Where a net costs the fewest crossings.
fn best_place(nets: &[Net], order: &[usize], net: usize) -> usize {
    let above: Vec<usize> = order.iter().map(|other| cost(&nets[*other], &nets[net])).collect();
    let below: Vec<usize> = order.iter().map(|other| cost(&nets[net], &nets[*other])).collect();
    let total = |at: usize| above[..at].iter().sum::<usize>() + below[at..].iter().sum::<usize>();
    (0..=order.len()).min_by_key(|at| total(*at)).unwrap_or(0)
}

/// Crossings if `upper` runs above `lower`.
fn cost(upper: &Net, lower: &Net) -> usize {
    if !upper.overlaps(lower) {
        return 0;
    }
    let inside = |x: f64, net: &Net| net.low() < x && x < net.high();
    let from_above = lower.tops.iter().filter(|x| inside(**x, upper)).count();
    let to_below = upper.bottoms.iter().filter(|x| inside(**x, lower)).count();
    let near = |x: &f64| lower.tops.iter().any(|top| (top - x).abs() < CLEARANCE);
    from_above + to_below + OVERLAY * upper.bottoms.iter().filter(|x| near(x)).count()
}
