//! How the demo runs a command, shows it, and keeps count of what came out as stated.

use std::{
    env,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bailiwick_e2e::{cluster::Output, wait::eventually};
use serde_json::Value;
use tokio::process::Command;

/// Long lines of an error are wrapped at this column; tables are not.
const WIDTH: usize = 110;

pub(super) struct Stage {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    directory: PathBuf,
    colours: bool,
    held: usize,
    failed: Vec<String>,
}

/// Colours of a terminal.
#[derive(Clone, Copy)]
enum Paint {
    Bold,
    Dim,
    Green,
    Red,
}

impl Stage {
    /// Commands run in `directory`, so that paths are short.
    pub(super) fn new(kubectl: PathBuf, kubeconfig: PathBuf, directory: &Path) -> Self {
        let colours = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        Self {
            kubectl,
            kubeconfig,
            directory: directory.to_owned(),
            colours,
            held: 0,
            failed: Vec::new(),
        }
    }

    pub(super) fn heading(&self, text: &str) {
        let line = "─".repeat(WIDTH.saturating_sub(text.chars().count() + 4));
        println!("\n{}", self.paint(Paint::Bold, &format!("── {text} {line}")));
    }

    /// Runs kubectl and shows the command and what it says.
    pub(super) async fn show(&self, arguments: &[&str]) -> Result<Output> {
        let line = arguments
            .iter()
            .map(|it| quoted(it))
            .collect::<Vec<_>>()
            .join(" ");
        println!("  {}", self.paint(Paint::Bold, &format!("$ kubectl {line}")));
        let output = self.quietly(arguments).await?;
        for text in output.stdout.lines() {
            println!("  {text}");
        }
        for text in output.stderr.lines() {
            println!("{}", self.paint(Paint::Dim, &wrapped(text)));
        }
        Ok(output)
    }

    /// Runs kubectl without showing anything: to check, to prepare and to clean up.
    pub(super) async fn quietly(&self, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(&self.kubectl)
            .args(arguments)
            .current_dir(&self.directory)
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true)
            .output()
            .await
            .context("run kubectl")?;
        Ok(Output {
            command: format!("kubectl {}", arguments.join(" ")),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// An object as it is now; `None` if there is none.
    pub(super) async fn object(&self, arguments: &[&str]) -> Result<Option<Value>> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        let output = self.quietly(&arguments).await?;
        if output.stderr.contains("(NotFound)") {
            return Ok(None);
        }
        serde_json::from_str(&output.ok()?)
            .context("read an object from kubectl")
            .map(Some)
    }

    /// Keeps count of a claim, and shows whether it holds.
    pub(super) fn check(&mut self, claim: &str, holds: bool) {
        if holds {
            self.held += 1;
            println!("  {} {claim}", self.paint(Paint::Green, "✓"));
        } else {
            self.failed.push(claim.to_owned());
            println!(
                "  {} {}",
                self.paint(Paint::Red, "✗"),
                self.paint(Paint::Red, &format!("not so: {claim}"))
            );
        }
    }

    /// Shows a command that must succeed.
    pub(super) async fn allowed(&mut self, arguments: &[&str], claim: &str) -> Result<Output> {
        let output = self.show(arguments).await?;
        self.check(claim, output.success());
        Ok(output)
    }

    /// Shows a command that admission must refuse with 403 and the id of a rule, and leave `untouched` as it is.
    pub(super) async fn refused(&mut self, arguments: &[&str], rule: &str, untouched: &[&str]) -> Result<()> {
        let before = self.object(untouched).await?;
        let output = self.show(arguments).await?;
        let refused = output.status.code() == Some(1)
            && output.stderr.contains("(Forbidden)")
            && output.stderr.contains(rule);
        let same = identity(before.as_ref()) == identity(self.object(untouched).await?.as_ref());
        let state = if before.is_some() {
            "unchanged"
        } else {
            "not created"
        };
        let object = untouched[untouched.len().saturating_sub(2)..].join(" ");
        self.check(
            &format!("refused by {rule} (403); {object} is {state}"),
            refused && same,
        );
        Ok(())
    }

    /// Waits until a claim holds, and says how long that took.
    pub(super) async fn soon(
        &mut self,
        limit: Duration,
        claim: &str,
        holds: impl AsyncFn(&Self) -> Result<bool>,
    ) -> Result<()> {
        let started = std::time::Instant::now();
        let this = &*self;
        let result = eventually(limit, claim, async || {
            if holds(this).await? {
                Ok(())
            } else {
                bail!("not yet")
            }
        });
        let result = result.await;
        let after = started.elapsed().as_secs_f64();
        self.check(&format!("{claim}, {after:.1} s later"), result.is_ok());
        Ok(())
    }

    /// The last line; an error unless every claim held.
    pub(super) fn conclude(self) -> Result<()> {
        let all = self.held + self.failed.len();
        println!(
            "\n{}",
            self.paint(
                Paint::Bold,
                &format!("{} of {all} came out as stated.", self.held)
            )
        );
        if !self.failed.is_empty() {
            bail!(
                "the demo showed something else than it states:\n  {}",
                self.failed.join("\n  ")
            );
        }
        Ok(())
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Bold => 1,
            Paint::Dim => 2,
            Paint::Green => 32,
            Paint::Red => 31,
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A sentence for the reader, before a command.
pub(super) fn explain(text: &str) {
    println!("\n{text}");
}

/// What must stay the same when a request is refused: all of it but what controllers report.
fn identity(object: Option<&Value>) -> Option<(Value, Value, Value)> {
    let object = object?;
    Some((
        object["metadata"]["uid"].clone(),
        object["metadata"]["labels"].clone(),
        object["spec"].clone(),
    ))
}

fn quoted(argument: &str) -> String {
    let plain = argument
        .chars()
        .all(|it| it.is_alphanumeric() || "-_=./:,@".contains(it));
    if plain {
        argument.to_owned()
    } else {
        format!("'{argument}'")
    }
}

fn wrapped(text: &str) -> String {
    let (mut lines, mut column) = (String::from(" "), 1);
    for word in text.split(' ') {
        let length = word.chars().count() + 1;
        if column > 3 && column + length > WIDTH {
            lines.push_str("\n   ");
            column = 3;
        }
        lines.push(' ');
        lines.push_str(word);
        column += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_a_shell_would_read_otherwise() {
        assert_eq!(quoted("--as-group=oidc:acme:admin"), "--as-group=oidc:acme:admin");
        assert_eq!(quoted("{\"spec\":{}}"), "'{\"spec\":{}}'");
    }

    #[test]
    fn wraps_between_words() {
        let text = wrapped(&"word ".repeat(40));
        assert!(
            text.lines().count() == 2 && text.lines().all(|line| line.len() <= WIDTH),
            "{text}"
        );
    }
}
