//! How long each stage of a request took.

use crate::progress::Stage;
use std::time::Duration;

/// Seconds by stage, in the order in which stages ran.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Timings(Vec<(Stage, Duration)>);

impl Timings {
    /// Adds time to a stage.
    pub fn add(&mut self, stage: Stage, time: Duration) {
        match self.0.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, sum)) => *sum += time,
            None => self.0.push((stage, time)),
        }
    }

    /// Every stage with its time.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        self.0.iter().copied()
    }

    /// All of it.
    pub fn total(&self) -> Duration {
        self.0.iter().map(|(_, time)| *time).sum()
    }
}
