//! That something is still being done, for a person at a terminal.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Turns until it is dropped, and tells how long that has been; in a thread of its own, so that it goes
/// on whatever the others do. Where nobody looks it does nothing.
pub struct Spinner {
    running: Option<(Sender<String>, JoinHandle<()>)>,
}

const STEP: Duration = Duration::from_millis(100);
const SIGNS: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

impl Spinner {
    pub fn start(text: impl Into<String>) -> Self {
        let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !io::stderr().is_terminal() || is_dumb {
            return Self { running: None };
        }
        let (sender, receiver) = channel::<String>();
        let mut text = text.into();
        let turn = move || {
            let began = Instant::now();
            for sign in SIGNS.iter().cycle() {
                let line = line(*sign, &text, began.elapsed());
                let _ = io::stderr().write_all(line.as_bytes());
                match receiver.recv_timeout(STEP) {
                    Ok(more) => text = more,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            let _ = io::stderr().write_all(b"\r\x1b[2K");
        };
        Self { running: Some((sender, thread::spawn(turn))) }
    }

    /// Whether somebody looks.
    pub fn is_seen(&self) -> bool {
        self.running.is_some()
    }

    /// What is being done now.
    pub fn say(&self, text: impl Into<String>) {
        if let Some((sender, _)) = &self.running {
            let _ = sender.send(text.into());
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.running.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

/// One turn, in the place of the one before. It must not wrap, or each turn would take a row more: what
/// is too long for the terminal is cut there (DECAWM), with the time before it. All of it is one
/// write, so that a terminal is never left without wrapping.
fn line(sign: char, text: &str, time: Duration) -> String {
    format!("\r\x1b[2K\x1b[?7l{sign} {}  {text}\x1b[?7h", elapsed(time))
}

/// A time as a person says it.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_one_row_however_narrow_the_terminal_is() {
        let line = line('-', &"long ".repeat(50), Duration::from_secs(61));
        assert!(line.starts_with("\r\x1b[2K\x1b[?7l- 1 min 1 s  long long "), "{line:?}");
        assert!(line.ends_with("\x1b[?7h") && !line.contains('\n'), "{line:?}");
    }

    #[test]
    fn a_time_is_told_in_the_two_units_that_matter() {
        for (seconds, told) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (7320, "2 h 2 min")]
        {
            assert_eq!(elapsed(Duration::from_secs(seconds)), told);
        }
    }
}
