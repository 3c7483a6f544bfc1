//! The command line.

fn main() -> std::process::ExitCode {
    kandinsky::cli::main()
}
