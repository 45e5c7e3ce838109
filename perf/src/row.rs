//! A measured figure: what the JSON holds, one object per system and case.

use serde::Serialize;

/// One system's figure in one case. `None` in `median` says that the system was not there, and `reason` why.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) suite: &'static str,
    /// The axes beside `n`, as `name=value` joined by commas.
    pub(crate) case: String,
    pub(crate) system: &'static str,
    /// Members, viewers or clients.
    pub(crate) n: u64,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) median: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) runs: usize,
    /// The system that `ratio` divides by.
    pub(crate) ratio_to: Option<&'static str>,
    /// The median over rounds of this system's figure over the other's in the same round.
    pub(crate) ratio: Option<f64>,
    pub(crate) ratio_min: Option<f64>,
    pub(crate) ratio_max: Option<f64>,
    pub(crate) reason: Option<String>,
    /// The figure of each round, in order: what happened in the same round was measured back to back.
    pub(crate) samples: Vec<f64>,
}

impl Row {
    /// The ratios of this row's samples to another's, round by round.
    pub(crate) fn over(&self, other: &Self) -> Option<Spread> {
        let ratios = self.samples.iter().zip(&other.samples).filter(|(_, other)| **other > 0.0);
        Spread::of(ratios.map(|(own, other)| own / other).collect())
    }

    pub(crate) fn with_samples(mut self, samples: Vec<f64>) -> Self {
        if let Some(spread) = Spread::of(samples.clone()) {
            (self.median, self.min, self.max) = (Some(spread.median), Some(spread.min), Some(spread.max));
        }
        self.runs = samples.len();
        self.samples = samples;
        self
    }

    pub(crate) fn with_ratio_to(mut self, other: &Self) -> Self {
        if let Some(ratio) = self.over(other) {
            self.ratio_to = Some(other.system);
            (self.ratio, self.ratio_min, self.ratio_max) =
                (Some(ratio.median), Some(ratio.min), Some(ratio.max));
        }
        self
    }
}

/// Where a set of samples lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of no samples.
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let median = match samples.len() {
            0 => return None,
            even if even % 2 == 0 => (samples[middle - 1] + samples[middle]) / 2.0,
            _ => samples[middle],
        };
        Some(Self { median, min: samples[0], max: samples[samples.len() - 1] })
    }
}
