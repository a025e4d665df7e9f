//! Text for a person: as lines of a width, with nothing in it that a terminal obeys.

use crate::paint::Paint;

/// How wide what is wrapped may be.
pub const WIDTH: usize = 100;

/// The text as a terminal may show it: whoever wrote it cannot move the cursor or colour it.
pub fn plain(text: &str) -> String {
    let begin: String = text.chars().take(4000).collect();
    let words: Vec<&str> = begin.split_whitespace().collect();
    let shown = |it: char| if is_printable(it) { it } else { char::REPLACEMENT_CHARACTER };
    words.join(" ").chars().map(shown).take(1000).collect()
}

/// Whether Rust shows a character as it is where it shows text for debugging. Behind a letter, since a
/// mark that belongs to one is escaped without.
fn is_printable(it: char) -> bool {
    matches!(it, ' ' | '"' | '\'' | '\\') || format!("x{it}").escape_debug().count() == 2
}

/// The text as lines, with words that are longer than a line cut.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = shortened(word, width);
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The text, cut where it says least if it is too long: an ARN behind its beginning.
fn shortened(text: &str, width: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= width {
        return text.to_owned();
    }
    let head = match text.find("arn:") {
        Some(at) => (text[..at].chars().count() + 4).min(width - 1),
        None => width / 2,
    };
    let tail = letters.len() - (width - head - 1);
    letters[..head].iter().chain(&['…']).chain(&letters[tail..]).collect()
}

/// A line with a sign before it, in the sign's colour.
pub fn mark(sign: char, text: &str, paint: Paint) -> String {
    let coloured = match sign {
        '+' => format!("{} {}", paint.green("+"), paint.green(text)),
        '-' => format!("{} {}", paint.red("-"), paint.red(text)),
        '~' => format!("{} {text}", paint.yellow("~")),
        '!' => format!("{} {text}", paint.red("!")),
        '=' => format!("{} {text}", paint.dim("=")),
        other => format!("{other} {text}"),
    };
    format!("  {}\n", coloured.trim_end())
}

/// A text as lines with a sign.
pub fn marked(sign: char, text: &str, paint: Paint) -> String {
    wrapped(&plain(text), WIDTH - 4).iter().map(|line| mark(sign, line, paint)).collect()
}

/// The same, with a name before its first line.
pub fn named(name: &str, text: &str, paint: Paint) -> String {
    let lines = wrapped(&plain(text), WIDTH - 18);
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    lines.iter().zip(names).map(|(it, name)| mark(' ', &format!("{name:<14}{it}"), paint)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        for bad in ["\x1b]0;title\x07", "\u{9b}2J", "a\u{202e}b", "\x08", "\u{e000}", "\u{2028}"] {
            let shown = plain(bad);
            assert!(shown.chars().all(|it| !it.is_control() && it != '\u{202e}'), "{shown:?}");
        }
        assert_eq!(plain("a\u{1b}b\u{feff}"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn what_people_write_is_shown_as_it_is() {
        for text in ["größer „so“ e\u{301} 日本", "it's \"so\" \\ here", "✓ → …"] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(plain(" a\n\t b "), "a b");
        assert_eq!(plain(&"x".repeat(5000)).len(), 1000);
    }

    #[test]
    fn lines_keep_the_width_and_cut_an_arn_behind_its_beginning() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        let lines = wrapped(&format!("of arn:{} here", "x".repeat(50)), 20);
        assert_eq!(lines, ["of", "arn:…xxxxxxxxxxxxxxx", "here"]);
        assert_eq!(wrapped(&"y".repeat(30), 10), ["yyyyy…yyyy"]);
        assert!(wrapped(" ", 10).is_empty());
    }
}
