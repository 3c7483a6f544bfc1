//! Progress bars on standard error; nothing where that is no terminal.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kandinsky::{Progress, Stage};
use std::collections::BTreeMap;

/// A bar for every stage that has begun.
#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
    by_stage: BTreeMap<Stage, ProgressBar>,
}

impl Bars {
    /// Moves a stage's bar.
    pub fn show(&mut self, progress: Progress) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let bar = self.by_stage.entry(progress.stage).or_insert_with(|| {
            self.all.add(bar(progress.stage.name(), count(progress.total), "{pos}/{len}"))
        });
        bar.set_position(count(progress.step));
        if progress.step >= progress.total {
            bar.finish();
        }
    }

    /// Removes the bars.
    pub fn clear(&mut self) {
        for bar in self.by_stage.values() {
            bar.finish_and_clear();
        }
    }
}

/// One bar with a name and a template for its figures.
pub fn bar(name: &'static str, total: u64, figures: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{msg:<8}} [{{bar:32}}] {figures} {{elapsed}}"));
    let bar = ProgressBar::new(total).with_message(name);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}
