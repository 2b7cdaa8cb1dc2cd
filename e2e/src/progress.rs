//! Tells a waiting human what is going on, on stderr: one line that counts seconds on a terminal,
//! a line now and then anywhere else.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// A step that is going on. It ends with [`Step::done`], or silently when dropped.
pub struct Step {
    title: String,
    started: Instant,
    stop: Sender<()>,
    ticker: Option<thread::JoinHandle<()>>,
}

impl Step {
    /// Shows `title` and counts the seconds until the step ends.
    pub fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let started = Instant::now();
        let (stop, stopped) = mpsc::channel();
        let shown = title.clone();
        let fancy = io::stderr().is_terminal();
        let interval = Duration::from_secs(if fancy { 1 } else { 30 });
        if fancy {
            write(&format!("\r\x1b[K  {shown} …"));
        } else {
            write(&format!("{shown}\n"));
        }
        let ticker = thread::spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let seconds = started.elapsed().as_secs();
                if fancy {
                    write(&format!("\r\x1b[K  {shown} … {seconds} s"));
                } else {
                    write(&format!("{shown}: {seconds} s\n"));
                }
            }
            if fancy {
                write("\r\x1b[K");
            }
        });
        Self {
            title,
            started,
            stop,
            ticker: Some(ticker),
        }
    }

    /// Ends the step and says how long it took.
    pub fn done(mut self) {
        self.end();
        write(&format!(
            "  {} ({:.1} s)\n",
            self.title,
            self.started.elapsed().as_secs_f64()
        ));
    }

    fn end(&mut self) {
        // An error means that the ticker is gone already.
        let _ = self.stop.send(());
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.end();
    }
}

/// One line for the human.
pub fn say(line: &str) {
    write(&format!("{line}\n"));
}

fn write(text: &str) {
    // Straight to the stream: the test runner would swallow what the print macros write, and a closed
    // stderr is no reason to stop.
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
