//! What both scanners share: a cursor over characters, and identifiers.

/// A cursor over a text; every method stays within it.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        Some(found)
    }

    /// Steps over `prefix` where it stands here.
    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let is = self.rest().starts_with(prefix);
        if is {
            self.at += prefix.len();
        }
        is
    }

    /// Steps behind the next `end`, or to the end of the text.
    pub(super) fn skip_past(&mut self, end: &str) {
        self.at = self.rest().find(end).map_or(self.text.len(), |found| self.at + found + end.len());
    }

    /// Steps to the end of the line, not over it.
    pub(super) fn skip_line(&mut self) {
        self.at =
            self.rest().find(['\n', '\r', '\u{2028}', '\u{2029}']).map_or(self.text.len(), |found| self.at + found);
    }

    /// Steps behind a quote, honouring backslashes; an unclosed literal ends with its line.
    pub(super) fn skip_quoted(&mut self, quote: char) {
        while let Some(found) = self.next() {
            match found {
                '\\' => {
                    self.next();
                }
                '\n' => return,
                other if other == quote => return,
                _ => {}
            }
        }
    }

    /// The identifier that starts here.
    pub(super) fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }
}

/// Whether a character can stand in an identifier.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}
