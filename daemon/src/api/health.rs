//! What `GET /health` tells: named probes, each asked anew for each answer.

use serde::Serialize;
use serde_json::{Map, Value};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which part: `redis`, `history`, `spawner`.
    pub component: &'static str,
    /// One clear sentence.
    pub message: String,
    /// Whether no program can be run because of it.
    pub fatal: bool,
}

type Check = Box<dyn Fn() -> Option<String> + Send + Sync>;

struct Probe {
    component: &'static str,
    fatal: bool,
    check: Check,
}

type Figure = Box<dyn Fn() -> Value + Send + Sync>;

/// The probes of the daemon's parts. A check is called for each answer: it reads a flag, it waits for nothing.
#[derive(Default)]
pub struct Health {
    probes: Vec<Probe>,
    figures: Vec<(&'static str, Figure)>,
}

impl Health {
    /// Adds a part that is served without when it is down; the check gives a sentence when it is.
    #[must_use]
    pub fn degrading(
        self,
        component: &'static str,
        check: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(component, false, Box::new(check))
    }

    /// Adds a part without which no program can be run.
    #[must_use]
    pub fn vital(self, component: &'static str, check: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.with(component, true, Box::new(check))
    }

    /// All that is wrong now.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |probe: &Probe| {
            let message = (probe.check)()?;
            Some(Problem { component: probe.component, message, fatal: probe.fatal })
        };
        self.probes.iter().filter_map(problem).collect()
    }

    /// Adds a part's own figures, shown under its name.
    #[must_use]
    pub fn figure(mut self, component: &'static str, figure: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.figures.push((component, Box::new(figure)));
        self
    }

    /// The parts' own figures.
    #[must_use]
    pub fn figures(&self) -> Map<String, Value> {
        self.figures.iter().map(|(component, figure)| ((*component).to_owned(), figure())).collect()
    }

    fn with(mut self, component: &'static str, fatal: bool, check: Check) -> Self {
        self.probes.push(Probe { component, fatal, check });
        self
    }
}
