//! Systems measured against each other: in turn, round after round, so that what disturbs one disturbs all.

use crate::row::Row;

/// One case of a suite, and the systems that take part in it.
pub(crate) struct Contest<'a> {
    pub(crate) suite: &'static str,
    pub(crate) case: String,
    pub(crate) n: u64,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    /// The system that the others' figures are divided by.
    pub(crate) against: &'static str,
    entrants: Vec<Entrant<'a>>,
}

struct Entrant<'a> {
    system: &'static str,
    n: u64,
    measure: Box<dyn FnMut() -> anyhow::Result<f64> + 'a>,
    samples: Vec<f64>,
    failure: Option<String>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(
        suite: &'static str,
        case: impl Into<String>,
        n: usize,
        (metric, unit): (&'static str, &'static str),
        against: &'static str,
    ) -> Self {
        Self { suite, case: case.into(), n: n as u64, metric, unit, against, entrants: Vec::new() }
    }

    /// Adds a system. `measure` checks its answer and returns one figure.
    pub(crate) fn enter(
        &mut self,
        system: &'static str,
        measure: impl FnMut() -> anyhow::Result<f64> + 'a,
    ) -> &mut Self {
        self.enter_at(self.n, system, measure)
    }

    /// As [`enter`](Self::enter), with an `n` of its own: to measure one system's sizes against each other.
    pub(crate) fn enter_at(
        &mut self,
        n: u64,
        system: &'static str,
        measure: impl FnMut() -> anyhow::Result<f64> + 'a,
    ) -> &mut Self {
        let (samples, failure) = (Vec::new(), None);
        self.entrants.push(Entrant { system, n, measure: Box::new(measure), samples, failure });
        self
    }

    /// Says why a system does not take part.
    #[allow(dead_code, reason = "for suites whose peers may not be installed")]
    pub(crate) fn absent(&mut self, system: &'static str, reason: impl Into<String>) -> &mut Self {
        self.enter(system, || Ok(0.0));
        if let Some(entrant) = self.entrants.last_mut() {
            entrant.failure = Some(reason.into());
        }
        self
    }

    /// Measures every system once per round, each round beginning with another one.
    ///
    /// Who fails once is out, and its row says why.
    pub(crate) fn run(mut self, rounds: usize) -> Vec<Row> {
        for round in 0..rounds {
            let first = round % self.entrants.len().max(1);
            self.entrants.rotate_left(first);
            for entrant in self.entrants.iter_mut().filter(|entrant| entrant.failure.is_none()) {
                match (entrant.measure)() {
                    Ok(figure) => entrant.samples.push(figure),
                    Err(error) => entrant.failure = Some(format!("{error:#}")),
                }
            }
            self.entrants.rotate_right(first);
        }
        let row = |entrant: &mut Entrant<'_>| {
            let samples = std::mem::take(&mut entrant.samples);
            let row = Row {
                suite: self.suite,
                case: self.case.clone(),
                system: entrant.system,
                n: entrant.n,
                metric: self.metric,
                unit: self.unit,
                reason: entrant.failure.take(),
                ..Row::default()
            };
            if row.reason.is_some() { row } else { row.with_samples(samples) }
        };
        let rows: Vec<Row> = self.entrants.iter_mut().map(row).collect();
        let Some(against) = rows.iter().find(|row| row.system == self.against).cloned() else { return rows };
        rows.into_iter().map(|row| row.with_ratio_to(&against)).collect()
    }
}
