//! The `fugue-server` binary. Everything it does is in the library's `cli` module.

fn main() -> std::process::ExitCode {
    fugue_server::cli::run()
}
