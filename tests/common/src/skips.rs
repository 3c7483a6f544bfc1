//! Tests that cannot run here say so, by name, in the last lines of a run.

use std::io::Write;

/// The file in the build folder that `scripts/test.sh` empties before a run and prints after it.
const FILE: &str = "skipped.txt";

/// Notes that the test of this thread did not run, and why. The caller returns.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    let file = crate::model::build_folder().join(FILE);
    let file = std::fs::File::options().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}
