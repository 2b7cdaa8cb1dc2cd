//! Sends signals, with the shell's `kill`: no crate for it that other crates would have to be built again for.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Signal;

/// Sends `signal` to each of `pids`. A process that is gone already makes it an error.
pub fn send(signal: Signal, pids: &[u32]) -> Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    let name = match signal {
        Signal::Term => "TERM",
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
    };
    let output = Command::new("sh")
        // The shell's own: `kill` need not be installed.
        .args(["-c", "kill -s \"$@\"", "sh", name])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .output()
        .context("run sh")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn ends_a_process_and_says_if_there_is_none() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        send(Signal::Term, &[child.id()]).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert!(send(Signal::Term, &[child.id()]).is_err());
    }
}
