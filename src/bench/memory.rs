//! The most memory that a stage held, as the kernel counts it.

use std::fs;

/// What this process held before a stage and at most while it ran, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Watermark {
    /// Resident before.
    pub before: Option<u64>,
    /// Most that was resident; mapped weights count.
    pub peak: Option<u64>,
    /// Most that was found private after a run: what is not mapped from a file.
    pub anonymous: Option<u64>,
    /// Whether the kernel's mark could be set back; without that it is the process's and not the stage's.
    reset: bool,
}

impl Watermark {
    /// Sets the kernel's mark back to what is resident now.
    pub fn set_back() -> Self {
        let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { before: field("VmRSS:"), peak: None, anonymous: None, reset }
    }

    /// Looks at the mark.
    pub fn look(&mut self) {
        if self.reset {
            self.peak = self.peak.max(field("VmHWM:"));
        }
        self.anonymous = self.anonymous.max(field("RssAnon:"));
    }
}

fn field(name: &str) -> Option<u64> {
    crate::system::field("/proc/self/status", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_stage_holds_is_seen_and_what_was_before_is_not() {
        drop(std::hint::black_box(vec![1_u8; 192 << 20]));
        let mut mark = Watermark::set_back();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        mark.look();
        drop(held);
        if mark.reset {
            let grown = mark.peak.unwrap() - mark.before.unwrap();
            assert!((60 << 20..160 << 20).contains(&grown), "{grown}");
        }
        assert!(mark.anonymous.unwrap() > 64 << 20);
    }
}
