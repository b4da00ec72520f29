//! How far a build is, told to people.

use std::cell::Cell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Told how far a build is; called on the thread that runs it.
pub trait Progress {
    /// A build of `total` rows of pixels begins.
    fn start(&self, total: u64);
    /// `done` rows are done.
    fn advance(&self, done: u64);
    /// The build has ended, well or not.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _total: u64) {}
    fn advance(&self, _done: u64) {}
    fn finish(&self) {}
}

/// A bar on a terminal, else a line every ten percent, on the error stream.
#[derive(Debug)]
pub struct ConsoleProgress {
    label: String,
    bar: Option<ProgressBar>,
    total: Cell<u64>,
    told: Cell<u64>,
}

impl ConsoleProgress {
    /// Progress of what `label` names.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            bar: std::io::stderr().is_terminal().then(|| ProgressBar::new(0)),
            total: Cell::new(0),
            told: Cell::new(0),
        }
    }
}

impl Progress for ConsoleProgress {
    fn start(&self, total: u64) {
        self.total.set(total);
        self.told.set(0);
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(total);
            bar.set_prefix(self.label.clone());
            match ProgressStyle::with_template("{prefix} [{bar:32}] {percent:>3} %  {elapsed}, {eta} left") {
                Ok(style) => bar.set_style(style.progress_chars("=> ")),
                Err(error) => tracing::debug!(%error, "the default bar is shown"),
            }
        }
    }

    fn advance(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        if let Some(tenth) = new_tenth(done, self.total.get(), self.told.get()) {
            self.told.set(tenth);
            eprintln!("{}: {} %", self.label, tenth * 10);
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The tenth reached, if it was not told yet.
fn new_tenth(done: u64, total: u64, told: u64) -> Option<u64> {
    let tenth = done.saturating_mul(10) / total.max(1);
    (tenth > told).then_some(tenth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_is_told_once() {
        let mut told = 0;
        let mut lines = Vec::new();
        for done in 0..=73 {
            if let Some(tenth) = new_tenth(done, 73, told) {
                told = tenth;
                lines.push(tenth);
            }
        }
        assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
}
