//! `bailiwick`, also `kubectl bailiwick`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use bailiwick_cli::{Streams, run};

fn main() -> ExitCode {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    // Not locked: what tells how far a command is may be another thread.
    let mut stderr = io::stderr();
    let code = run(
        std::env::args_os(),
        &mut Streams {
            stdin: &mut io::stdin().lock(),
            stdout: &mut stdout,
            stderr: &mut stderr,
        },
    );
    let flushed = stdout.flush();
    match (code, flushed) {
        (Ok(code), Ok(())) => ExitCode::from(code),
        // Whoever reads no further has the verdict all the same.
        (Ok(code), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(code),
        _ => ExitCode::from(2),
    }
}
