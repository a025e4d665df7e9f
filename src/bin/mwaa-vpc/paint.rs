//! Colour, where a person looks.

use std::env;

use mwaa_vpc_endpoints::doctor::Verdict;
use mwaa_vpc_endpoints::plan::diff::Sign;

/// Paints, or does not.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// Paints on a terminal, unless somebody does not want that (<https://no-color.org>).
    pub fn on(is_terminal: bool) -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_on: is_terminal && !is_set("NO_COLOR") && !is_dumb }
    }

    fn with(self, code: u8, text: &str) -> String {
        match self.is_on && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.with(1, text)
    }

    pub fn dim(self, text: &str) -> String {
        self.with(2, text)
    }

    pub fn red(self, text: &str) -> String {
        self.with(31, text)
    }

    pub fn green(self, text: &str) -> String {
        self.with(32, text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with(33, text)
    }

    pub fn sign(self, sign: Sign, text: &str) -> String {
        match sign {
            Sign::Add => self.green(text),
            Sign::Change => self.yellow(text),
            Sign::Remove | Sign::Wrong => self.red(text),
        }
    }

    pub fn verdict(self, verdict: Verdict, text: &str) -> String {
        match verdict {
            Verdict::Fail => self.red(text),
            Verdict::Warn | Verdict::Unknown => self.yellow(text),
            Verdict::Pass => self.green(text),
        }
    }
}

/// A line with a name and what is to be said of it.
pub fn fact(name: &str, text: &str) -> String {
    format!("{name:<12} {text}\n")
}

/// What could not be seen, with from where it can.
pub fn unseen(unseen: &[crate::accounts::Unseen], paint: Paint) -> String {
    let mut text = String::new();
    for it in unseen {
        text.push_str(&format!("{} {}\n", paint.yellow("? not seen:"), it.what));
        text.push_str(&format!("  {} {}\n", paint.dim("from where:"), it.from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_painted_but_on_a_terminal() {
        assert_eq!(Paint::on(false).red("x"), "x");
        assert_eq!(Paint { is_on: true }.red("x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Paint { is_on: true }.red(""), "");
    }
}
